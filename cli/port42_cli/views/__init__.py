"""How answers look: on a terminal by rich, elsewhere as plain lines."""
