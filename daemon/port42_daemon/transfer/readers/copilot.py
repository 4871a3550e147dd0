"""Copilot CLI's sessions: ``~/.copilot/session-state/<id>/events.jsonl``, an event a line.

The package's ``schemas/session-events.schema.json`` describes them. A sub-agent's events have its `agentId`,
in older files the id of the call that started it. A fork is a file that begins with copies of the original's
events; those of the model's usage name that. The title is in ``workspace.yaml`` beside the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from port42_daemon.store.interface import COMPACTED
from port42_daemon.transfer.readers import base, values
from port42_daemon.transfer.readers.base import SessionInfo, Skipped
from port42_daemon.transfer.readers.files import whole
from port42_daemon.transfer.readers.line_reader import LineReader

_TITLES = (b"name: ", b"summary: ")
_TYPED = ("user", "command-", "schedule-", "autopilot-")
"""How the sources of messages begin that are the person's; others are of skills and of other agents."""

_ENDING = re.compile(r"\n?<shellId: [\w-]{1,80} completed with exit code -?\d{1,9}>\s*\Z")
"""What the model is told behind a command's output."""


class Entry(Struct, rename="camel"):
    """The fields of a line that are used."""

    type: Any = None
    id: Any = None
    timestamp: Any = None
    agent_id: Any = None
    data: Any = None


class State(base.State):
    """`thought` is the latest one: newer versions report each with its message, too."""

    thought: str = ""


class Reader(LineReader):
    """Reads one file."""

    format = "copilot"
    state_type = State
    entry_type = Entry
    state: State

    def take_path(self, path: Path) -> None:
        self.state.sessions[""].source_id = path.parent.name
        self.state.sessions[""].add_title(title_beside(path))

    def take(self, entry: Entry, location: str) -> None:
        when, data = values.timestamp_of(entry.timestamp), values.mapping(entry.data)
        kind = values.short(entry.type) or ""
        started_by = data.get("toolCallId") if kind.startswith("subagent.") else data.get("parentToolCallId")
        key = values.short(entry.agent_id or started_by, 128) or ""
        if key not in self.state.sessions:
            own = self.state.sessions[""]
            source_id = f"{own.source_id}/{key}"
            self.state.sessions[key] = SessionInfo(source_id, parent=own.source_id, cwd=own.cwd)
        if kind.startswith(("session.", "subagent.")):
            self._take_session(key, kind, data, when)
        else:
            self._take_event(key, kind, data, (when, location, values.short(entry.id, 128) or ""))
        self.count_copies(key, when)

    def _take_session(self, key: str, kind: str, data: Mapping[str, Any], when: str | None) -> None:
        info = self.state.sessions[key]
        match kind:
            case "session.start":
                info.source_id = values.short(data.get("sessionId"), 128) or info.source_id
                info.created_at = values.timestamp_of(data.get("startTime")) or when
                info.cwd = values.folder(values.mapping(data.get("context")).get("cwd"))
                info.model = values.short(data.get("selectedModel"))
            case "session.model_change":
                info.model = values.short(data.get("newModel")) or info.model
            case "session.title_changed":
                info.add_title(values.one_line(data.get("title")))
            case "subagent.started":
                name, description = data.get("agentDisplayName"), data.get("agentDescription")
                info.add_title(values.one_line(description) or values.one_line(name))
            case "session.usage_record":
                usage = values.mapping(data.get("usage"))
                sent, received = (
                    values.count(usage.get("inputTokens")),
                    values.count(usage.get("outputTokens")),
                )
                if sent is not None and received is not None:
                    info.add_tokens(sent, received)
                source_id = values.short(values.mapping(usage.get("accounting")).get("sourceSessionId"), 128)
                if key == "" and source_id != info.source_id:
                    info.forked_from = source_id or info.forked_from
            case "session.compaction_complete" if data.get("success") is not False:
                self.event(key, COMPACTED, when, content=self.bounded(_text(data, "summaryContent")))
            case "session.error":
                self.message(key, "error", _text(data, "message"), when)

    def _take_event(
        self, key: str, kind: str, data: Mapping[str, Any], where: tuple[str | None, str, str]
    ) -> None:
        info, when = self.state.sessions[key], where[0]
        match kind:
            case "user.message" if key or _text(data, "source").startswith(_TYPED) or not data.get("source"):
                self.prompt(key, _text(data, "content") or _attached(data), *where)
            case "assistant.reasoning":
                self._think(key, _text(data, "content"), when)
            case "assistant.message":
                info.model = values.short(data.get("model")) or info.model
                received = values.count(data.get("outputTokens"))
                if received and not info.input_tokens:  # older versions report no others
                    info.add_tokens(0, received)
                self._think(key, _text(data, "reasoningText"), when)
                self.message(key, "assistant", _text(data, "content"), *where)
            case "tool.execution_start" | "tool.user_requested":
                call_id = values.short(data.get("toolCallId"), 256) or "unknown"
                self.call(key, call_id, values.short(data.get("toolName")), data.get("arguments"), when)
            case "tool.execution_complete":
                self._take_result(key, data, when)
            case "abort":
                self.interrupt(key, when)

    def _think(self, key: str, text: str, when: str | None) -> None:
        if text and text != self.state.thought:
            self.state.thought = self.bounded(text)
            self.thought(key, text, when)

    def _take_result(self, key: str, data: Mapping[str, Any], when: str | None) -> None:
        call_id = values.short(data.get("toolCallId"), 256) or "unknown"
        code = values.mapping(data.get("shellExecution")).get("exitCode")
        failed = data.get("success") is False or code not in (0, None)
        result = data.get("error") if data.get("success") is False else None
        output = values.mapping(result or data.get("result"))
        content = output.get("content", output.get("message"))
        if isinstance(content, str):
            content = _ENDING.sub("", content)
        self.result(key, call_id, content, when, failed=failed)


def title_beside(path: Path) -> str | None:
    """The title of the session in the file at `path`."""
    try:
        data, _ = whole(path.with_name("workspace.yaml"), 64 * 1024)
    except Skipped:
        return None
    for field in _TITLES:
        titles = [line.removeprefix(field) for line in data.splitlines() if line.startswith(field)]
        if titles and titles[0][:1] not in {b"|", b">"}:
            return values.one_line(_scalar(titles[0].decode(errors="replace").strip()))
    return None


def _scalar(text: str) -> str:
    """A value of YAML without its quotes."""
    if text.startswith("'"):
        return text.strip("'").replace("''", "'")
    try:
        return msgspec.json.decode(text, type=str) if text.startswith('"') else text
    except msgspec.DecodeError:
        return text.strip('"')


def _text(data: Mapping[str, Any], field: str) -> str:
    text = data.get(field)
    return text if isinstance(text, str) else ""


def _attached(data: Mapping[str, Any]) -> str:
    """The names of files, for a message without text."""
    attached = data.get("attachments")
    files = map(values.mapping, attached if isinstance(attached, list) else ())
    names = [values.one_line(file.get("displayName") or file.get("path")) or "file" for file in files]
    return "\n".join(f"[{name}]" for name in names)
