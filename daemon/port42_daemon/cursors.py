"""Cursors: a place in a list that holds while the list changes, as text that nobody has to understand."""

from __future__ import annotations

import base64
import binascii

from port42_protocol.errors import InvalidParams


def cursor(first: object, second: object) -> str:
    """The place of what has these two, a time and an id say; neither has a space in it."""
    return base64.urlsafe_b64encode(f"{first} {second}".encode()).decode().rstrip("=")


def parse(text: str) -> tuple[str, str]:
    """What `cursor` was given, as text. Raises `InvalidParams`."""
    try:
        place = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        first, second = place.split(" ")
    except (binascii.Error, ValueError):
        raise refused() from None
    return first, second


def numbers(text: str) -> tuple[int, int]:
    """As `parse`, for two numbers that SQLite can count to. Raises `InvalidParams`."""
    try:
        first, second = map(int, parse(text))
    except ValueError:
        raise refused() from None
    if not (0 <= first < 1 << 63 and 0 <= second < 1 << 31):
        raise refused()
    return first, second


def refused() -> InvalidParams:
    """What a cursor is that none of ours gave out."""
    return InvalidParams.expecting("cursor", "a next_cursor from an earlier page")
