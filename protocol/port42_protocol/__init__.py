"""What travels between Port42's daemon and everything that calls it: no I/O lives here."""

PROTOCOL_VERSION = 1
"""Raised when an old client could misread a new daemon, or the other way round; additions do not raise it.

A new parameter may be left out, a new field of a result has a default, a new method is one that others
lack: a client passes over fields it does not know, a daemon refuses params it does not know by name.
"""
