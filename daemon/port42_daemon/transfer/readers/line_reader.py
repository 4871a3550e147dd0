"""Reads files whose lines are JSON objects: records come as soon as the line that completes them."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.readers.base import (
    Added,
    Builder,
    Collection,
    ParsedSession,
    SessionInfo,
    Skipped,
    State,
)
from port42_daemon.transfer.readers.files import CHUNK, json_values, without_padding
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Record
from port42_protocol.messages.types import prepared

ENDED_SECONDS = 30 * 60
"""Without a change to a file, after which its program has ended: what it runs, and what it asks a person, may
take long."""


class _Added:
    """The records that were not taken yet. A method of the reader in its place would make the reader garbage
    that only a collection frees."""

    def __init__(self) -> None:
        self.records: list[Added] = []

    def append(self, key: str, record: Record, mark: str) -> None:
        self.records.append((key, record, mark))


class LineReader(Builder):
    """Reads one file. Subclasses say the format, the fields of a line that they use, and what those mean.

    A line with a value of another type than usual is not lost: most fields are of the type Any, and `usual`
    leaves out what is not of their type.
    """

    state_type: ClassVar[type[State]] = State
    entry_type: ClassVar[type[msgspec.Struct]]

    def __init__(self, source_id: str, limits: SessionsConfig, saved: bytes | None = None) -> None:
        """`saved` is what `save` returned: reading goes on with the line after it."""
        super().__init__(limits)
        if saved is None:
            self.state = self.state_type({"": SessionInfo(source_id)})
        else:
            self.state = msgspec.json.decode(saved, type=prepared(self.state_type))
        self._decode = msgspec.json.Decoder(prepared(self.entry_type)).decode
        self._added = _Added()
        self.add = self._added.append

    def take_path(self, path: Path) -> None:
        """Use what the file's folder and neighbours say, before the first line."""

    @abstractmethod
    def take(self, entry: Any, location: str) -> None:
        """Take in one line, of the type `entry_type`."""

    def feed(self, line: bytes | None) -> None:
        """Read a line; None is one that is too long.

        A bad line becomes a problem of the state. Raises `Skipped` where no more can be read.
        """
        self.state.line += 1
        location = f"line {self.state.line}"
        if line is None:
            self.problem(location, "it is longer than 16 MiB")
            return
        try:
            entry = self._decode(line) if len(line) <= CHUNK else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            entry = None
        if entry is not None:
            self.take(entry, location)
        # Otherwise it is long, empty, damaged, joined with another, no object, or has values of other types.
        elif whole := without_padding(line):
            for each in self._unusual(whole, location):
                self.take(each, location)

    def taken(self) -> list[Added]:
        """Hand over what was added since the last call."""
        added, self._added.records = self._added.records, []
        return added

    @property
    def waiting(self) -> int:
        """Records that `taken` would give."""
        return len(self._added.records)

    def take_rest(self, *, ended: bool = True) -> None:
        """Take what is complete if the file does not grow any more.

        `ended`: the program has ended, so that tool calls get no result any more, and no message follows
        that the latest tokens were needed for.
        """
        self.take_held()
        if ended:
            for key in self.state.sessions:
                self.give_up(key)
                self.usage(key, None)

    def take_open_tokens(self) -> None:
        """Add the tokens for which a message may still come: those of a whole file are all there are."""
        for key, info in self.state.sessions.items():
            if info.input_tokens or info.output_tokens:
                self.usage(key, None)
                info.has_open_tokens = True

    def take_held(self) -> None:
        """Take in what is held back because of lines that may follow."""

    def has_held(self) -> bool:
        """Whether something is held back."""
        return False

    def is_underway(self) -> bool:
        """Whether a tool call runs, or tokens wait for the message that they were needed for."""
        return any(
            len(info.calls) > len(info.given_up) or info.input_tokens or info.output_tokens
            for info in self.state.sessions.values()
        )

    def save(self) -> bytes:
        return encode(self.state)

    @staticmethod
    def usual(entry: dict[str, Any]) -> dict[str, Any]:
        """A line without values that are of other types than the fields of `entry_type`."""
        return entry

    def _unusual(self, data: bytes, location: str) -> list[Any]:
        entries: list[Any] = []
        try:
            for value in json_values(data):
                if isinstance(value, dict):
                    entries.append(self._decode(encode(self.usual(value))))
                else:
                    self.problem(location, "it is not an object")
        except Skipped as reason:
            self.problem(location, str(reason))
        except msgspec.ValidationError:
            self.problem(location, "it is no entry of this format")
        return entries


def read_whole(
    reader: LineReader, lines: Iterable[bytes | None], *, ended: bool = True
) -> list[ParsedSession]:
    """All sessions of a file: its own, then its sub-agents'. `ended` as in `take_rest`. Raises `Skipped`."""
    collection = Collection(reader.state)
    reader.add = collection.append
    for line in lines:
        reader.feed(line)
    reader.take_rest(ended=ended)
    reader.take_open_tokens()
    return collection.finished()


def fitting(value: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of an object that have a value of their type in `kind`."""
    fits: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        if each.encode_name in value:
            with contextlib.suppress(msgspec.ValidationError):
                data = encode(value[each.encode_name])
                msgspec.json.decode(data, type=each.type)
                fits[each.encode_name] = value[each.encode_name]
    return fits
