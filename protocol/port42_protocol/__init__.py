"""What travels between Port42's daemon and everything that calls it: no I/O lives here."""

PROTOCOL_VERSION = 1
"""Raised when an old client could misread a new daemon; additions alone do not raise it."""
