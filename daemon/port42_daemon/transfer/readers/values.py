"""Converts values of other programs' JSON, YAML and SQLite; None for invalid ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from port42_protocol.messages.types import Role
from port42_protocol.times import rfc3339

MESSAGE_BYTES = 4 * 1024 * 1024
"""Maximum bytes of one message, as in `append_message`."""
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_OWN_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
_TEXTS = ("text", "input_text", "output_text")
_PICTURES = {"image": "image", "input_image": "image", "image_url": "image", "document": "document"}


def timestamp_of(value: object) -> str | None:
    """RFC 3339 or Unix seconds as a record's time: UTC, milliseconds."""
    try:
        if isinstance(value, str) and len(value) <= 64:
            # Go writes nanoseconds; a time without a zone is in UTC, as in SQLite.
            at = datetime.fromisoformat(value)
            if _OWN_TIME.fullmatch(value):
                return value
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            return None
        return rfc3339(at)
    except (ValueError, OverflowError, OSError):
        return None


def one_line(value: object, limit: int = 200) -> str | None:
    """A title: one line without control characters, cut at `limit`; not blank."""
    if not isinstance(value, str):
        return None
    words = " ".join("".join(c if c.isprintable() else " " for c in value[: 8 * limit]).split())
    return (words if len(words) <= limit else words[: limit - 1] + "…") or None


def folder(value: object) -> str | None:
    """An absolute path, of Unix or Windows, that a session's `cwd` can be."""
    if isinstance(value, str) and _ABSOLUTE.match(value) and len(value) <= 4096 and value.isprintable():
        return value
    return None


def text_of(content: object, clean: Callable[[str], str] = str, *, pictures: bool = False) -> str:
    """The text of a message's content, a string or a list of parts, after `clean` of each text.

    With `pictures` there is a placeholder for each picture and file.
    """
    if isinstance(content, str):
        return clean(content)
    parts = map(mapping, content) if isinstance(content, list) else ()
    return joined(((part.get("type"), part.get("text")) for part in parts), clean, pictures=pictures)


def joined(
    parts: Iterable[tuple[object, object]], clean: Callable[[str], str], *, pictures: bool = False
) -> str:
    """As `text_of`, of types and texts of parts."""
    texts: list[str] = []
    size = 0
    for of_type, text in parts:
        kind = short(of_type)
        if kind in _TEXTS and isinstance(text, str):
            texts.append(clean(text))
            size += len(text)
        elif pictures and kind in _PICTURES:
            texts.append(f"[{_PICTURES[kind]}]")
        if size > MESSAGE_BYTES:  # YAML aliases can make it huge; longer texts are refused
            break
    return "\n\n".join(text for text in texts if text.strip())


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def role_of(value: object) -> Role | None:
    match value:
        case "user" | "assistant" | "system":
            return value
    return None


def count(value: object) -> int | None:
    """A whole number from 0 that JSON can hold exactly."""
    if type(value) is int and 0 <= value < 2**53:  # a bool is no count
        return value
    return None


def short(value: object, limit: int = 200) -> str | None:
    """Another program's name, such as a model's, cut at `limit`."""
    return value[:limit] if isinstance(value, str) and value else None


def remember(memory: dict[str, Any], key: str, value: Any = None, *, limit: int = 100) -> None:
    """Set a value; the oldest one goes when there are more than `limit`."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > limit:
        del memory[next(iter(memory))]
