"""One session as one JSON document that grows at its end: pure bytes and offsets, no I/O.

    {"format":1,"id":"cli-1",…,"messages":[        the header: what never changes
    {"seq":1,"role":"user",…},                      one record a line
    {"seq":2,"role":"assistant",…}
    ],"title":"…","state":"active",…,"last_seq":2}  the footer: a cache of the fold over the records

An append is one write from the end of the last record: a comma, the new lines, the new footer. So
its cost does not grow with the session, and header plus footer give a summary without the middle.
`Damaged` is the only exception that leaves the reading functions.
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
    milliseconds,
    title_from,
    valid_time,
)
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    EventRecord,
    Record,
    Summary,
    UserMessage,
    decode_record,
    encode_stored,
    replace,
)

_CHUNK = 64 * 1024
_FIRST_CHUNK = 16 * 1024
_HEADER_LIMIT = 1024 * 1024
_LINE_LIMIT = 64 * 1024 * 1024
"""More than any record has, so that a hole of terabytes is not looked through."""
_SEQ = re.compile(rb'\{"seq":(\d{1,16}),')
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Read = Callable[[int, int], bytes]
"""``read(offset, length)`` gives the file's bytes there, fewer at its end."""


class Damaged(Exception):
    """The bytes are not a whole session; the text says where they stop being one."""


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
    """The footer's line as it stands in the file, for putting it back."""
    summary: Summary
    """The summary, cached."""

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self.footer_at + len(self.tail)


class Growth(msgspec.Struct, frozen=True, gc=False):
    """One append: write `data` at `offset`; `undo` is what stood there; `records` have their seqs;
    `document` is what results."""

    offset: int
    data: bytes
    undo: bytes
    records: tuple[Record, ...]
    document: Document


_format_decoder = msgspec.json.Decoder(_Format)
_header_decoder = msgspec.json.Decoder(Header)
_footer_decoder = msgspec.json.Decoder(Footer)


# --- writing --------------------------------------------------------------------------------------


def compose(header: Header, records: Sequence[Record], use: int = 0) -> tuple[bytes, Document]:
    """A whole document, used last at `use`. The records keep the `seq` they have."""
    footer = empty_fold(header)
    for record in records:
        footer = fold(footer, record)
    if use:
        footer = used_at(footer, use)
    head = header.line()
    body = b",\n".join(map(encode_stored, records)) + (b"\n" if records else b"")
    document = assembled(header, footer, len(head), len(head) + len(body), footer.line())
    return head + body + document.tail, document


def grow(document: Document, records: Sequence[Record], use: int | None = None) -> Growth:
    """Add `records`: what to write, and where. The session was used last at `use`, or when they say.

    A record whose `seq` is above the last one keeps it.
    """
    footer, placed = document.footer, []
    for record in records:
        if record.seq <= footer.last_seq:
            record = numbered(record, footer.last_seq + 1)  # noqa: PLW2901  # it is the one that is written
        footer = fold(footer, record)
        placed.append(record)
    if use is not None:
        footer = used_at(footer, use)
    first = document.footer_at == document.records_at
    offset = document.footer_at if first else document.footer_at - 1
    body = (b"" if first else b",\n") + b",\n".join(map(encode_stored, placed)) + b"\n"
    tail = footer.line(document.size - offset - len(body))
    return Growth(
        offset=offset,
        data=body + tail,
        undo=(b"" if first else b"\n") + document.tail,
        records=tuple(placed),
        document=assembled(document.header, footer, document.records_at, offset + len(body), tail),
    )


def numbered(record: Record, seq: int) -> Record:
    """The record with its `seq`, which is 0 until it has a position in a session."""
    return replace(record, seq=seq)


def used_at(footer: Footer, use: int) -> Footer:
    """The footer with another last use."""
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
        title=header.title,
        state="active",
        last_activity=header.created_at,
        message_count=0,
        last_seq=0,
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
    return Footer(
        title=title,
        state="active",
        last_activity=record.timestamp,
        message_count=footer.message_count + isinstance(record, UserMessage | AssistantMessage),
        last_seq=record.seq,
        turn=turn,
        tags=footer.tags,
        pinned=footer.pinned,
        used=footer.used,
    )


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
    """A document from its two ends. Raises `Damaged`.

    Only the last record is checked: every earlier one was on the disk before it was begun.
    """
    header, records_at = load_header(read)
    footer_at = _line_start(read, size - 1, records_at)
    tail = read(footer_at, size - footer_at)
    if not tail.startswith(b"]") or not tail.endswith(b"\n"):
        raise Damaged("it does not end in a footer")
    footer = parse_footer(tail)
    last_seq = 0
    if footer_at > records_at:
        start = _line_start(read, footer_at - 1, records_at)
        if start > records_at and read(start - 2, 2) != b",\n":
            raise Damaged("no comma stands before its last line")
        last_seq = parse_record(read(start, footer_at - start)).seq
    if last_seq != footer.last_seq:
        raise Damaged(f"the footer counts {footer.last_seq} records, the last line is {last_seq}")
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
        # First of all: a header of another format may be anything else besides.
        version = _format_decoder.decode(whole).format
        if version != FORMAT:
            raise Damaged(f"it has format {version}, this port42d reads {FORMAT}; a newer one wrote it")
        return _header_decoder.decode(whole), len(line) + 1
    except UNDECODABLE as error:
        raise Damaged(f"its first line is not a header: {error}") from None


def parse_footer(line: bytes) -> Footer:
    """The footer from its line. Raises `Damaged`."""
    try:
        return _footer_decoder.decode(b'{"messages":[' + line)
    except UNDECODABLE as error:
        raise Damaged(f"its footer is invalid: {error}") from None


def parse_record(line: bytes) -> Record:
    """One record from its line, comma or not. Raises `Damaged`."""
    try:
        return decode_record(line.rstrip().removesuffix(b","))
    except UNDECODABLE as error:
        raise Damaged(f"a line is not a record: {error}") from None


def records(read: Read, document: Document, after_seq: int) -> Iterator[tuple[Record, int]]:
    """Each record after `after_seq` with its length in bytes. Raises `Damaged` at the first bad one."""
    for line in lines(read, document, after_seq):
        record = parse_record(line)
        if record.seq > after_seq:
            yield record, len(line)


def footer_through(read: Read, document: Document, seq: int) -> Footer:
    """The footer as it was when `seq` was the last record. Raises `Damaged`."""
    if seq == document.footer.last_seq:
        return document.footer
    footer = empty_fold(document.header)
    for record, _ in records(read, document, 0):
        if record.seq > seq:
            break
        footer = fold(footer, record)
    return footer


def recent(read: Read, document: Document, at_least: int) -> tuple[list[Record], bool]:
    """The last records, `at_least` bytes of them, and whether those are all. Raises `Damaged`."""
    offset = max(document.records_at, document.footer_at - at_least)
    if offset > document.records_at:
        offset = _next_line(read, offset, document.footer_at)
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
        # Larger steps through a long line, so that it is not put together a hundred times.
        size = min(2 * size, 4 * _CHUNK) if whole else 2 * size
    # An append that runs meanwhile turns the last newline into a comma: the line is whole all the same.
    if rest:
        yield rest


def _seek(read: Read, document: Document, after_seq: int) -> int:
    """The offset of a line at or before the first one after `after_seq`: halving, not scanning."""
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
