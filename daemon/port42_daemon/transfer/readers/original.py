"""Sessions of the original Port42: objects named by their hash, with an index, or single JSON files.

`session-index.json` has the `object_id` of each session's latest state, which is in
``objects/3a/4f/2b8c…`` (daemon/src/storage.go and types.go there).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import Document, ParsedSession, Skipped
from port42_daemon.transfer.readers.files import LINE_BYTES, json_value
from port42_daemon.transfer.readers.json_document import JsonDocument
from port42_protocol.messages.types import NAME_PATTERN

INDEX = "session-index.json"
_OBJECT = re.compile(r"[0-9a-f]{64}")
_AGENT = re.compile(NAME_PATTERN)


def object_paths(index: bytes) -> dict[str, str | None]:
    """The path of each session's object, relative to the index; None without one. Raises `Skipped`."""
    value = json_value(index)
    # Before version 2 the map of sessions was the whole file.
    sessions = values.mapping(values.mapping(value).get("sessions", value))
    paths: dict[str, str | None] = {}
    for session_id, reference in sessions.items():
        name = values.mapping(reference).get("object_id")
        # An index may be hostile: an id becomes a path only when it looks like a hash.
        paths[session_id] = None
        if isinstance(name, str) and _OBJECT.fullmatch(name):
            paths[session_id] = f"objects/{name[:2]}/{name[2:4]}/{name[4:]}"
    return paths


def read(chunks: Iterable[bytes], limits: SessionsConfig) -> list[ParsedSession]:
    """The session in an object or a single file. Raises `Skipped`."""
    document = Document("original", "", limits)
    items = JsonDocument(chunks, LINE_BYTES)
    for number, item in enumerate(items.items(), 1):
        location = f"message {number}"
        message = {} if item is None else values.mapping(json_value(item))
        role, content = values.role_of(message.get("role")), message.get("content")
        if role is None or not isinstance(content, str):
            document.problem(location, "it has no role that is known, or no text")
        else:
            document.message("", role, content, values.timestamp_of(message.get("timestamp")), location)
    header, info = json_value(items.rest), document.info
    if not isinstance(header, dict) or "messages" not in header or "format" in header:
        raise Skipped("it is not a session of the original Port42")
    info.source_id = values.short(header.get("id"), 256) or ""
    if not info.source_id:
        raise Skipped("it has no id")
    agent = header.get("agent")
    agent = agent.removeprefix("@") if isinstance(agent, str) else ""
    info.agent = agent if _AGENT.fullmatch(agent) else None
    info.created_at = values.timestamp_of(header.get("created_at")) or info.created_at
    return document.finished()
