"""Reads files whose lines are JSON objects: records come as soon as the line that completes them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
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
from port42_daemon.transfer.readers.files import CHUNK, json_values
from port42_protocol.messages.records import Record


class LineReader(Builder):
    """Reads one file. Subclasses say the format, the fields of a line that they use, and what those mean.

    The fields are of the type Any, so a line with a value of another type than usual is not lost.
    """

    state_type: ClassVar[type[State]] = State
    entry_type: ClassVar[type[msgspec.Struct]]

    def __init__(self, source_id: str, limits: SessionsConfig, saved: bytes | None = None) -> None:
        """`saved` is what `save` returned: reading goes on with the line after it."""
        super().__init__(limits)
        if saved is None:
            self.state = self.state_type({"": SessionInfo(source_id)})
        else:
            self.state = msgspec.json.decode(saved, type=self.state_type)
        self._decode = msgspec.json.Decoder(self.entry_type).decode
        self._added: list[Added] = []

    def take_path(self, path: Path) -> None:
        """Use what the file's folder and neighbours say, before the first line."""

    @abstractmethod
    def take(self, entry: Any, location: str) -> None:
        """Take in one line, of the type `entry_type`."""

    def feed(self, line: bytes | None) -> list[Added]:
        """The records that this line completes; None is a line that is too long.

        A bad line becomes a problem of the state. Raises `Skipped` where no more can be read.
        """
        self.state.line += 1
        location = f"line {self.state.line}"
        if line is None:
            self.problem(location, "it is longer than 16 MiB")
        # After a crash, blocks that were not written contain zero bytes.
        elif data := line.strip(b"\0 \r\n\t"):
            self._take_data(data, location)
        added, self._added = self._added, []
        return added

    def rest(self) -> list[Added]:
        """Records that the end of a file completes, if it does not grow any more."""
        return []

    def save(self) -> bytes:
        return msgspec.json.encode(self.state)

    def add(self, key: str, record: Record, mark: str = "") -> None:
        self._added.append(Added(key, record, mark))

    def _take_data(self, data: bytes, location: str) -> None:
        try:
            entries = [self._decode(data)] if len(data) <= CHUNK else []
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            entries = []
        # Otherwise it is long, damaged, joined with another, or no object.
        if not entries:
            entries = self._damaged(data, location)
        for entry in entries:
            self.take(entry, location)

    def _damaged(self, data: bytes, location: str) -> list[Any]:
        entries: list[Any] = []
        try:
            for value in json_values(data):
                if isinstance(value, dict):
                    entries.append(self._decode(msgspec.json.encode(value)))
                else:
                    self.problem(location, "it is not an object")
        except Skipped as reason:
            self.problem(location, str(reason))
        except msgspec.ValidationError:
            self.problem(location, "it is no entry of this format")
        return entries


def read_whole(reader: LineReader, lines: Iterable[bytes | None]) -> list[ParsedSession]:
    """All sessions of a file: its own, then its sub-agents'. Raises `Skipped`."""
    collection = Collection(reader.state)
    for line in lines:
        for key, record, mark in reader.feed(line):
            collection.append(key, record, mark)
    for key, record, mark in reader.rest():
        collection.append(key, record, mark)
    return collection.finished()
