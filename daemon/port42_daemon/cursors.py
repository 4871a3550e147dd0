"""Cursors of lists that are ordered by a time and an id: a place that holds while the list changes."""

from __future__ import annotations

import base64
import binascii

from port42_protocol.errors import InvalidParams


def cursor(at: str, session_id: str) -> str:
    """The place behind the item with that time and id."""
    return base64.urlsafe_b64encode(f"{at} {session_id}".encode()).decode().rstrip("=")


def parse(text: str) -> tuple[str, str]:
    """The time and the id. Raises `InvalidParams`."""
    try:
        place = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        at, session_id = place.split(" ")
    except (binascii.Error, ValueError):
        expected = "a next_cursor from an earlier page"
        raise InvalidParams(f"cursor: expected {expected}", field="cursor", expected=expected) from None
    return at, session_id
