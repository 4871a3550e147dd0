"""Gemini CLI's `-o stream-json`.

Recorded from 0.61. Of note: it repeats the user's message; failures before the model is asked (login,
an unknown session) give no line at all, only stderr and an exit status of 41 or 42.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from port42_daemon.backends.base import Done, Event, Notice, Tool, Usage
from port42_daemon.backends.command.parsers.stream import (
    Handler,
    StreamParser,
    at,
    count_at,
    started,
    text_at,
    titled,
    words_at,
)
from port42_daemon.backends.errors import failure


class GeminiParser(StreamParser):
    """Text deltas; the stream has no reasoning."""

    def __init__(self) -> None:
        super().__init__()
        self._titles: dict[str, str] = {}

    def handlers(self) -> dict[str, Handler]:
        return {
            "init": self._init,
            "message": self._message,
            "tool_use": self._tool_use,
            "tool_result": self._tool_result,
            "error": self._error,
            "result": self._result,
        }

    def _init(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "session_id"), text_at(entry, "model"))

    def _message(self, entry: Any) -> Iterable[Event]:
        if text_at(entry, "role") == "assistant":
            yield from self._text(words_at(entry, "content"))

    def _tool_use(self, entry: Any) -> Iterable[Event]:
        self._gap = True
        number = text_at(entry, "tool_id")
        self._titles[number] = titled(text_at(entry, "tool_name"), at(entry, "parameters"))
        yield Tool(number, self._titles[number], "running")

    def _tool_result(self, entry: Any) -> Iterable[Event]:
        number = text_at(entry, "tool_id")
        if number in self._titles:
            yield Tool(
                number, self._titles[number], "failed" if text_at(entry, "status") == "error" else "done"
            )

    def _error(self, entry: Any) -> Iterable[Event]:
        if message := text_at(entry, "message"):
            self.last_error = message
            yield Notice(message)

    def _result(self, entry: Any) -> Iterable[Event]:
        stats = at(entry, "stats")
        if isinstance(stats, dict):
            yield Usage(count_at(stats, "input_tokens"), count_at(stats, "output_tokens"))
        if text_at(entry, "status") == "error":
            why = text_at(entry, "error", "message") or self.last_error or "the turn failed"
            yield Done(failure(why))
        else:
            yield Done()
