"""Converts the conversation for model servers, and parses their replies: mostly server-sent events."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import msgspec

from port42_daemon.activity import kind_of, title_of
from port42_daemon.backends.base import Done, Event, Failure, Notice, Text, Tool, Turn
from port42_daemon.backends.errors import kind_of_words, one_line, words_of
from port42_daemon.backends.http.api_key import Key
from port42_daemon.backends.http.errors import Failed, kind_of_error, words_of_page

EVENT_BYTES = 16 * 1024 * 1024
_ARGUMENT_CHARS = 1024 * 1024
_PIECES = 32
"""Events of one read that are passed on one by one: of the text behind them, all is one piece."""
_BEGINNING = "(The beginning of this conversation was left out.)"
_AFTER_FINISH, _AFTER_END = 5.0, 0.25
"""Seconds that a stream may go on: after the reason of its end, which some give before the last of the text
and of the usage; and after its last event, for the end of the response."""

_CUT = {
    "max_tokens": "the reply ends where the limit of tokens was reached (max_tokens)",
    "model_context_window_exceeded": "the reply ends where the model's context is full",
    "pause_turn": "the server paused the reply before its end (pause_turn)",
}


def system_of(turn: Turn) -> str | None:
    """The persona, then what else came as system: many servers take it at the beginning only."""
    texts = [turn.system, *(text for role, text in _history(turn) if role == "system")]
    return "\n\n".join(text for text in texts if text) or None


def dialogue(turn: Turn) -> list[dict[str, str]]:
    """The messages, ``{"role", "content"}`` each: the first and the last are the user's.

    Anthropic, and the chat templates of many local models, demand that the roles alternate: what one
    side said in a row becomes one message, and a reply whose question was left out gets a stand-in.
    """
    messages = [(role, text) for role, text in _history(turn) if role != "system"]
    if messages and messages[0][0] == "assistant":
        messages.insert(0, ("user", _BEGINNING))
    messages.append(("user", turn.message))
    return [
        {"role": role, "content": "\n\n".join(text for _, text in row)}
        for role, row in groupby(messages, key=itemgetter(0))
    ]


def _history(turn: Turn) -> Iterator[tuple[str, str]]:
    """Role and text; without the messages that have none, which the servers refuse."""
    for message in turn.history:
        if message.role in ("user", "assistant", "system"):
            text = message.content
            if isinstance(text, str) and text.strip():
                yield message.role, text


class EventDecoder:
    """Bytes in, server-sent events out, each as its name and its data.

    Lenient: llama.cpp sends ``error: {…}`` as a field of its own, others a line of bare JSON, or one JSON
    document instead of a stream. `feed` raises `ValueError` for an event that is too long.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._name = b""
        self._data: list[bytes] = []
        self._stray: list[bytes] = []
        self._size = 0
        self.any = False
        """Whether there was an event."""

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        self._buffer += chunk
        if b"\n" not in chunk and b"\r" not in chunk:
            _check_size(len(self._buffer))
            return []
        held = b"\r" if self._buffer.endswith(b"\r") else b""  # half of a CRLF, maybe
        text = bytes(self._buffer).removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._buffer = bytearray(rest + held)
        return self._events(lines)

    def end(self) -> list[tuple[bytes, bytes]]:
        """The last ones, at the end of the stream: also one that lacks its blank line."""
        events = self._events([*bytes(self._buffer).rstrip(b"\r").split(b"\r"), b""])
        if not self.any and self._stray:
            document = b"\n".join(self._stray).strip()
            # Gemini's way of an error: an array with one object.
            document = document[1:-1].strip() if document.startswith(b"[") else document
            if _is_object(document):
                self.any = True
                events.append((b"", document))
        return events

    @property
    def words(self) -> str:
        return b" ".join(self._stray)[:2000].decode(errors="replace").strip()

    def _events(self, lines: list[bytes]) -> list[tuple[bytes, bytes]]:
        events: list[tuple[bytes, bytes]] = []
        for raw in lines:
            line = raw.removeprefix(b"\xef\xbb\xbf")
            field, _, value = line.partition(b":")
            match field:
                case b"data":
                    self._keep(self._data, value.removeprefix(b" "))
                case b"event":
                    self._name = value.strip()
                case b"error":
                    events.append((b"error", value.strip()))
                case b"" if not raw:
                    if self._data:
                        events.append((self._name, b"\n".join(self._data)))
                        self._data, self._size = [], 0
                    self._name = b""
                case b"" | b"id" | b"retry":
                    pass
                case _ if _is_object(line):
                    events.append((b"", line))
                case _:
                    self._keep(self._stray, line)
        self.any = self.any or bool(events)
        return events

    def _keep(self, lines: list[bytes], line: bytes) -> None:
        self._size += len(line)
        _check_size(self._size)
        lines.append(line)


def _check_size(size: int) -> None:
    if size > EVENT_BYTES:
        raise ValueError("an event is too long")


def _is_object(text: bytes) -> bool:
    if not text.startswith(b"{"):
        return False
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


