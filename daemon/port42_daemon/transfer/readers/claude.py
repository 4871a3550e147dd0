"""Claude Code's transcripts: ``~/.claude/projects/<folder>/<session>.jsonl``, an entry a line.

There is no official description; those of many who read these files agree (types `user`, `assistant`,
`summary`, `custom-title`; `message.content` a text or a list of parts). Text is kept; thinking, tool calls
and their results, sub-agents' side conversations and what Claude Code says to itself are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from port42_daemon.transfer.readers import base as f
from port42_daemon.transfer.readers.base import Found, Skipped
from port42_daemon.transfer.readers.files import json_value
from port42_protocol.messages.records import TurnRecord

# What its slash commands and hooks put into a user's entry.
_MACHINERY = re.compile(
    r"\s*<(?:command-name|command-message|command-args|local-command-|system-reminder|bash-|user-memory)"
)


def recognised(first: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this entry is one."""
    return "sessionId" in first or "leafUuid" in first or "parentUuid" in first


def read(lines: Iterable[tuple[int, bytes | None]], source_id: str) -> Found:
    """The session of one file. Raises `Skipped`."""
    if source_id.startswith("agent-"):
        raise Skipped("it is a sub-agent's transcript, not a session")
    found = Found(source_id)
    counted: set[str] = set()
    for number, line in lines:
        place = f"line {number}"
        if line is None:
            found.problem(place, "it is longer than 16 MiB")
        elif line.strip():
            try:
                entry = json_value(line)
            except Skipped as reason:
                found.problem(place, str(reason))
                continue
            if isinstance(entry, dict):
                _take(found, entry, place, counted)
            else:
                found.problem(place, "it is not an object")
    if not found.records:
        raise Skipped("nobody says anything in it")
    return found


def _take(found: Found, entry: Mapping[str, Any], place: str, counted: set[str]) -> None:
    kind = entry.get("type")
    if kind in {"summary", "custom-title", "ai-title"}:
        title = f.one_line(entry.get("customTitle") or entry.get("aiTitle") or entry.get("summary"))
        found.title = title if kind == "custom-title" and title else found.title or title
        return
    if kind not in {"user", "assistant"} or entry.get("isSidechain") is True or entry.get("isMeta") is True:
        return
    message = f.mapping(entry.get("message"))
    text = f.text_of(message.get("content"))
    found.cwd = found.cwd or f.folder(entry.get("cwd"))
    when = f.moment(entry.get("timestamp"))
    if kind == "user":
        if not _MACHINERY.match(text):
            found.say("user", text, when, place=place)
    else:
        turn = _turn(message, counted) if text.strip() else None
        found.say("assistant", text, when, place=place, turn=turn)


def _turn(message: Mapping[str, Any], counted: set[str]) -> TurnRecord | None:
    """Which model; its tokens once for each answer, which has an entry for each of its parts."""
    model, identity = f.short(message.get("model")), str(message.get("id"))
    if model is None or model == "<synthetic>":
        return None
    usage = {} if identity in counted else f.mapping(message.get("usage"))
    counted.add(identity)
    sent = [
        count
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        if (count := f.whole_number(usage.get(name))) is not None
    ]
    return TurnRecord(
        backend="claude",
        model=model,
        input_tokens=sum(sent) if sent else None,
        output_tokens=f.whole_number(usage.get("output_tokens")),
    )
