"""The original Port42's sessions: objects named by their hash, with an index, or a session's bare JSON.

`session-index.json` has, for each session, the `object_id` of its latest state, which lies at
``objects/3a/4f/2b8c…`` (daemon/src/storage.go and types.go there).
"""

from __future__ import annotations

import re
from typing import Any

from port42_daemon.transfer.readers import base as f
from port42_daemon.transfer.readers.base import Found, Skipped
from port42_daemon.transfer.readers.files import json_value

INDEX = "session-index.json"
_OBJECT = re.compile(r"[0-9a-f]{64}")
_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def index(data: bytes) -> dict[str, str]:
    """For each session in the index, where its object is, relative to the index. Raises `Skipped`."""
    value = json_value(data)
    # Before version 2 the map of sessions was the whole file.
    sessions = f.mapping(f.mapping(value).get("sessions", value))
    places = {}
    for session_id, reference in sessions.items():
        named = f.mapping(reference).get("object_id")
        # An index is a file like any other: its ids are no paths until they look like hashes.
        good = named if isinstance(named, str) and _OBJECT.fullmatch(named) else ""
        places[session_id] = f"objects/{good[:2]}/{good[2:4]}/{good[4:]}" if good else ""
    return places


def recognised(value: Any) -> bool:
    """Whether this is a session's bare JSON."""
    return isinstance(value, dict) and isinstance(value.get("messages"), list) and "format" not in value


def read(data: bytes) -> Found:
    """The session in an object, or in a file of its own. Raises `Skipped`."""
    value = json_value(data)
    if not recognised(value):
        raise Skipped("it is not a session of the original Port42")
    identity = f.short(value.get("id"), 256)
    if identity is None:
        raise Skipped("it has no id")
    agent = value.get("agent")
    agent = agent.removeprefix("@") if isinstance(agent, str) else ""
    found = Found(
        identity,
        agent=agent if _AGENT.fullmatch(agent) else None,
        created_at=f.moment(value.get("created_at")),
    )
    for number, one in enumerate(value["messages"], 1):
        message = f.mapping(one)
        role, content = message.get("role"), message.get("content")
        if role not in {"user", "assistant", "system"} or not isinstance(content, str):
            found.problem(f"message {number}", "it has no role that is known, or no text")
        else:
            found.say(role, content, f.moment(message.get("timestamp")), place=f"message {number}")
    if not found.records:
        raise Skipped("nobody says anything in it")
    return found
