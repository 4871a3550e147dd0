"""Our own JSON, as `export_session` gives it and as a session's file is: nothing of it is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from port42_daemon.store.session_file.document import FORMAT, Header
from port42_daemon.transfer.readers import base as f
from port42_daemon.transfer.readers.base import MESSAGE_BYTES, Found, Skipped
from port42_daemon.transfer.readers.files import WHOLE_BYTES, json_value
from port42_protocol.messages.records import Message
from port42_protocol.messages.types import AgentName, ClientName, Folder, SessionId, Tags, Title

_METADATA_BYTES = 16 * 1024
_OPEN = b'"messages":['
_convert = msgspec.convert


class _Named(msgspec.Struct):
    """What of a header must fit: an id is a file's name, the rest is shown and asked for."""

    id: SessionId
    agent: AgentName
    client: ClientName
    title: Title | None = None
    cwd: Folder | None = None


class _Changed(msgspec.Struct):
    """What of an event must fit."""

    title: Title | None = None
    tags: Tags = ()


def recognised(first: bytes) -> bool:
    """Whether a file that begins with this line is one, in its own layout."""
    return first.startswith(b'{"format":') and first.rstrip().endswith(_OPEN)


def read(lines: Iterable[tuple[int, bytes | None]]) -> Found:
    """The session with every record it has, also where a tool laid the JSON out anew. Raises `Skipped`."""
    numbered = iter(lines)
    _, first = next(numbered, (0, b""))
    if first is not None and recognised(first):
        header = _header(json_value(first.rstrip() + b"]}"))
        found = _begin(header)
        for number, line in numbered:
            _take_line(found, number, line)
        return found
    value = json_value(_together(first, numbered))
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list) or "format" not in value:
        raise Skipped("it is not a session of Port42")
    found = _begin(_header(value))
    for number, one in enumerate(value["messages"], 1):
        _take(found, f"record {number}", one)
    return found


def _together(first: bytes | None, rest: Iterator[tuple[int, bytes | None]]) -> bytes:
    parts, size = [], 0
    for line in [first, *(line for _, line in rest)]:
        size += len(line or b"")
        if line is None or size > WHOLE_BYTES:
            raise Skipped("it is laid out in lines that are too long")
        parts.append(line)
    return b"".join(parts)


def _begin(header: Header) -> Found:
    return Found(
        header.id,
        title=header.title,
        cwd=header.cwd,
        agent=header.agent,
        created_at=header.created_at,
        whole=header,
    )


def _header(value: Mapping[str, Any]) -> Header:
    if value.get("format") != FORMAT:
        raise Skipped(f"its format is not {FORMAT}")
    try:
        _convert(value, _Named)
        header = _convert(value, Header)
    except msgspec.ValidationError as error:
        raise Skipped(f"its header is not one: {str(error)[:120]}") from None
    if header.id == "last":
        raise Skipped("its id is last, which means an agent's last session")
    if f.moment(header.created_at) != header.created_at:
        raise Skipped("its header is not one: created_at is no time in UTC with milliseconds")
    if len(msgspec.json.encode(header.metadata)) > _METADATA_BYTES:
        raise Skipped(f"its metadata has more than {_METADATA_BYTES:,} bytes")
    return header


def _take_line(found: Found, number: int, line: bytes | None) -> None:
    place = f"line {number}"
    if line is None:
        found.problem(place, "it is longer than 16 MiB")
    elif line.strip() and not line.startswith(b"]"):
        try:
            _take(found, place, json_value(line.rstrip().removesuffix(b",")))
        except Skipped as reason:
            found.problem(place, str(reason))


def _take(found: Found, place: str, value: Any) -> None:
    try:
        record = _convert(value, Message)
        if record.role == "event":
            _convert(value, _Changed)
    except msgspec.ValidationError as error:
        found.problem(place, f"it is not a record: {str(error)[:120]}")
        return
    if record.seq <= (found.records[-1].seq if found.records else 0):
        found.problem(place, "its seq is not above the one before it")
    elif f.moment(record.timestamp) != record.timestamp:
        found.problem(place, "its timestamp is no time in UTC with milliseconds")
    elif len((record.content or "").encode()) > MESSAGE_BYTES:
        found.problem(place, f"a message of more than {MESSAGE_BYTES:,} bytes")
    else:
        found.add(record)
