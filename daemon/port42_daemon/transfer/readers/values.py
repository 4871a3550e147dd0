"""Values of foreign JSON, YAML and SQLite, as a session keeps them; None for what it cannot keep."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from port42_daemon.transfer.readers.base import MESSAGE_BYTES

_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
_TEXTS = ("text", "input_text", "output_text")
_PICTURES = {
    "image": "image",
    "input_image": "image",
    "image_url": "image",
    "document": "document",
    "input_file": "file",
    "input_audio": "audio",
}


def timestamp_of(value: object) -> str | None:
    """RFC 3339 or Unix seconds as a record has its time: UTC, milliseconds. None for anything else."""
    try:
        if isinstance(value, str) and len(value) <= 64:
            # Go writes nanoseconds; a time without a zone is one in UTC, as SQLite's are.
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            return None
        return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    except (ValueError, OverflowError, OSError):
        return None


def one_line(value: object, limit: int = 200) -> str | None:
    """A title: one line without control characters, cut at `limit`; None for one without words."""
    if not isinstance(value, str):
        return None
    words = " ".join("".join(c if c.isprintable() else " " for c in value[: 8 * limit]).split())
    return (words if len(words) <= limit else words[: limit - 1] + "…") or None


def folder(value: object) -> str | None:
    """An absolute path, of Unix or Windows, that a session's `cwd` can be."""
    if isinstance(value, str) and _ABSOLUTE.match(value) and len(value) <= 4096 and value.isprintable():
        return value
    return None


def text_of(content: object) -> str:
    """The text of a message's content, which is a string or a list of parts, some of them text."""
    if isinstance(content, str):
        return content
    return "\n\n".join(text for text, picture in texts_of(content) if picture is None)


def message_of(content: object) -> str:
    """As `text_of`, with a placeholder for each picture and file."""
    if isinstance(content, str):
        return content
    return "\n\n".join(text if picture is None else picture for text, picture in texts_of(content))


def texts_of(content: object) -> Iterator[tuple[str, str | None]]:
    """Each part's text, or a placeholder for what it shows."""
    size = 0
    for part in map(mapping, content) if isinstance(content, list) else ():
        kind, text = part.get("type"), part.get("text")
        if kind in _TEXTS and isinstance(text, str):
            yield text, None
            size += len(text)
            if size > MESSAGE_BYTES:  # YAML's aliases can make it as long as they like; it is refused later
                return
        elif isinstance(kind, str) and kind in _PICTURES:
            yield "", f"[{_PICTURES[kind]}]"


def mapping(value: object) -> Mapping[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def count(value: object) -> int | None:
    """A whole number from 0 that JSON can hold exactly."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return None


def short(value: object, limit: int = 200) -> str | None:
    """A name chosen elsewhere, such as a model's, cut at `limit`."""
    return value[:limit] if isinstance(value, str) and value else None
