"""Parsers of what programs print: plain text, and the JSON lines of Claude Code, Codex and Gemini CLI.

Parsing is lenient: lines that are not objects, unknown types and fields with other types are ignored.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import msgspec

from port42_daemon.backends.base import Done, Event, Notice, Started, Text, Thought, Tool, Usage
from port42_daemon.backends.decoding import ANY, decode
from port42_daemon.backends.errors import failure, one_line

# An id goes into an argv later: it must never look like an option, nor be a page long.
_NATIVE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
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
    tool's whole session's.
    """

    counts_whole_session: ClassVar[bool] = False

    def __init__(self) -> None:
        self.last_error: str | None = None
        self.stray = ""
        self.has_text = False
        self._gap = False
        self._titles: dict[str, str] = {}

    def feed(self, line: bytes) -> list[Event]:
        try:
            entry = decode(line, ANY)
        except msgspec.DecodeError:
            self.stray = one_line(line.decode(errors="replace"))
            return []
        handler = getattr(self, f"on_{text_at(entry, 'type').replace('.', '_')}", None)
        if handler is not None:
            return list(handler(entry))
        error = at(entry, "error") or (at(entry, "message") if text_at(entry, "type") == "error" else None)
        if words := error if isinstance(error, str) else text_at(error, "message"):
            self.last_error = words
        return []

    def _text(self, text: str) -> Iterable[Event]:
        if text:
            yield Text(f"\n\n{text}" if self._gap and self.has_text else text)
            self.has_text, self._gap = True, False

    def _tool_started(self, number: str, name: str, arguments: Any) -> Iterable[Event]:
        values = arguments.values() if isinstance(arguments, dict) else ()
        plain = next((value for value in values if isinstance(value, str)), "")
        self._titles[number] = " ".join(f"{name} {plain}".split())[:200]
        yield Tool(number, self._titles[number], "running")

    def _tool_done(self, number: str, *, failed: bool) -> Iterable[Event]:
        if number in self._titles:
            yield Tool(number, self._titles[number], "failed" if failed else "done")


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

    def on_system(self, entry: Any) -> Iterable[Event]:
        if text_at(entry, "subtype") == "init":
            yield started(text_at(entry, "session_id"), text_at(entry, "model"))

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
            yield from self._text(words_at(event, "delta", "text"))
        elif kind == "message_delta":
            yield from self._usage(at(event, "usage"))

    def on_assistant(self, entry: Any) -> Iterable[Event]:
        message = at(entry, "message")
        if at(entry, "parent_tool_use_id") is not None or text_at(message, "model") == "<synthetic>":
            return
        self._begin(text_at(message, "id"))
        if not self._partial:
            yield from self._text(text_at(message, "content"))
        for block in items_at(message, "content"):
            kind = text_at(block, "type")
            if kind == "tool_use":
                yield from self._tool_started(
                    text_at(block, "id"), text_at(block, "name"), at(block, "input")
                )
            elif not self._partial and kind == "thinking" and text_at(block, "thinking"):
                yield Thought(text_at(block, "thinking"))
            elif not self._partial and kind == "text":
                yield from self._text(words_at(block, "text"))

    def on_user(self, entry: Any) -> Iterable[Event]:
        for block in items_at(entry, "message", "content"):
            yield from self._tool_done(text_at(block, "tool_use_id"), failed=at(block, "is_error") is True)

    def on_result(self, entry: Any) -> Iterable[Event]:
        subtype, result = text_at(entry, "subtype"), text_at(entry, "result")
        self._before = Usage(0, 0)
        yield from self._usage(at(entry, "usage"))
        if at(entry, "is_error") is True or subtype not in ("success", ""):
            errors = [error for error in items_at(entry, "errors") if isinstance(error, str)]
            why = result or "; ".join(errors) or f"it stopped with {subtype}"
            yield Done(failure(why, count_at(entry, "api_error_status") or None))
            return
        if not self.has_text:
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


class CodexParser(StreamParser):
    """Codex's ``exec --json``: whole items, no deltas; every message is a paragraph of the reply.

    Recorded from 0.169. ``error`` is not the end (it says ``Reconnecting… 2/5`` and goes on), ``turn.failed``
    is; an item of type ``error`` is a warning; a resumed thread that is not known gives no line at all, only
    stderr; the usage is the whole thread's, resumed turns included.
    """

    counts_whole_session = True

    def on_thread_started(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "thread_id"), "")

    def on_item_started(self, entry: Any) -> Iterable[Event]:
        return self._tool(at(entry, "item"), "running")

    on_item_updated = on_item_started

    def on_item_completed(self, entry: Any) -> Iterable[Event]:
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
            yield from self._tool(item, "done")

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

    def _tool(self, item: Any, state: Literal["running", "done"]) -> Iterable[Event]:
        """The tool call that an item is, in `state` where it does not say; nothing for other items."""
        title = ""
        match text_at(item, "type"):
            case "command_execution":
                title = text_at(item, "command")
            case "file_change":
                title = "edit " + ", ".join(text_at(change, "path") for change in items_at(item, "changes"))
            case "mcp_tool_call":
                title = f"{text_at(item, 'server')}.{text_at(item, 'tool')}"
            case "web_search":
                title = f"search {text_at(item, 'query')}"
            case "collab_tool_call":
                title = text_at(item, "tool")
        number = text_at(item, "id")
        if number and title:
            stated = _CODEX_STATES.get(text_at(item, "status"), state)
            yield Tool(number, " ".join(title.split())[:200], stated)


class GeminiParser(StreamParser):
    """Gemini CLI's ``stream-json``: text deltas, no reasoning.

    Recorded from 0.61. It repeats the user's message; failures before the model is asked (login, an unknown
    session) give no line at all, only stderr and an exit status of 41 or 42.
    """

    def on_init(self, entry: Any) -> Iterable[Event]:
        yield started(text_at(entry, "session_id"), text_at(entry, "model"))

    def on_message(self, entry: Any) -> Iterable[Event]:
        if text_at(entry, "role") == "assistant":
            yield from self._text(words_at(entry, "content"))

    def on_tool_use(self, entry: Any) -> Iterable[Event]:
        self._gap = True
        return self._tool_started(
            text_at(entry, "tool_id"), text_at(entry, "tool_name"), at(entry, "parameters")
        )

    def on_tool_result(self, entry: Any) -> Iterable[Event]:
        return self._tool_done(text_at(entry, "tool_id"), failed=text_at(entry, "status") == "error")

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
    return value if isinstance(value, list) else []


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
