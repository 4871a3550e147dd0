"""How a program's output becomes events: a pure parser for each stream that is known. No I/O here."""
