"""The JSON lines that Claude Code prints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from port42_daemon.activity import update_tasks
from port42_daemon.backends.base import Compacted, Done, Event, Thought, Usage
from port42_daemon.backends.command.stream import (
    StreamParser,
    at,
    count_at,
    items_at,
    started,
    text_at,
    text_of,
    words_at,
)
from port42_daemon.backends.errors import failure

_TASK_TOOLS = frozenset(("TaskCreate", "TaskUpdate", "TaskList"))
_PRINTED = re.compile(r"\s*<local-command-stdout>(.*)</local-command-stdout>\s*", re.DOTALL)


class ClaudeParser(StreamParser):
    """Claude Code's ``stream-json``, with or without partial messages; sub-agents' output is left out.

    Recorded from 2.1. A failed login or limit comes as an assistant message of the model ``<synthetic>`` and
    a result that is both ``success`` and ``is_error``; a resume that found nothing gives a result alone,
    whose session id is of no use, so ids are taken from ``init`` only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._partial = False
        self._message = ""
        self._before = self._now = Usage(0, 0)
        self._compacted = False
        self._printed = ""
        self._tasks: dict[str, tuple[str, str]] = {}

    def on_system(self, entry: Any) -> Iterable[Event]:
        subtype = text_at(entry, "subtype")
        if subtype == "init":
            yield started(text_at(entry, "session_id"), text_at(entry, "model"))
        elif subtype == "compact_boundary":
            self._compacted = True  # the summary follows

    def on_stream_event(self, entry: Any) -> Iterable[Event]:
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
            yield from text_of(words_at(event, "delta", "text"))
        elif kind == "message_delta":
            yield from self._usage(at(event, "usage"))

    def on_assistant(self, entry: Any) -> Iterable[Event]:
        message = at(entry, "message")
        if at(entry, "parent_tool_use_id") is not None or text_at(message, "model") == "<synthetic>":
            return
        self._begin(text_at(message, "id"))
        if not self._partial:
            yield from text_of(text_at(message, "content"))
        for block in items_at(message, "content"):
            kind = text_at(block, "type")
            if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
                name, given = text_at(block, "name"), at(block, "input")
                yield from self._tool_started(text_at(block, "id"), name, given)
                if name == "TodoWrite":
                    yield from self._plan(at(given, "todos"))
            elif kind.endswith("_tool_result"):
                yield from self._result_of_tool(block, None)
            elif not self._partial and kind == "thinking" and text_at(block, "thinking"):
                yield Thought(text_at(block, "thinking"))
            elif not self._partial and kind == "text":
                yield from text_of(words_at(block, "text"))

    def on_user(self, entry: Any) -> Iterable[Event]:
        if at(entry, "parent_tool_use_id") is not None:
            return
        content = at(entry, "message", "content")
        for block in items_at(content):
            yield from self._result_of_tool(block, at(entry, "tool_use_result"))
        text = words_at(content)
        if self._compacted and text and at(entry, "isSynthetic") is True:
            self._compacted = False
            yield Compacted(text)
        elif printed := _PRINTED.fullmatch(text):
            self._printed = printed[1].strip()

    def _result_of_tool(self, block: Any, details: Any) -> Iterable[Event]:
        number = text_at(block, "tool_use_id")
        tool = self._tools.get(number)
        yield from self._tool_ended(number, at(block, "content"), failed=at(block, "is_error") is True)
        if tool is not None and tool.name in _TASK_TOOLS and update_tasks(self._tasks, details):
            yield from self._plan(
                [{"content": text, "status": state} for text, state in self._tasks.values()]
            )

    def on_result(self, entry: Any) -> Iterable[Event]:
        subtype, result = text_at(entry, "subtype"), text_at(entry, "result")
        self._before = Usage(0, 0)
        yield from self._usage(at(entry, "usage"))
        if self._compacted:
            yield Compacted()
        if at(entry, "is_error") is True or subtype not in ("success", ""):
            errors = [error for error in items_at(entry, "errors") if isinstance(error, str)]
            why = result or "; ".join(errors) or f"it stopped with {subtype}"
            yield Done(failure(why, count_at(entry, "api_error_status") or None))
            return
        if not self.has_text:
            yield from text_of(result or self._printed)
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
