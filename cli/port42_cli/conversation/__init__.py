"""Turns at a terminal or through a pipe: sending, showing, following, interrupting."""
