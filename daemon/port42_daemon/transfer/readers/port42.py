"""Port42's own JSON, from `export_session` or a session file; every field is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from port42_daemon.config import SessionsConfig
from port42_daemon.store.interface import FORMAT, Header
from port42_daemon.transfer.readers.base import Builder, ParsedSession, SessionInfo, Skipped, State
from port42_daemon.transfer.readers.files import LINE_BYTES, json_value
from port42_daemon.transfer.readers.json_document import JsonDocument
from port42_daemon.transfer.readers.values import MESSAGE_BYTES, timestamp_of
from port42_protocol.encoding import encode
from port42_protocol.messages.records import EventRecord, Message, convert_record
from port42_protocol.messages.types import AgentName, ClientName, SessionId, Tags, Title, prepared

_METADATA_BYTES = 16 * 1024


class _CheckedHeader(msgspec.Struct):
    """Constraints of a header's fields: the id becomes a file name, the others are displayed and searched."""

    id: SessionId
    agent: AgentName
    client: ClientName
    title: Title | None = None
    cwd: Annotated[str, Meta(max_length=4096)] | None = None  # of Windows, too


class _CheckedEvent(msgspec.Struct):
    """Limits of an event's fields."""

    title: Title | None = None
    tags: Tags = ()


def recognised(first: bytes) -> bool:
    """Whether a file that begins with this line is a session file in the original layout."""
    return first.startswith(b'{"format":') and first.rstrip().endswith(b'"messages":[')


def read(lines: Iterable[bytes | None]) -> list[ParsedSession]:
    """The session, even if a tool reformatted the JSON. Raises `Skipped`."""
    reader = _Reader()
    lines = iter(lines)
    first = next(lines, b"")
    if first is not None and recognised(first):
        reader.take_header(json_value(first.rstrip() + b"]}"))
        for number, line in enumerate(lines, 2):
            if line is None or (line.strip() and not line.startswith(b"]")):
                reader.take(f"line {number}", line)
    else:
        document = JsonDocument(_chunks(first, lines), LINE_BYTES)
        for number, item in enumerate(document.items(), 1):
            reader.take(f"record {number}", item)
        header = json_value(document.rest)
        if not isinstance(header, dict) or "messages" not in header or "format" not in header:
            raise Skipped("it is not a session of Port42")
        reader.take_header(header)
    return [reader.session]


def _chunks(first: bytes | None, rest: Iterator[bytes | None]) -> Iterator[bytes]:
    for line in chain([first], rest):
        if line is None:
            raise Skipped("it is laid out in lines that are too long")
        yield line


class _Reader(Builder):
    """Keeps records as they are."""

    def __init__(self) -> None:
        super().__init__(SessionsConfig())
        self.session = ParsedSession(SessionInfo(""))
        self.state = State({"": self.session.info}, problems=self.session.problems)
        self._last_seq = 0
        self.add = self.session.append

    def take_header(self, value: Mapping[str, Any]) -> None:
        if value.get("format") != FORMAT:
            raise Skipped(f"its format is not {FORMAT}")
        try:
            msgspec.convert(value, prepared(_CheckedHeader))
            header = msgspec.convert(value, Header)
        except msgspec.ValidationError as error:
            raise Skipped(f"its header is invalid: {str(error)[:120]}") from None
        if header.id == "last":
            raise Skipped("its id is last, which means an agent's last session")
        if timestamp_of(header.created_at) != header.created_at:
            raise Skipped("its header is invalid: created_at is no time in UTC with milliseconds")
        if len(encode(header.metadata)) > _METADATA_BYTES:
            raise Skipped(f"its metadata has more than {_METADATA_BYTES:,} bytes")
        info = self.session.info
        info.source_id, info.title, info.cwd = header.id, header.title, header.cwd
        info.agent, info.created_at = header.agent, header.created_at
        # Whoever imports a session has one of their own.
        self.session.header = msgspec.structs.replace(header, hub_owner=msgspec.UNSET)

    def take(self, location: str, data: bytes | None) -> None:
        try:
            if data is None:
                raise Skipped("it is longer than 16 MiB")
            value = json_value(data.rstrip().removesuffix(b","))
            record = convert_record(value)
            if isinstance(record, EventRecord):
                msgspec.convert(value, prepared(_CheckedEvent))
            if record.seq <= self._last_seq:
                raise Skipped("its seq is not above the one before it")
            if timestamp_of(record.timestamp) != record.timestamp:
                raise Skipped("its timestamp is no time in UTC with milliseconds")
            if isinstance(record, Message) and len(record.content.encode()) > MESSAGE_BYTES:
                raise Skipped(f"a message of more than {MESSAGE_BYTES:,} bytes")
        except Skipped as reason:
            self.problem(location, str(reason))
        except msgspec.ValidationError as error:
            self.problem(location, f"it is not a record: {str(error)[:120]}")
        else:
            self._last_seq = record.seq
            self._add("", record)
