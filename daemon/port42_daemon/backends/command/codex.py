"""The JSON lines that Codex prints, in the form of today and in that until 0.40."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any, Literal

from port42_daemon.activity import kind_of, title_of
from port42_daemon.backends.base import Done, Event, Notice, Thought, Tool, Usage
from port42_daemon.backends.command.stream import (
    ID_CHARS,
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
from port42_protocol.messages.records import Location

_SPLIT_CHARS = 64 * 1024
"""A longer command is not taken apart: that is done in Python, a character at a time."""
_STATES: dict[str, Literal["running", "done", "failed"]] = {
    "in_progress": "running",
    "completed": "done",
    "failed": "failed",
    "declined": "failed",
}


class CodexParser(StreamParser):
    """Codex's ``exec --json``: whole items, no deltas; every message is a paragraph of the reply.

    Recorded from 0.169. ``error`` is not the end (it says ``Reconnecting… 2/5`` and goes on), ``turn.failed``
    is; an item of type ``error`` is a warning; a resumed thread that is not known gives no line at all, only
    stderr; the usage is the whole thread's, resumed turns included.

    Until 0.40 (tried: 0.20) the lines had another form, ``{"id": …, "msg": {"type": …}}``, usage was each
    request's, and nothing marked the end.
    """

    counts_whole_session = True

    def __init__(self) -> None:
        super().__init__()
        self._used = Usage(0, 0)

    def _type_of(self, entry: Any) -> str:
        old = text_at(entry, "msg", "type")
        self.ends_with_exit = self.ends_with_exit or bool(old)
        return f"old_{old}" if old else text_at(entry, "type")

    def on_old_agent_message(self, entry: Any) -> Iterable[Event]:
        self._gap = True
        return text_of(text_at(entry, "msg", "message"))

    def on_old_agent_reasoning(self, entry: Any) -> Iterable[Event]:
        if thought := text_at(entry, "msg", "text"):
            yield Thought(thought)

    def on_old_plan_update(self, entry: Any) -> Iterable[Event]:
        return self._plan(at(entry, "msg", "plan"))

    def on_old_exec_command_begin(self, entry: Any) -> Iterable[Event]:
        given = {"command": at(entry, "msg", "command")}
        return self._tool_started(text_at(entry, "msg", "call_id"), "shell", given)

    def on_old_exec_command_end(self, entry: Any) -> Iterable[Event]:
        message = at(entry, "msg")
        output = text_at(message, "stdout") + text_at(message, "stderr")
        failed = at(message, "exit_code") not in (0, None) or at(message, "success") is False
        return self._tool_ended(text_at(message, "call_id"), output or None, failed=failed)

    def on_old_patch_apply_begin(self, entry: Any) -> Iterable[Event]:
        given = {"changes": at(entry, "msg", "changes")}
        return self._tool_started(text_at(entry, "msg", "call_id"), "apply_patch", given)

    on_old_patch_apply_end = on_old_exec_command_end

    def on_old_mcp_tool_call_begin(self, entry: Any) -> Iterable[Event]:
        called = at(entry, "msg", "invocation")
        name = f"{text_at(called, 'server')}__{text_at(called, 'tool')}"
        return self._tool_started(text_at(entry, "msg", "call_id"), name, at(called, "arguments"))

    def on_old_mcp_tool_call_end(self, entry: Any) -> Iterable[Event]:
        result = at(entry, "msg", "result")
        output, error = at(result, "Ok", "content"), at(result, "Err")
        return self._tool_ended(text_at(entry, "msg", "call_id"), output or error, failed=error is not None)

    def on_old_token_count(self, entry: Any) -> Iterable[Event]:
        counts = at(entry, "msg", "info", "last_token_usage") or at(entry, "msg")
        self._used = Usage(
            self._used.input_tokens + count_at(counts, "input_tokens"),
            self._used.output_tokens + count_at(counts, "output_tokens"),
        )
        yield self._used

    def on_old_error(self, entry: Any) -> Iterable[Event]:
        return self.on_error(at(entry, "msg"))

    on_old_stream_error = on_old_error

    def on_thread_started(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "thread_id"), "")

    def on_item_started(self, entry: Any) -> Iterable[Event]:
        return self._item(at(entry, "item"), ended=False)

    on_item_updated = on_item_started

    def on_item_completed(self, entry: Any) -> Iterable[Event]:
        item = at(entry, "item")
        kind = text_at(item, "type")
        if kind == "agent_message":
            self._gap = True
            yield from text_of(words_at(item, "text") or words_at(item, "content"))
        elif kind == "reasoning" and text_at(item, "text"):
            yield Thought(text_at(item, "text"))
        elif kind == "error" and text_at(item, "message"):
            yield Notice(text_at(item, "message"))
        else:
            yield from self._item(item, ended=True)

    def on_error(self, entry: Any) -> Iterable[Event]:
        message = text_at(entry, "message")
        # It says the same at every attempt.
        if message and message != self.last_error:
            self.last_error = message
            if message.startswith("Reconnecting"):
                yield Notice(message)

    def on_turn_completed(self, entry: Any) -> Iterable[Event]:
        usage = at(entry, "usage")
        if isinstance(usage, dict):
            yield Usage(count_at(usage, "input_tokens"), count_at(usage, "output_tokens"))
        yield Done()

    def on_turn_failed(self, entry: Any) -> Iterable[Event]:
        yield Done(failure(text_at(entry, "error", "message") or self.last_error or "the turn failed"))

    def _item(self, item: Any, *, ended: bool) -> Iterable[Event]:
        """A tool call or a plan; nothing for other items."""
        name, output = "", None
        given: dict[str, Any] = {}
        match text_at(item, "type"):
            case "todo_list":
                steps = items_at(item, "items")
                yield from self._plan(
                    [{"content": text_at(step, "text"), "status": _state_of(step)} for step in steps]
                )
            case "command_execution":
                name, given = "exec_command", {"cmd": _command(text_at(item, "command"))}
                output = at(item, "aggregated_output")
            case "file_change":
                name, given = "apply_patch", {"changes": items_at(item, "changes")}
            case "mcp_tool_call":
                name, given = f"{text_at(item, 'server')}__{text_at(item, 'tool')}", at(item, "arguments")
                output = at(item, "result", "content") or at(item, "error", "message")
            case "web_search":
                name, given = "web_search", {"query": text_at(item, "query")}
            case "collab_tool_call":
                name, prompt = text_at(item, "tool"), text_at(item, "prompt")
                name = "wait_agent" if name == "wait" else name  # as the model calls it
                given = {"prompt": prompt} if prompt else {}
                states = at(item, "agents_states")
                states = states.values() if isinstance(states, dict) else ()
                output = "\n".join(filter(None, (text_at(state, "message") for state in states)))
        paths = [path for change in items_at(item, "changes") if (path := text_at(change, "path"))]
        number = text_at(item, "id")
        if not name or not 0 < len(number) <= ID_CHARS:
            return
        state: Literal["running", "done", "failed"] = "done" if ended else "running"
        yield Tool(
            number,
            ", ".join(paths[:4]) or title_of(given) or name,
            _STATES.get(text_at(item, "status"), state),
            name,
            kind_of(name),
            given,
            output or None,
            tuple(Location(path) for path in paths),
        )


def _state_of(step: Any) -> str:
    return "completed" if at(step, "completed") is True else "pending"


def _command(command: str) -> str:
    """What a shell was started for: the script of ``bash -lc SCRIPT``."""
    if len(command) > _SPLIT_CHARS:
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in ("-c", "-lc") else command
