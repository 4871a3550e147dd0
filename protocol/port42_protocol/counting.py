"""Numbers of things, as people read them."""

from __future__ import annotations


def count(number: int, thing: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
