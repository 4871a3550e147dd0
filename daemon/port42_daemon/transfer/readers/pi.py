"""pi's sessions: ``~/.pi/agent/sessions/--<folder>--/<time>_<id>.jsonl``, an entry a line.

Entries are a tree, to which lines are only appended: all branches are read, in the order of the lines, and
going on behind an earlier entry takes back the prompts after that. A fork
is a file that begins with copies of the original's entries and names its file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from port42_daemon.store.interface import COMPACTED
from port42_daemon.transfer.readers import base, values
from port42_daemon.transfer.readers.line_reader import LineReader

_FILE = re.compile(r"_([A-Za-z0-9-]{1,128})\.jsonl\Z")
_REMEMBERED = 1000
_TOKENS = ("input", "cacheRead", "cacheWrite")


class Entry(Struct, rename="camel"):
    """The fields of a line that are used."""

    type: Any = None
    id: Any = None
    parent_id: Any = None
    timestamp: Any = None
    cwd: Any = None
    parent_session: Any = None
    name: Any = None
    message: Any = None
    summary: Any = None


class State(base.State):
    """`entries` are the ids of the latest ones."""

    entries: dict[str, None] = field(default_factory=dict)


class Reader(LineReader):
    """Reads one file."""

    format = "pi"
    state_type = State
    entry_type = Entry
    state: State

    def take(self, entry: Entry, location: str) -> None:
        info, when = self.state.sessions[""], values.timestamp_of(entry.timestamp)
        if entry.type != "session":
            self._take_place(entry, when)
        match entry.type:
            case "session":
                info.source_id = values.short(entry.id, 128) or info.source_id
                info.created_at = info.created_at or when
                info.cwd = values.folder(entry.cwd)
                if file := _FILE.search(values.short(entry.parent_session, 4096) or ""):
                    info.forked_from = file[1]
            case "session_info":
                info.add_title(values.one_line(entry.name))
            case "message":
                # Ids are short: only with their times do they stand for one entry in all files.
                mark = f"{entry.timestamp} {entry.id}"[:100]
                self._take_message(values.mapping(entry.message), when, location, mark)
            case "compaction" | "branch_summary":
                text = entry.summary if isinstance(entry.summary, str) else ""
                self.event("", COMPACTED, when, content=self.bounded(text))
        self.count_copies("", when)

    def _take_place(self, entry: Entry, when: str | None) -> None:
        """An entry that does not follow the latest one begins a branch; older sessions have no ids."""
        entries, key, parent = (
            self.state.entries,
            values.short(entry.id, 64),
            values.short(entry.parent_id, 64),
        )
        if key is None:
            return
        if entries and parent != next(reversed(entries)) and (parent is None or parent in entries):
            known, prompts = list(entries), self.state.sessions[""].prompts
            since = set(known[known.index(parent) + 1 :] if parent else known)
            self.roll_back("", sum(prompt.rpartition(" ")[2] in since for prompt in prompts), when)
        entries[key] = None
        if len(entries) > _REMEMBERED:
            del entries[next(iter(entries))]

    def _take_message(self, message: Mapping[str, Any], when: str | None, location: str, mark: str) -> None:
        content = message.get("content")
        match message.get("role"):
            case "user":
                text = values.text_of(content, pictures=True)
                self.prompt("", text, when, location, mark)
            case "assistant":
                self._take_reply(message, when, location, mark)
            case "toolResult":
                call_id = values.short(message.get("toolCallId"), 256) or "unknown"
                self.result("", call_id, content, when, failed=message.get("isError") is True)
            case "bashExecution":
                given = {"command": message.get("command")}
                self.call("", mark, "bash", given, when, kind="execute")
                failed = message.get("exitCode") != 0
                self.result("", mark, message.get("output"), when, failed=failed)

    def _take_reply(self, message: Mapping[str, Any], when: str | None, location: str, mark: str) -> None:
        info, content = self.state.sessions[""], message.get("content")
        info.model = values.short(message.get("model")) or info.model
        usage = values.mapping(message.get("usage"))
        if (received := values.count(usage.get("output"))) is not None:
            info.add_tokens(sum(values.count(usage.get(name)) or 0 for name in _TOKENS), received)
        for block in map(values.mapping, content if isinstance(content, list) else ()):
            match block:
                case {"type": "text", "text": str(text)}:
                    self.message("", "assistant", text, when, location, mark)
                case {"type": "thinking", "thinking": str(text)}:
                    self.thought("", text, when)
                case {"type": "toolCall"}:
                    call_id = values.short(block.get("id"), 256) or "unknown"
                    self.call("", call_id, values.short(block.get("name")), block.get("arguments"), when)
        match message.get("stopReason"):
            case "error":
                self.message("", "error", str(message.get("errorMessage") or "error"), when, location, mark)
            case "aborted":
                self.interrupt("", when)
