"""Cursors: a position in a list, as opaque text, that stays valid while the list changes."""

from __future__ import annotations

import base64
import binascii

from port42_protocol.errors import InvalidParams


def cursor(*parts: object) -> str:
    """The cursor of a position, such as a time and an id; no part may have a space in it."""
    plain = " ".join(map(str, parts)).encode()
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def parse(text: str, count: int) -> list[str]:
    """The `count` parts that `cursor` was given, as text. Raises `InvalidParams`."""
    try:
        parts = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(" ")
    except (binascii.Error, ValueError):
        raise refused() from None
    if len(parts) != count:
        raise refused()
    return parts


def numbers(text: str, count: int) -> list[int]:
    """As `parse`, for numbers from 0 on that SQLite can count to. Raises `InvalidParams`."""
    return [number(part) for part in parse(text, count)]


def number(part: str) -> int:
    """A number as `numbers` accepts it. Raises `InvalidParams`."""
    if not (part.isascii() and part.isdecimal() and len(part) < 20 and int(part) < 1 << 63):
        raise refused()
    return int(part)


def refused() -> InvalidParams:
    return InvalidParams.expecting("cursor", "a next_cursor from an earlier page")
