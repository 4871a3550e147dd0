"""Codex's rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl``, an item a line.

Newer lines are ``{timestamp, type, payload}`` (`session_meta`, `turn_context`, `response_item`, `event_msg`,
codex-rs/protocol); older ones are the payloads themselves. Messages of user and assistant are imported,
but not reasoning, tool calls, and messages that Codex itself sends as the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import ParsedSession, SubAgent
from port42_daemon.transfer.readers.files import Lines, json_objects
from port42_protocol.messages.records import TurnRecord

_PROGRAM = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|permissions instructions|turn_aborted|INSTRUCTIONS"
    r"|user_shell_command|skill|subagent_notification)\b|# AGENTS\.md instructions)"
)
_CONTEXT = re.compile(
    r"\s*<environment_context>\s*(?:<cwd>|Current working directory:)([^<\n]{1,4096})",
)
_IDE = "# Context from my IDE setup:"
_REQUEST = "\n## My request for Codex:"
_IMAGE_TAG = re.compile(r"\s*</?image\b[^<>]{0,500}>\s*")


def read(lines: Lines, source_id: str) -> ParsedSession:
    """The session of one file; its own id takes precedence over the file's name. Raises `Skipped`."""
    session = ParsedSession(source_id)
    model: str | None = None
    tokens = (0, 0)
    for location, entry in json_objects(lines, session):
        payload = values.mapping(entry.get("payload")) if "payload" in entry else entry
        kind, when = values.short(entry.get("type")), values.timestamp_of(entry.get("timestamp"))
        if kind == "session_meta" or location == "line 1":
            _take_meta(session, payload, when)
        elif kind == "turn_context":
            model = values.short(payload.get("model")) or model
        elif payload.get("type") == "message" and kind in {"response_item", "message"}:
            _take_message(session, payload, when, location, model)
        elif kind == "event_msg" and payload.get("type") == "token_count":
            tokens = _take_tokens(session, payload, tokens)
        elif kind == "event_msg" and payload.get("type") == "error":
            message = payload.get("message")
            session.add_message("error", message if isinstance(message, str) else "", when, location)
    return session.finished()


def _take_meta(session: ParsedSession, meta: Mapping[str, Any], when: str | None) -> None:
    # A fork's file has the original's meta after its own: the first one counts.
    if session.created_at is not None:
        return
    source = meta.get("source")  # such as "cli" or {"subagent": …}
    if isinstance(source, str | dict) and "subagent" in source:
        raise SubAgent
    session.source_id = values.short(meta.get("id"), 128) or session.source_id
    session.created_at = values.timestamp_of(meta.get("timestamp")) or when
    session.cwd = values.folder(meta.get("cwd"))


def _take_message(
    session: ParsedSession, message: Mapping[str, Any], when: str | None, location: str, model: str | None
) -> None:
    content = message.get("content")
    if message.get("role") == "assistant":
        turn = TurnRecord(backend="codex", model=model)
        session.add_message("assistant", values.text_of(content), when, location, turn=turn)
    elif message.get("role") == "user":
        text = values.text_of(content)
        if session.cwd is None and (context := _CONTEXT.match(text)):
            # Before September 2025 only this text had the folder.
            session.cwd = values.folder(context[1].strip())
        if not _PROGRAM.match(text):
            text = values.text_of(content, _typed, pictures=True)
            session.add_message("user", text, when, location)


def _typed(text: str) -> str:
    """The text without the tags around images and without an editor's list of files."""
    if _IMAGE_TAG.fullmatch(text):
        return ""
    if text.lstrip().startswith(_IDE) and _REQUEST in text:
        return text.partition(_REQUEST)[2].strip()
    return text


def _take_tokens(
    session: ParsedSession, payload: Mapping[str, Any], before: tuple[int, int]
) -> tuple[int, int]:
    """Totals of the session so far, repeated with every change of a rate limit."""
    total = values.mapping(values.mapping(payload.get("info")).get("total_token_usage"))
    sent, received = values.count(total.get("input_tokens")), values.count(total.get("output_tokens"))
    if sent is None or received is None or (sent, received) == before:
        return before
    session.add_tokens(max(sent - before[0], 0), max(received - before[1], 0))
    return sent, received
