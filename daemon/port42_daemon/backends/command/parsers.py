"""Parsers of what programs print: plain text, and the JSON lines of Claude Code, Codex and Gemini CLI.

Parsing is lenient: lines that are not objects, unknown types and fields with other types are ignored.
"""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import structs

from port42_daemon.activity import kind_of, plan_entries, title_of, update_tasks
from port42_daemon.backends.base import (
    ACTIVITIES,
    Compacted,
    Done,
    Event,
    Notice,
    Plan,
    Started,
    Text,
    Thought,
    Tool,
    Usage,
)
from port42_daemon.backends.decoding import ANY, decode
from port42_daemon.backends.errors import failure, one_line
from port42_protocol.messages.records import Location, PlanEntry

# An id goes into an argv later: it must never look like an option, nor be a page long.
_NATIVE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_TOOLS_KEPT, _ID_CHARS, _ITEMS = 1000, 200, 1000
_SPLIT_CHARS = 64 * 1024
"""A longer command is not taken apart: that is done in Python, a character at a time."""
_TASK_TOOLS = frozenset(("TaskCreate", "TaskUpdate", "TaskList"))
_PRINTED = re.compile(r"\s*<local-command-stdout>(.*)</local-command-stdout>\s*", re.DOTALL)
_CODEX_STATES: dict[str, Literal["running", "done", "failed"]] = {
    "in_progress": "running",
    "completed": "done",
    "failed": "failed",
    "declined": "failed",
}


class TextParser:
    """Chunks in, text out. A letter cut in two waits for its other half; bytes that are no UTF-8 show as �.

    Newlines at the end are not part of the reply; they are held back until more text follows.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> list[Text]:
        text = self._held + self._decoder.decode(chunk, last)
        shown = text.rstrip("\r\n")
        self._held = text[len(shown) :]
        return [Text(shown)] if shown else []


class StreamParser:
    """Lines in, events out; a `Done` among them is the end, whatever follows.

    A line is a JSON object; the method ``on_TYPE`` of a subclass handles those of that `type`.
    `last_error` is what the tool complained of so far, `stray` its last line that is no JSON, both for the
    case that it ends without a result. With `counts_whole_session` its `Usage` is not this turn's but the
    tool's whole session's. With `ends_with_exit` the end is the program's, with status 0.
    """

    counts_whole_session: ClassVar[bool] = False

    def __init__(self) -> None:
        self.last_error: str | None = None
        self.stray = ""
        self.has_text = False
        self.ends_with_exit = False
        self._gap = self._in_piece = False
        self._tools: dict[str, Tool] = {}
        self._steps: tuple[PlanEntry, ...] = ()

    def feed(self, line: bytes) -> list[Event]:
        try:
            entry = decode(line, ANY)
        except msgspec.DecodeError:
            self.stray = one_line(line.decode(errors="replace"))
            return []
        handler = getattr(self, f"on_{self._type_of(entry).replace('.', '_')}", None)
        if handler is not None:
            return list(map(self._apart, handler(entry)))
        error = at(entry, "error") or (at(entry, "message") if text_at(entry, "type") == "error" else None)
        if words := error if isinstance(error, str) else text_at(error, "message"):
            self.last_error = words
        return []

    def _type_of(self, entry: Any) -> str:
        return text_at(entry, "type")

    def _apart(self, event: Event) -> Event:
        """Puts an empty line between two messages that nothing else is between."""
        if isinstance(event, Text):
            if self._gap and self._in_piece:
                event = Text(f"\n\n{event.text}")
            self.has_text = self._in_piece = True
            self._gap = False
        elif isinstance(event, ACTIVITIES):
            self._in_piece = False
        return event

    def _tool_started(self, number: str, name: str, arguments: Any) -> Iterable[Event]:
        name = name[:_ID_CHARS]
        if len(number) > _ID_CHARS:
            return
        title = title_of(arguments) or name or "tool call"
        self._tools[number] = Tool(number, title, "running", name or None, kind_of(name))
        if len(self._tools) > _TOOLS_KEPT:
            del self._tools[next(iter(self._tools))]
        yield structs.replace(self._tools[number], input=arguments)

    def _tool_ended(self, number: str, output: Any, *, failed: bool) -> Iterable[Event]:
        tool = self._tools.pop(number, None)
        if tool is not None:
            yield structs.replace(tool, state="failed" if failed else "done", output=output)

    def _plan(self, steps: Any) -> Iterable[Event]:
        entries = plan_entries(steps)
        if entries and entries != self._steps:
            self._steps = entries
            yield Plan(entries)


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
            yield from _text(words_at(event, "delta", "text"))
        elif kind == "message_delta":
            yield from self._usage(at(event, "usage"))

    def on_assistant(self, entry: Any) -> Iterable[Event]:
        message = at(entry, "message")
        if at(entry, "parent_tool_use_id") is not None or text_at(message, "model") == "<synthetic>":
            return
        self._begin(text_at(message, "id"))
        if not self._partial:
            yield from _text(text_at(message, "content"))
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
                yield from _text(words_at(block, "text"))

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
            yield from _text(result or self._printed)
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
        return _text(text_at(entry, "msg", "message"))

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
            yield from _text(words_at(item, "text") or words_at(item, "content"))
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
        if not name or not 0 < len(number) <= _ID_CHARS:
            return
        state: Literal["running", "done", "failed"] = "done" if ended else "running"
        yield Tool(
            number,
            ", ".join(paths[:4]) or title_of(given) or name,
            _CODEX_STATES.get(text_at(item, "status"), state),
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


class GeminiParser(StreamParser):
    """Gemini CLI's ``stream-json``: text deltas, no reasoning.

    Recorded from 0.61. It repeats the user's message; failures before the model is asked (login, an unknown
    session) give no line at all, only stderr and an exit status of 41 or 42.
    """

    def on_init(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "session_id"), text_at(entry, "model"))

    def on_message(self, entry: Any) -> Iterable[Event]:
        if text_at(entry, "role") == "assistant":
            yield from _text(words_at(entry, "content"))

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


def _text(text: str) -> Iterable[Event]:
    if text:
        yield Text(text)


def at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *path: str) -> str:
    value = at(value, *path)
    return value if isinstance(value, str) else ""


def count_at(value: Any, *path: str) -> int:
    value = at(value, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def items_at(value: Any, *path: str) -> list[Any]:
    value = at(value, *path)
    return value[:_ITEMS] if isinstance(value, list) else []


def words_at(value: Any, *path: str) -> str:
    """The text at `path`: a string, or a list of parts that have a `text`."""
    return text_at(value, *path) or "".join(text_at(part, "text") for part in items_at(value, *path))


def started(native_id: str, model: str) -> Started:
    """A beginning, its id only if a later turn can name it."""
    return Started(native_id if _NATIVE_ID.fullmatch(native_id) else None, model or None)


STREAMS: dict[str, type[StreamParser]] = {
    "claude": ClaudeParser,
    "codex": CodexParser,
    "gemini": GeminiParser,
}
