"""One session as one JSON document that grows at its end: bytes and offsets, no I/O.

    {"format":1,"id":"cli-1",…,"messages":[        the header: what never changes
    {"seq":1,"role":"user",…},                      one record a line
    {"seq":2,"role":"assistant",…}
    ],"title":"…","state":"active",…,"last_seq":2}  the footer: a cache of the fold over the records

An append is one write from the end of the last record: a comma, the new lines, the new footer. Header and
footer give the summary. `Damaged` is the only exception that leaves the reading functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from port42_daemon.store.interface import (
    ENDED,
    FORKED,
    FORMAT,
    PINNED,
    RENAMED,
    RESUMED,
    TAGGED,
    Footer,
    Header,
    title_from,
)
from port42_protocol.counting import count
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    EventRecord,
    Record,
    Summary,
    UserMessage,
    decode_record,
    encode_stored,
)
from port42_protocol.times import milliseconds, valid_time

_CHUNK = 64 * 1024
_FIRST_CHUNK = 16 * 1024
_HEADER_LIMIT = 1024 * 1024
_LINE_LIMIT = 64 * 1024 * 1024
"""More than any record has, so that a hole of terabytes is not read."""
_SEQ = re.compile(rb'\{"seq":(\d{1,16}),')
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Read = Callable[[int, int], bytes]
"""``read(offset, length)`` gives the file's bytes there, fewer at its end."""


class Damaged(Exception):
    """The bytes are not a whole session; the text says why."""


class _Format(msgspec.Struct, frozen=True, gc=False):
    """All of a header that every format has."""

    format: int


class Document(msgspec.Struct, frozen=True, gc=False):
    """A session's two ends, and where the records between them lie (byte offsets)."""

    header: Header
    footer: Footer
    records_at: int
    footer_at: int
    tail: bytes
    """The footer's line as it is in the file."""
    summary: Summary

    @property
    def size(self) -> int:
        return self.footer_at + len(self.tail)


class Growth(msgspec.Struct, frozen=True, gc=False):
    """One append: `data` to write at `offset`, where `undo` is; the `records` with their seqs; the result."""

    offset: int
    data: bytes
    undo: bytes
    records: tuple[Record, ...]
    document: Document


_format_decoder = msgspec.json.Decoder(_Format)
_header_decoder = msgspec.json.Decoder(Header)
_footer_decoder = msgspec.json.Decoder(Footer)


# --- writing --------------------------------------------------------------------------------------


def compose(header: Header, records: Sequence[Record], use: int | None = None) -> tuple[bytes, Document]:
    """A whole document; the rest as `grow`."""
    growth = grow(begun(header), records, use)
    return header.line() + growth.data, growth.document


def begun(header: Header) -> Document:
    """A document that has its header only, and no footer yet."""
    at = len(header.line())
    return assembled(header, empty_fold(header), at, at, b"")


def grow(document: Document, records: Sequence[Record], use: int | None = None) -> Growth:
    """Add `records`: what to write, and where. The session was used last at `use`, or when they say.

    A record whose `seq` is above the last one keeps it.
    """
    last_seq, placed = document.footer.last_seq, []
    for record in records:
        if record.seq <= last_seq:
            record = numbered(record, last_seq + 1)  # noqa: PLW2901  # it is the one that is written
        last_seq = record.seq
        placed.append(record)
    footer = fold_all(document.footer, placed)
    if use:
        footer = used_at(footer, use)
    offset, body, undo = document.footer_at, b",\n".join(map(encode_stored, placed)), document.tail
    if document.footer_at > document.records_at:  # the last record's newline becomes a comma, if one follows
        offset, body, undo = offset - 1, b",\n" * bool(placed) + body, b"\n" + undo
    if body or offset < document.footer_at:
        body += b"\n"
    tail = footer.line(document.size - offset - len(body))
    grown = assembled(document.header, footer, document.records_at, offset + len(body), tail)
    return Growth(offset, body + tail, undo, tuple(placed), grown)


def numbered(record: Record, seq: int) -> Record:
    return msgspec.structs.replace(record, seq=seq)  # type: ignore[type-var]  # each of `RECORDS` is a Struct


def used_at(footer: Footer, use: int) -> Footer:
    return msgspec.structs.replace(
        footer, used=msgspec.UNSET if use == milliseconds(footer.last_activity) else use
    )