class Reply(ABC):
    """Parses the bytes of one response as they come.

    `server` is what the server is called in messages. `stop_reason` is in the words of the Agent Client
    Protocol and of Anthropic; others stay what they are. `over` is set at the protocol's own end, `failure`
    once nothing more can be understood. `deadline` (by `time.monotonic`) is set once the reply is whole: what
    comes until then is still read, so that the connection can be used again, and errors are ignored.
    """

    def __init__(self, server: str, key: Key) -> None:
        self.server = server
        self.stop_reason: str | None = None
        self.over = False
        self.failure: Failed | None = None
        self.deadline: float | None = None
        self.decoder = EventDecoder()
        self._key = key
        self._has_text = False
        self._calls: dict[str, Tool] = {}
        self._arguments: dict[str, str] = {}
        self._has_calls = False

    @abstractmethod
    def take(self, data: bytes) -> list[Event]:
        """The events in the data of one server-sent event. Raises `Failed`, `msgspec.DecodeError`."""

    def feed(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        patience = self._patience()
        try:
            for name, data in self.decoder.feed(chunk) if chunk else self.decoder.end():
                hidden = self._key.without_key_in_reply(data)
                if name == b"error":
                    raise self.broken_off(_error_in(hidden))
                for event in self.take(hidden):
                    before = events[-1] if events else None
                    if len(events) > _PIECES and isinstance(event, Text) and isinstance(before, Text):
                        events[-1] = Text(before.text + event.text)
                    else:
                        events.append(event)
        except Failed as failed:
            self.failure = failed
        except msgspec.DecodeError:
            words = one_line(self._key.without_key(hidden.decode(errors="replace")))
            message = f"{self.server} sent something that is not its protocol: {words}"
            self.failure = Failed(kind_of_words(words), message)
        except ValueError:
            size = f"{EVENT_BYTES // 2**20} MiB"
            self.failure = Failed("crashed", f"{self.server} sent an event of over {size}")
        if (now_patient := self._patience()) is None:
            self.deadline = None
        elif events or now_patient != patience:
            self.deadline = time.monotonic() + now_patient
        return events

    def _patience(self) -> float | None:
        """Seconds that the stream may still be silent: None until the reply is whole."""
        if self.over:
            return _AFTER_END
        # Where nothing came yet, the text may come after the reason of its end.
        empty = self.stop_reason != "refusal" and not (self._has_text or self._has_calls)
        return None if self.stop_reason is None or empty else _AFTER_FINISH

    def end(self) -> list[Event]:
        """The last events at the end of the stream, `Done` last. Raises `Failed` if it was cut."""
        if not self.over and self.stop_reason is None:
            raise Failed("network", f"{self.server} was lost in the middle of its reply")
        waiting = self.stop_reason == "tool_use"
        state: Literal["failed", "done"] = "failed" if waiting else "done"
        events: list[Event] = [self._ended(tool, state) for tool in self._calls.values()]
        if waiting:
            events.append(Notice("the model waits for a tool, and this back end has none to give it"))
        if self.stop_reason in _CUT:
            events.append(Notice(_CUT[self.stop_reason]))
        refused = self.stop_reason == "refusal"
        failure = Failure("refused", "the model declined to answer") if refused else None
        events.append(Done(failure, self.stop_reason))
        return events

    def not_a_stream(self) -> Failed:
        message, words = f"{self.server} answers no stream of events: is base_url right?", self.decoder.words
        words = one_line(self._key.without_key(words_of_page(words) if words.startswith("<") else words))
        return Failed(kind_of_words(words), f"{message} It says: {words}" if words else message)

    def broken_off(self, error: Any) -> Failed:
        words = one_line(self._key.without_key(words_of(error)))
        return Failed(kind_of_error(error), f"{self.server} broke off" + (f": {words}" if words else ""))

    def _tool_started(self, call: str, name: str) -> Tool:
        self._has_calls = True
        self._calls[call] = Tool(call, name, "running", name, kind_of(name))
        return self._calls[call]

    def _add_arguments(self, call: str, piece: str) -> None:
        """The arguments of a call come in pieces of JSON after its name."""
        known = self._arguments.get(call, "")
        if call in self._calls and len(known) < _ARGUMENT_CHARS:
            self._arguments[call] = known + piece

    def _tool_done(self, call: str, output: Any) -> list[Event]:
        tool = self._calls.pop(call, None)
        return [] if tool is None else [self._ended(tool, "done", output)]

    def _ended(self, tool: Tool, state: Literal["done", "failed"], output: Any = None) -> Tool:
        given: Any = self._arguments.pop(tool.id, None)
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            given = msgspec.json.decode(given or "")
        title = title_of(given) or tool.title
        return msgspec.structs.replace(tool, title=title, state=state, input=given, output=output)


def _error_in(data: bytes) -> Any:
    try:
        error = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return data.decode(errors="replace")
    return error.get("error", error) if isinstance(error, dict) else error
