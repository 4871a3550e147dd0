"""Claude Code's `--output-format stream-json --verbose`, with or without `--include-partial-messages`.

Recorded from 2.1. Of note: a failed login or limit comes as an assistant message of the model
``<synthetic>`` and a result that is both ``success`` and ``is_error``; a resume that found nothing gives
a result alone, whose session id is of no use, so ids are taken from ``init`` only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from port42_daemon.backends.base import Done, Event, Thought, Tool, Usage
from port42_daemon.backends.command.parsers.stream import (
    Handler,
    StreamParser,
    at,
    count_at,
    items_at,
    started,
    text_at,
    titled,
    words_at,
)
from port42_daemon.backends.errors import failure


class ClaudeParser(StreamParser):
    """Text deltas, without the output of sub-agents."""

    def __init__(self) -> None:
        super().__init__()
        self._partial = False
        self._message = ""
        self._titles: dict[str, str] = {}
        self._before = Usage(0, 0)
        self._now = Usage(0, 0)

    def handlers(self) -> dict[str, Handler]:
        return {
            "system": self._system,
            "stream_event": self._stream_event,
            "assistant": self._assistant,
            "user": self._user,
            "result": self._result,
        }

    def _system(self, entry: Any) -> Iterable[Event]:
        if text_at(entry, "subtype") == "init":
            yield started(text_at(entry, "session_id"), text_at(entry, "model"))

    def _stream_event(self, entry: Any) -> Iterable[Event]:
        if at(entry, "parent_tool_use_id") is not None:
            return
        event = at(entry, "event")
        kind = text_at(event, "type")
        if kind == "message_start":
            self._begin(text_at(event, "message", "id"))
            self._before = self._now
            yield from self._usage(at(event, "message", "usage"))
        elif kind == "content_block_delta":
            self._partial = True
            if thought := text_at(event, "delta", "thinking"):
                yield Thought(thought)
            yield from self._text(words_at(event, "delta", "text"))
        elif kind == "message_delta":
            yield from self._usage(at(event, "usage"))

    def _assistant(self, entry: Any) -> Iterable[Event]:
        message = at(entry, "message")
        if at(entry, "parent_tool_use_id") is not None or text_at(message, "model") == "<synthetic>":
            return
        self._begin(text_at(message, "id"))
        if not self._partial:
            yield from self._text(text_at(message, "content"))
        for block in items_at(message, "content"):
            kind = text_at(block, "type")
            if kind == "tool_use":
                title = titled(text_at(block, "name"), at(block, "input"))
                self._titles[text_at(block, "id")] = title
                yield Tool(text_at(block, "id"), title, "running")
            elif not self._partial and kind == "thinking" and text_at(block, "thinking"):
                yield Thought(text_at(block, "thinking"))
            elif not self._partial and kind == "text":
                yield from self._text(words_at(block, "text"))

    def _user(self, entry: Any) -> Iterable[Event]:
        for block in items_at(entry, "message", "content"):
            number = text_at(block, "tool_use_id")
            if number in self._titles:
                state = at(block, "is_error") is True
                yield Tool(number, self._titles[number], "failed" if state else "done")

    def _result(self, entry: Any) -> Iterable[Event]:
        subtype, result = text_at(entry, "subtype"), text_at(entry, "result")
        self._before = Usage(0, 0)
        yield from self._usage(at(entry, "usage"))
        if at(entry, "is_error") is True or subtype not in ("success", ""):
            errors = [each for each in items_at(entry, "errors") if isinstance(each, str)]
            why = result or "; ".join(errors) or f"it stopped with {subtype}"
            yield Done(failure(why, count_at(entry, "api_error_status") or None))
            return
        if not self._has_text:
            yield from self._text(result)
        yield Done(stop_reason=text_at(entry, "stop_reason") or None)

    def _begin(self, message: str) -> None:
        if message != self._message:
            self._message, self._gap = message, True

    def _usage(self, usage: Any) -> Iterable[Event]:
        """The turn's total: the messages before this one, and what this one has cost so far."""
        kinds = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        total = Usage(
            max(self._now.input_tokens, self._before.input_tokens + sum(count_at(usage, k) for k in kinds)),
            max(self._now.output_tokens, self._before.output_tokens + count_at(usage, "output_tokens")),
        )
        if total != self._now:
            self._now = total
            yield total