def assembled(header: Header, footer: Footer, records_at: int, footer_at: int, tail: bytes) -> Document:
    summary = Summary(
        session_id=header.id,
        agent=header.agent,
        title=footer.title,
        state=footer.state,
        created_at=valid_time(header.created_at),
        last_activity=valid_time(footer.last_activity),
        message_count=footer.message_count,
        cwd=header.cwd,
        tags=footer.tags,
        pinned=footer.pinned,
        forked_from=header.forked_from,
        parent=header.parent,
    )
    return Document(header, footer, records_at, footer_at, tail, summary)


def empty_fold(header: Header) -> Footer:
    return Footer(
        title=header.title, state="active", last_activity=header.created_at, message_count=0, last_seq=0
    )


def fold(footer: Footer, record: Record) -> Footer:
    """The footer once `record` is counted in. Of the events, only `resumed` and `forked` are a use."""
    if isinstance(record, Activity):
        return msgspec.structs.replace(footer, last_seq=record.seq)
    if isinstance(record, EventRecord):
        effect = _EFFECTS.get(record.event)
        return msgspec.structs.replace(footer, last_seq=record.seq, **(effect(record) if effect else {}))
    title, turn = footer.title, footer.turn
    if title is None and isinstance(record, UserMessage):
        title = title_from(record.content)
    if isinstance(record, AssistantMessage) and record.turn:
        turn = record.turn
    return msgspec.structs.replace(
        footer,
        title=title,
        state="active",
        last_activity=record.timestamp,
        message_count=footer.message_count + isinstance(record, UserMessage | AssistantMessage),
        last_seq=record.seq,
        turn=turn,
    )


def fold_all(footer: Footer, records: Sequence[Record]) -> Footer:
    """The footer once all are counted in; for activities in a row one is made."""
    passed: Record | None = None
    for record in records:
        if isinstance(record, Activity):
            passed = record
        else:
            footer, passed = fold(footer, record), None
    return fold(footer, passed) if passed else footer


_EFFECTS: dict[str, Callable[[EventRecord], dict[str, Any]]] = {
    ENDED: lambda _: {"state": "ended"},
    RESUMED: lambda event: {"last_activity": event.timestamp},
    # The tool's own conversation is the original's: two sessions must not go on with it.
    FORKED: lambda event: {
        "last_activity": event.timestamp,
        "state": "active",
        "turn": None,
        **({"title": event.title} if event.title else {}),
    },
    RENAMED: lambda event: {"title": event.title or None},
    TAGGED: lambda event: {"tags": event.tags or ()},
    PINNED: lambda event: {"pinned": event.pinned is True},
}
"""The footer's changes by each event; unknown events of newer daemons change nothing."""


# --- reading --------------------------------------------------------------------------------------


def load(read: Read, size: int) -> Document:
    """A document from its two ends; of the records only the last one is checked. Raises `Damaged`."""
    header, records_at = load_header(read)
    footer_at = _line_start(read, size - 1, records_at)
    tail = read(footer_at, size - footer_at)
    if not tail.startswith(b"]") or not tail.endswith(b"\n"):
        raise Damaged("it does not end in a footer")
    try:
        footer = _footer_decoder.decode(b'{"messages":[' + tail)
    except UNDECODABLE as error:
        raise Damaged(f"its footer is invalid: {error}") from None
    last_seq = 0
    if footer_at > records_at:
        start = _line_start(read, footer_at - 1, records_at)
        if start > records_at and read(start - 2, 2) != b",\n":
            raise Damaged("no comma stands before its last line")
        last_seq = parse_record(read(start, footer_at - start)).seq
    if last_seq != footer.last_seq:
        raise Damaged(f"the footer counts {count(footer.last_seq, 'record')}, the last line is {last_seq}")
    return assembled(header, footer, records_at, footer_at, tail)


def load_header(read: Read) -> tuple[Header, int]:
    """The header and the offset behind its line. Raises `Damaged`."""
    head = b""
    while b"\n" not in head:
        chunk = read(len(head), _CHUNK)
        head += chunk
        if not chunk or len(head) > _HEADER_LIMIT:
            raise Damaged("its first line is not a header")
    line = head[: head.index(b"\n")]
    whole = line.rstrip() + b"]}"
    try:
        # First: all else in a header of another format may differ.
        version = _format_decoder.decode(whole).format
        if version != FORMAT:
            raise Damaged(f"it has format {version}, this port42d reads {FORMAT}; a newer one wrote it")
        return _header_decoder.decode(whole), len(line) + 1
    except UNDECODABLE as error:
        raise Damaged(f"its first line is not a header: {error}") from None


