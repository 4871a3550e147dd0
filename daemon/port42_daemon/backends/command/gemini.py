"""The JSON lines that Gemini CLI prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from port42_daemon.backends.base import Done, Event, Notice, Usage
from port42_daemon.backends.command.stream import (
    StreamParser,
    at,
    count_at,
    started,
    text_at,
    text_of,
    words_at,
)
from port42_daemon.backends.errors import failure


class GeminiParser(StreamParser):
    """Gemini CLI's ``stream-json``: text deltas, no reasoning.

    Recorded from 0.61. It repeats the user's message; failures before the model is asked (login, an unknown
    session) give no line at all, only stderr and an exit status of 41 or 42.
    """

    def on_init(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "session_id"), text_at(entry, "model"))

    def on_message(self, entry: Any) -> Iterable[Event]:
        if text_at(entry, "role") == "assistant":
            yield from text_of(words_at(entry, "content"))

    def on_tool_use(self, entry: Any) -> Iterable[Event]:
        given = at(entry, "parameters")
        yield from self._tool_started(text_at(entry, "tool_id"), text_at(entry, "tool_name"), given)
        if text_at(entry, "tool_name") == "write_todos":
            yield from self._plan(at(given, "todos"))

    def on_tool_result(self, entry: Any) -> Iterable[Event]:
        output = at(entry, "output") or text_at(entry, "error", "message")
        failed = text_at(entry, "status") == "error"
        return self._tool_ended(text_at(entry, "tool_id"), output or None, failed=failed)

    def on_error(self, entry: Any) -> Iterable[Event]:
        if message := text_at(entry, "message"):
            self.last_error = message
            yield Notice(message)

    def on_result(self, entry: Any) -> Iterable[Event]:
        stats = at(entry, "stats")
        if isinstance(stats, dict):
            yield Usage(count_at(stats, "input_tokens"), count_at(stats, "output_tokens"))
        failed = text_at(entry, "status") == "error"
        why = text_at(entry, "error", "message") or self.last_error or "the turn failed"
        yield Done(failure(why) if failed else None)
