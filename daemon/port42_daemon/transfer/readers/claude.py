"""Claude Code's transcripts: ``~/.claude/projects/<folder>/<session>.jsonl``, an entry a line.

There is no official description; those of many who read these files agree (types `user`, `assistant`,
`summary`, `custom-title`; `message.content` a text or a list of parts). Text is kept; thinking, tool calls
and their results, sub-agents' side conversations and what Claude Code says to itself are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_daemon.transfer.readers.files import Lines, json_objects
from port42_protocol.messages.records import TurnRecord

# What its slash commands and hooks put into a user's entry.
_MACHINERY = re.compile(
    r"\s*<(?:command-name|command-message|command-args|local-command-|system-reminder|bash-|user-memory)"
)
_INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def recognised(first: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this entry is one."""
    return "sessionId" in first or "leafUuid" in first or "parentUuid" in first


def read(lines: Lines, source_id: str) -> ParsedSession:
    """The session of one file. Raises `Skipped`."""
    if source_id.startswith("agent-"):
        raise Skipped("it is a sub-agent's transcript, not a session")
    session = ParsedSession(source_id)
    counted: set[str] = set()
    for location, entry in json_objects(lines, session):
        _add_entry(session, entry, location, counted)
    return session.checked()


def _add_entry(session: ParsedSession, entry: Mapping[str, Any], location: str, counted: set[str]) -> None:
    kind = entry.get("type")
    if kind in {"summary", "custom-title", "ai-title"}:
        title = values.one_line(entry.get("customTitle") or entry.get("aiTitle") or entry.get("summary"))
        session.title = title if kind == "custom-title" and title else session.title or title
        return
    if kind not in {"user", "assistant"} or entry.get("isSidechain") is True or entry.get("isMeta") is True:
        return
    message = values.mapping(entry.get("message"))
    text = values.text_of(message.get("content"))
    session.cwd = session.cwd or values.folder(entry.get("cwd"))
    when = values.timestamp_of(entry.get("timestamp"))
    if kind == "assistant":
        turn = _turn(message, counted) if text.strip() else None
        session.add_message("assistant", text, when, location=location, turn=turn)
    elif not _MACHINERY.match(text):
        session.add_message("user", text, when, location=location)


def _turn(message: Mapping[str, Any], counted: set[str]) -> TurnRecord | None:
    """The model, and the tokens once for each answer, which has an entry for each of its parts."""
    model, identity = values.short(message.get("model")), str(message.get("id"))
    if model is None or model == "<synthetic>":
        return None
    usage = {} if identity in counted else values.mapping(message.get("usage"))
    counted.add(identity)
    sent = [tokens for name in _INPUT_TOKENS if (tokens := values.count(usage.get(name))) is not None]
    return TurnRecord(
        backend="claude",
        model=model,
        input_tokens=sum(sent) if sent else None,
        output_tokens=values.count(usage.get("output_tokens")),
    )
