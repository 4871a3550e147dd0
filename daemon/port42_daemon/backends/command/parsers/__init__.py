"""Pure parsers of programs' output streams into events."""
