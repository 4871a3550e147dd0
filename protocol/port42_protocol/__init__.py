"""The protocol between Port42's daemon and its clients. Does no I/O."""

__version__ = "0.2.0"
"""The distribution's version, which stands nowhere else: hatchling reads it, too."""

PROTOCOL_VERSION = 1
"""Incremented by incompatible changes only; additions do not count.

New parameters are optional and new fields of results have defaults. A client ignores fields that it does not
know; a daemon refuses parameters that it does not know.
"""
