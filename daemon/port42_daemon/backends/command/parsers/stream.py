"""Plain text, and what the streams have in common: a line is a JSON object with a `type`, and tools change.

Parsing is lenient: lines that are not objects, unknown types and fields with other types are ignored.
"""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import msgspec

from port42_daemon.backends.base import Event, Started, Text
from port42_daemon.backends.decoding import ANY, decode
from port42_daemon.backends.errors import one_line

# An id goes into an argv later: it must never look like an option, nor be a page long.
_NATIVE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")

Handler = Callable[[Any], Iterable[Event]]


class StreamParser(ABC):
    """Lines in, events out; a `Done` among them is the end, whatever follows.

    `last_error` is what the tool complained of so far, `stray` its last line that is no JSON, both for the
    case that it ends without a result.
    `counts_whole_session` says that its `Usage` is not this turn's but the tool's whole session's.
    A kind of stream lists its types and what handles each in `handlers`.
    """

    counts_whole_session: ClassVar[bool] = False

    def __init__(self) -> None:
        self.last_error: str | None = None
        self.stray = ""
        self._has_text = False
        self._gap = False

    @abstractmethod
    def handlers(self) -> dict[str, Handler]:
        """The handler for each `type` of line."""

    def feed(self, line: bytes) -> list[Event]:
        """The events that `line` means. Raises nothing."""
        try:
            entry = decode(line, ANY)
        except msgspec.DecodeError:
            self.stray = one_line(line.decode(errors="replace"))
            return []
        handler = self.handlers().get(text_at(entry, "type"))
        if handler is not None:
            return list(handler(entry))
        error = at(entry, "error") or (at(entry, "message") if text_at(entry, "type") == "error" else None)
        if words := error if isinstance(error, str) else text_at(error, "message"):
            self.last_error = words
        return []

    @property
    def has_text(self) -> bool:
        return self._has_text

    def _text(self, text: str) -> Iterable[Event]:
        if text:
            yield Text(f"\n\n{text}" if self._gap and self._has_text else text)
            self._has_text, self._gap = True, False


class TextParser:
    """Chunks in, text out. A letter cut in two waits for its other half; bytes that are no UTF-8 show as �.

    Newlines at the end are not part of the reply; they are held back until more text follows.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, chunk: bytes, *, last: bool = False) -> list[Text]:
        """The new text of `chunk`, as an event or none."""
        text = self._held + self._decoder.decode(chunk, last)
        shown = text.rstrip("\r\n")
        self._held = text[len(shown) :]
        return [Text(shown)] if shown else []


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


def words_at(value: Any, *path: str) -> str:
    """The text at `path`: a string, or a list of parts that have a `text`."""
    value = at(value, *path)
    if isinstance(value, list):
        return "".join(text_at(part, "text") for part in value)
    return value if isinstance(value, str) else ""


def items_at(value: Any, *path: str) -> list[Any]:
    value = at(value, *path)
    return value if isinstance(value, list) else []


def started(native_id: str, model: str) -> Started:
    """A beginning, its id only if a later turn can name it."""
    return Started(native_id if _NATIVE_ID.fullmatch(native_id) else None, model or None)


def titled(name: str, arguments: Any) -> str:
    """A tool call on one line: its name and the first plain argument, which says what it is about."""
    plain = (
        [each for each in arguments.values() if isinstance(each, str)] if isinstance(arguments, dict) else []
    )
    return " ".join(f"{name} {plain[0] if plain else ''}".split())[:200]
