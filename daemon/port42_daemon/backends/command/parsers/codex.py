"""Codex's `exec --json`: whole items, no deltas.

Recorded from 0.169. Of note: ``error`` is not the end (it says ``Reconnecting… 2/5`` and goes on),
``turn.failed`` is; an item of type ``error`` is a warning; a resumed thread that is not known gives no
line at all, only stderr; the usage is the whole thread's, resumed turns included.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from port42_daemon.backends.base import Done, Event, Notice, Thought, Tool, Usage
from port42_daemon.backends.command.parsers.stream import (
    Handler,
    StreamParser,
    at,
    count_at,
    items_at,
    started,
    text_at,
    words_at,
)
from port42_daemon.backends.errors import failure

_STATES: dict[str, Literal["running", "done", "failed"]] = {
    "in_progress": "running",
    "completed": "done",
    "failed": "failed",
    "declined": "failed",
}


class CodexParser(StreamParser):
    """Every message is a paragraph of the reply."""

    counts_whole_session = True

    def handlers(self) -> dict[str, Handler]:
        return {
            "thread.started": self._started,
            "item.started": self._item,
            "item.updated": self._item,
            "item.completed": self._completed,
            "error": self._error,
            "turn.completed": self._turn_completed,
            "turn.failed": self._turn_failed,
        }

    def _started(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "thread_id"), "")

    def _item(self, entry: Any) -> Iterable[Event]:
        item = at(entry, "item")
        number, title = text_at(item, "id"), _title(item)
        if number and title:
            state = _STATES.get(text_at(item, "status"))
            fallback: Literal["running", "done"] = (
                "done" if text_at(entry, "type") == "item.completed" else "running"
            )
            yield Tool(number, " ".join(title.split())[:200], state or fallback)

    def _completed(self, entry: Any) -> Iterable[Event]:
        item = at(entry, "item")
        kind = text_at(item, "type")
        if kind == "agent_message":
            self._gap = True
            yield from self._text(words_at(item, "text") or words_at(item, "content"))
        elif kind == "reasoning" and text_at(item, "text"):
            yield Thought(text_at(item, "text"))
        elif kind == "error" and text_at(item, "message"):
            yield Notice(text_at(item, "message"))
        else:
            yield from self._item(entry)

    def _error(self, entry: Any) -> Iterable[Event]:
        message = text_at(entry, "message")
        # It says the same at every attempt.
        if message and message != self.last_error:
            self.last_error = message
            if message.startswith("Reconnecting"):
                yield Notice(message)

    def _turn_completed(self, entry: Any) -> Iterable[Event]:
        usage = at(entry, "usage")
        if isinstance(usage, dict):
            yield Usage(count_at(usage, "input_tokens"), count_at(usage, "output_tokens"))
        yield Done()

    def _turn_failed(self, entry: Any) -> Iterable[Event]:
        yield Done(failure(text_at(entry, "error", "message") or self.last_error or "the turn failed"))


def _title(item: Any) -> str:
    """A tool call in one line; empty for other items."""
    match text_at(item, "type"):
        case "command_execution":
            return text_at(item, "command")
        case "file_change":
            return "edit " + ", ".join(text_at(change, "path") for change in items_at(item, "changes"))
        case "mcp_tool_call":
            return f"{text_at(item, 'server')}.{text_at(item, 'tool')}"
        case "web_search":
            return f"search {text_at(item, 'query')}"
        case "collab_tool_call":
            return text_at(item, "tool")
    return ""
