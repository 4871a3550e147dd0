"""Recovers damaged session files: keeps every complete record, and the original beside the new file.

JSON that another tool formatted, or put a byte order mark before, is read as it is. In all else records are
looked for one by one, so that a byte between two of them costs none.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from port42_daemon import durable
from port42_daemon.store.interface import FORMAT, Header
from port42_daemon.store.session_file.document import (
    UNDECODABLE,
    Damaged,
    Read,
    compose,
    lines,
    load,
    load_header,
    parse_record,
)
from port42_protocol.messages.records import Record, decode_record
from port42_protocol.messages.types import AgentName

_MAX_BYTES = 512 * 1024 * 1024
"""Of data in a file, without holes. A larger one is no session of port42's, and is left."""
_HEAD_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\0"
_FORMAT = re.compile(rb'"format"\s*:\s*(\d{1,9})')
_USED = re.compile(rb'"used"\s*:\s*(\d{1,16})')
_FIELD = rb'"%s"\s*:\s*("(?:[^"\\]|\\.)*"|null)'
_TEXT_FIELDS = ("id", "agent", "created_at", "client", "title", "cwd", "hub_owner")
_START = re.compile(rb'\{\s*"seq"\s*:')
# A string as JSON has it, a quote that begins none, a brace, or the start of the next record.
_TOKEN = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*+"|"|\{\s*"seq"\s*:|[{}]')
_SCANS = 16
"""Times that damaged bytes are read at most."""


class Salvaged(NamedTuple):
    """The contents of a damaged file: `lost` counts lines, or records of a document reformatted by a tool."""

    header: Header
    records: list[Record]
    lost: int


def set_aside(path: Path) -> Path:
    """Give `path` a second name, ``….damaged-<time>``, before it is replaced; a folder is renamed."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    beside = path.with_name(f"{path.name}.damaged-{stamp}")
    if stat.S_ISREG(path.lstat().st_mode):
        os.link(path, beside)  # also on a full disk
    else:
        path.rename(beside)
    durable.sync_folder(path.parent)
    return beside


def recover(path: Path, session_id: str, keep: Callable[[Path], Path] = set_aside) -> tuple[int, int, Path]:
    """Rewrite the session at `path` from what is whole in it; returns messages kept, lost, the original.

    `keep` gives the original another name. Raises OSError, and `Damaged` where no session of that id can be
    made of it; then nothing is changed.
    """
    damaged = read_data(path)
    header, records, lost = salvage(damaged, session_id)
    if header.id != session_id:
        raise Damaged(f"it says that it is {header.id[:64]}")
    used = _USED.findall(damaged[-_HEAD_BYTES:])
    data, document = compose(header, records, int(used[-1]) if used else None)  # records do not have it
    read = _reader(data)
    for _ in lines(read, load(read, len(data)), 0):
        pass  # a header or a line that is too long would be damage again
    original = keep(path)
    durable.replace(path, data)
    return document.footer.message_count, lost, original


def header_of(path: Path, session_id: str) -> Header:
    """The header of a session, damaged or not. Raises `Damaged`, OSError."""
    return salvage(read_data(path), session_id).header


def read_data(path: Path) -> bytes:
    """All data of the file, holes as single zeros. Raises `Damaged`, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Damaged("it is not a file")
        _check_beginning(os.pread(descriptor, _HEAD_BYTES, 0))  # a file of any size may have come here
        parts, total = [], 0
        for offset, length in _extents(descriptor, status.st_size):
            total += length
            if total > _MAX_BYTES:
                raise Damaged(f"it has more than {_MAX_BYTES >> 20} MiB and cannot be read to its end")
            parts.append(os.pread(descriptor, length, offset))
        return b"\0".join(parts)
    finally:
        os.close(descriptor)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each part of the file that is no hole."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # no data behind `end`
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end - start


def _check_beginning(head: bytes) -> None:
    """Raises `Damaged` for what does not begin as a session, or is of a newer format."""
    text = head.removeprefix(_BOM).lstrip(_BLANK)
    if not re.match(rb'\{\s*"', text):
        raise Damaged("it does not begin as a session does")
    if (match := _FORMAT.search(text)) and int(match[1]) != FORMAT:
        raise Damaged(f"it has format {int(match[1])}, this port42d reads {FORMAT}; a newer one wrote it")


def salvage(data: bytes, session_id: str = "") -> Salvaged:
    """Every complete record of a damaged file, whose id is `session_id` where its header has none.

    Raises `Damaged` where the session cannot be told.
    """
    _check_beginning(data[:_HEAD_BYTES])
    data = data.removeprefix(_BOM)
    try:
        header, begin = load_header(_reader(data))
    except Damaged as damage:
        try:
            whole = msgspec.json.decode(data.strip(_BLANK), type=dict[str, msgspec.Raw])
            lines = msgspec.json.decode(whole["messages"], type=list[msgspec.Raw])
            header = msgspec.json.decode(data.strip(_BLANK), type=Header)
        except (*UNDECODABLE, KeyError):
            header, begin = _rebuilt_header(data, session_id, damage)
        else:
            return Salvaged(header, *_in_order(_decoded(bytes(line)) for line in lines))
    return Salvaged(header, *_in_order(_records(data[begin:])))


def _reader(data: bytes) -> Read:
    return lambda offset, length: data[offset : offset + length]


def _rebuilt_header(data: bytes, session_id: str, damage: Damaged) -> tuple[Header, int]:
    """A header of the fields that are whole, and the offset of the records. Raises `damage`."""
    first = _START.search(data)
    if first is None:
        raise damage
    fields: dict[str, Any] = {"id": session_id, "created_at": "", "client": "unknown"}
    for name in _TEXT_FIELDS:
        if match := re.search(_FIELD % name.encode(), data[: first.start()]):
            try:
                fields[name] = msgspec.json.decode(match[1])
            except UNDECODABLE:
                continue
    try:
        msgspec.convert(fields.get("agent"), AgentName)
        return msgspec.convert(fields, Header), first.start()
    except msgspec.ValidationError:
        raise damage from None


def _decoded(line: bytes) -> Record | None:
    try:
        return decode_record(line)
    except UNDECODABLE:
        return None


def _records(body: bytes) -> Iterator[Record | None]:
    """Records in their order, and None for each that is lost."""
    damaged: list[bytes] = []
    for line in body.split(b"\n"):
        stripped = line.strip(_BLANK)
        if not stripped or stripped.startswith(b"]"):
            continue
        try:
            record = parse_record(stripped)
        except Damaged:
            damaged.append(line)
            continue
        yield from _scanned(damaged)
        damaged = []
        yield record
    yield from _scanned(damaged)


def _scanned(lines: list[bytes]) -> Iterator[Record | None]:
    """The whole records in damaged lines, and None for each line that has none."""
    text = b"\n".join(lines)
    count = 0
    position, budget = 0, _SCANS * len(text)
    while budget > 0 and (start := _START.search(text, position)):
        end = position = _object_end(text, start)
        budget -= end - start.start()
        if (record := _decoded(text[start.start() : end])) is not None:
            count += 1
            yield record
        else:
            position = start.end()
    for _ in range(len(lines) - count):
        yield None


def _object_end(text: bytes, start: re.Match[bytes]) -> int:
    """The end of the object at `start`, or the offset from which on it is invalid."""
    depth = 1
    for token in _TOKEN.finditer(text, start.end()):
        if token[0] == b"{":
            depth += 1
        elif token[0] == b"}":
            depth -= 1
        elif token[0][:1] == b"{" or token[0] == b'"':
            return token.start()
        if depth == 0:
            return token.end()
    return len(text)


def _in_order(records: Iterator[Record | None]) -> tuple[list[Record], int]:
    """The records whose seqs rise, and the number of those lost."""
    kept: list[Record] = []
    lost = 0
    for record in records:
        if record is None:
            lost += 1
            continue
        if len(kept) > 0 and (kept[-2].seq if len(kept) > 1 else 0) < record.seq < kept[-1].seq:
            kept.pop()  # the record before has the wrong seq, and not this one
            lost += 1
        if record.seq > (kept[-1].seq if kept else 0):
            kept.append(record)
        else:
            lost += 1
    return kept, lost
