"""Codex's rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl``, an item a line.

Newer lines are ``{timestamp, type, payload}`` (`session_meta`, `turn_context`, `response_item`, `event_msg`,
codex-rs/protocol); older ones are the payloads themselves. Messages of user and assistant are kept;
reasoning, tool calls, and what Codex tells the model in the user's name are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from port42_daemon.transfer.readers import base as f
from port42_daemon.transfer.readers.base import Found, Skipped
from port42_daemon.transfer.readers.files import json_value
from port42_protocol.messages.records import TurnRecord

_MACHINERY = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|permissions instructions|turn_aborted|INSTRUCTIONS"
    r"|user_shell_command|skill)\b|# AGENTS\.md instructions)"
)


def recognised(first: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this line is one."""
    return first.get("type") == "session_meta" or ("instructions" in first and "timestamp" in first)


def read(lines: Iterable[tuple[int, bytes | None]], source_id: str) -> Found:
    """The session of one file; its own id is taken over the file's name. Raises `Skipped`."""
    found = Found(source_id)
    model: str | None = None
    for number, line in lines:
        place = f"line {number}"
        if line is None:
            found.problem(place, "it is longer than 16 MiB")
            continue
        if not line.strip():
            continue
        try:
            entry = json_value(line)
        except Skipped as reason:
            found.problem(place, str(reason))
            continue
        if not isinstance(entry, dict):
            found.problem(place, "it is not an object")
            continue
        payload = f.mapping(entry.get("payload")) if "payload" in entry else entry
        if entry.get("type") == "session_meta" or number == 1:
            _begin(found, payload, entry)
        elif entry.get("type") == "turn_context":
            model = f.short(payload.get("model")) or model
        elif payload.get("type") == "message" and entry.get("type") in {"response_item", "message"}:
            _take(found, payload, f.moment(entry.get("timestamp")), place, model)
    if not found.records:
        raise Skipped("nobody says anything in it")
    return found


def _begin(found: Found, meta: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    # A fork's file has the original's meta behind its own: the first one counts.
    if found.created_at is None:
        found.source_id = f.short(meta.get("id"), 128) or found.source_id
        found.created_at = f.moment(meta.get("timestamp")) or f.moment(entry.get("timestamp"))
        found.cwd = f.folder(meta.get("cwd"))


def _take(found: Found, message: Mapping[str, Any], when: str | None, place: str, model: str | None) -> None:
    text = f.text_of(message.get("content"), ("input_text", "output_text", "text"))
    if message.get("role") == "user" and not _MACHINERY.match(text):
        found.say("user", text, when, place=place)
    elif message.get("role") == "assistant":
        turn = TurnRecord(backend="codex", model=model) if model else None
        found.say("assistant", text, when, place=place, turn=turn)