def parse_record(line: bytes) -> Record:
    """The record of a line, with a comma or without. Raises `Damaged`."""
    try:
        return decode_record(line.rstrip().removesuffix(b","))
    except UNDECODABLE as error:
        raise Damaged(f"a line is not a record: {error}") from None


def records(read: Read, document: Document, after_seq: int) -> Iterator[tuple[Record, int]]:
    """Each record after `after_seq`, and the bytes of its line. Raises `Damaged`."""
    for line in lines(read, document, after_seq):
        record = parse_record(line)
        if record.seq > after_seq:
            yield record, len(line)


def fold_through(read: Read, document: Document, seq: int) -> tuple[Footer, int]:
    """The footer as it was when `seq` was the last record, and the length in bytes of the records through it.

    What ends the last record's line is not counted. Raises `Damaged`.
    """
    if seq == document.footer.last_seq:
        return document.footer, max(document.footer_at - 1 - document.records_at, 0)
    footer, length, at = empty_fold(document.header), 0, 0
    for line in lines(read, document, 0):
        record = parse_record(line)
        if record.seq > seq:
            break
        footer, length = fold(footer, record), at + len(line.rstrip().removesuffix(b","))
        at += len(line) + 1
    return footer, length


def recent(read: Read, document: Document, at_least: int) -> tuple[list[Record], bool]:
    """The last records, `at_least` bytes of them, one at least; whether those are all. Raises `Damaged`."""
    offset = _line_start(read, max(document.records_at, document.footer_at - at_least), document.records_at)
    kept = [parse_record(line) for line in _lines_from(read, document, offset)]
    return kept, offset == document.records_at


def lines(read: Read, document: Document, after_seq: int) -> Iterator[bytes]:
    """The records' lines, from shortly before `after_seq` on."""
    return _lines_from(read, document, _seek(read, document, after_seq))


def _lines_from(read: Read, document: Document, offset: int) -> Iterator[bytes]:
    rest, size = b"", _FIRST_CHUNK
    while offset < document.footer_at:
        chunk = read(offset, min(size, document.footer_at - offset))
        if not chunk:
            raise Damaged("it ends before its footer")
        offset += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > _LINE_LIMIT:
            raise Damaged("a line does not end")
        # Larger steps through a long line, so that it is not concatenated a hundred times.
        size = min(2 * size, 4 * _CHUNK) if whole else 2 * size
    if rest:  # an append that runs meanwhile turns the last newline into a comma
        yield rest


def _seek(read: Read, document: Document, after_seq: int) -> int:
    """The offset of a line at or before the first one after `after_seq`, by bisection."""
    low, high = document.records_at, document.footer_at
    while after_seq > 0 and high - low > _CHUNK:
        middle = (low + high) // 2
        start = _next_line(read, middle, high)
        if start < high and _seq_at(read, start) <= after_seq:
            low = start
        else:
            high = middle
    return low


def _next_line(read: Read, offset: int, end: int) -> int:
    """The offset behind the first newline at or after `offset`, or `end`."""
    limit = offset + _LINE_LIMIT
    while offset < end:
        if offset > limit:
            raise Damaged("a line does not end")
        chunk = read(offset, min(_CHUNK, end - offset))
        if not chunk:
            raise Damaged("it ends before its footer")
        if (newline := chunk.find(b"\n")) >= 0:
            return offset + newline + 1
        offset += len(chunk)
    return end


def _line_start(read: Read, end: int, floor: int) -> int:
    """The start of the line whose newline is at `end`, at least `floor`."""
    low = end
    while low > floor:
        if end - low > _LINE_LIMIT:
            raise Damaged("its last line has no beginning")
        step = max(floor, low - _CHUNK // 16)
        if (newline := read(step, low - step).rfind(b"\n")) >= 0:
            return step + newline + 1
        low = step
    return floor


def _seq_at(read: Read, offset: int) -> int:
    match = _SEQ.match(read(offset, 32))
    if not match:
        raise Damaged("a record does not begin with its seq")
    return int(match[1])
