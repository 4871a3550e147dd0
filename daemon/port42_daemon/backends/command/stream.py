"""Parsers of what programs print: plain text, and what those of JSON lines have in common.

Parsing is lenient: lines that are not objects, unknown types and fields with other types are ignored.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
from msgspec import structs

from port42_daemon.activity import kind_of, plan_entries, title_of
from port42_daemon.backends.base import ACTIVITIES, Event, Plan, Started, Text, Tool
from port42_daemon.backends.decoding import ANY, decode
from port42_daemon.backends.errors import one_line
from port42_protocol.messages.records import PlanEntry

ID_CHARS = 200
# An id goes into an argv later: it must never look like an option, nor be a page long.
_NATIVE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_TOOLS_KEPT, _ITEMS = 1000, 1000


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
        name = name[:ID_CHARS]
        if len(number) > ID_CHARS:
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


def text_of(text: str) -> Iterable[Event]:
    """A `Text`, unless there is none."""
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
