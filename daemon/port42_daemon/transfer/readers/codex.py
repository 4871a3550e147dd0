"""Codex's rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl``, an item a line.

Newer lines are ``{timestamp, type, payload}`` (`session_meta`, `turn_context`, `response_item`, `event_msg`,
codex-rs/protocol); older ones are the payloads themselves. Messages of user and assistant are kept;
reasoning, tool calls, and what Codex tells the model in the user's name are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import ParsedSession
from port42_daemon.transfer.readers.files import Lines, json_objects
from port42_protocol.messages.records import TurnRecord

_MACHINERY = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|permissions instructions|turn_aborted|INSTRUCTIONS"
    r"|user_shell_command|skill)\b|# AGENTS\.md instructions)"
)


def recognised(first: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this line is one."""
    return first.get("type") == "session_meta" or ("instructions" in first and "timestamp" in first)


def read(lines: Lines, source_id: str) -> ParsedSession:
    """The session of one file; its own id is taken over the file's name. Raises `Skipped`."""
    session = ParsedSession(source_id)
    model: str | None = None
    for location, entry in json_objects(lines, session):
        payload = values.mapping(entry.get("payload")) if "payload" in entry else entry
        kind, when = entry.get("type"), values.timestamp_of(entry.get("timestamp"))
        if kind == "session_meta" or location == "line 1":
            # A fork's file has the original's meta behind its own: the first one counts.
            if session.created_at is None:
                session.source_id = values.short(payload.get("id"), 128) or session.source_id
                session.created_at = values.timestamp_of(payload.get("timestamp")) or when
                session.cwd = values.folder(payload.get("cwd"))
        elif kind == "turn_context":
            model = values.short(payload.get("model")) or model
        elif payload.get("type") == "message" and kind in {"response_item", "message"}:
            text = values.text_of(payload.get("content"), ("input_text", "output_text", "text"))
            if payload.get("role") == "user" and not _MACHINERY.match(text):
                session.add_message("user", text, when, location=location)
            elif payload.get("role") == "assistant":
                turn = TurnRecord(backend="codex", model=model) if model else None
                session.add_message("assistant", text, when, location=location, turn=turn)
    return session.checked()
