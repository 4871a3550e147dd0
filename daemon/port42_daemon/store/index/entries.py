"""What of a session's records is indexed: a part of its file, read, decoded and prepared for the tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from port42_daemon.databases import zstandard
from port42_daemon.store.index import stats
from port42_daemon.store.index.sessions import SessionUpdate
from port42_daemon.store.index.tokens import facets, parts, path_facets, spaced, tool_facet
from port42_daemon.store.interface import RENAMED
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.cache import reader
from port42_daemon.store.session_file.document import Document
from port42_protocol.activity import describe
from port42_protocol.encoding import encode
from port42_protocol.messages.records import (
    EventRecord,
    Message,
    PermissionRecord,
    PlanRecord,
    Record,
    Summary,
    ThoughtRecord,
    ToolRecord,
)

TITLE = "title"
"""The role under which a session's own title and tags are found, at seq 0."""
SAID = frozenset({"user", "assistant", "system", "error", TITLE})
"""Roles of what was said, which is ranked before what was done."""
_BLOCK_CHARACTERS = 16_000
"""Text that is compressed together: a hit's snippet costs as much."""
_PART_BYTES = 512 * 1024
"""Bytes of a session's file that are read at once."""
_WORTH_PACKING = 160
"""Bytes from which on a block is compressed."""


class Entry(NamedTuple):
    """A text to be found, as it is indexed; `facets` are those that only a tool call has.

    `author` is the other owner at the hub who recorded it, if one did.
    """

    seq: int
    role: str
    timestamp: str
    text: str
    facets: str = ""
    author: str | None = None


class Words(NamedTuple):
    """A row for FTS5; `number` counts from the first entry on."""

    number: int
    text: str
    parts: str
    facets: str


class Block(NamedTuple):
    """Entries that follow one another; `number` and `seq` are the first one's."""

    number: int
    seq: int
    entries: int
    packed: str | bytes


class Texts(msgspec.Struct, frozen=True, gc=False):
    """Entries of one session, prepared for the tables of `messages`."""

    entries: int
    words: dict[str, list[Words]]
    """By the FTS5 table."""
    blocks: list[Block]
    characters: int


class Part(msgspec.Struct, frozen=True, gc=False):
    """The records of a session after `after_seq` through `last_seq`, for the index."""

    update: SessionUpdate
    fed_seq: int
    """The session's, when its reading began."""
    after_seq: int
    last_seq: int
    texts: Texts
    keys: tuple[tuple[str, str, str, int], ...]
    counts: stats.Counts
    renamed: bool

    @property
    def session_id(self) -> str:
        return self.update.summary.session_id

    @property
    def is_last(self) -> bool:
        return self.last_seq >= self.update.last_seq


def session_update(whole: Document, file: os.stat_result, appended: Sequence[Record] = ()) -> SessionUpdate:
    """The update for a session in a file with the status `file`; `appended` are the new records, if known."""
    header, footer = whole.header, whole.footer
    known = bool(appended) or footer.last_seq == 0
    return SessionUpdate(
        whole.summary,
        footer.last_seq,
        file.st_size,
        file.st_mtime_ns,
        footer.use,
        titled=header.title is not None,
        native=footer.turn.native_id if footer.turn else None,
        source=header.imported_from.id if header.imported_from else None,
        after_seq=footer.last_seq - len(appended) if known else None,
        keys=keys(whole.summary, appended),
    )


def read_part(fed_seq: int, after_seq: int, descriptor: int, whole: Document) -> Part:
    """Read records of a session's open file, some at a time."""
    records: list[Record] = []
    used = 0
    for record, length in document.records(reader(descriptor), whole, after_seq):
        records.append(record)
        used += length
        if used >= _PART_BYTES:
            break
    return part(session_update(whole, os.fstat(descriptor)), after_seq, records, fed_seq=fed_seq)


def part(update: SessionUpdate, after_seq: int, records: list[Record], *, fed_seq: int) -> Part:
    own = own_after(update.summary)
    return Part(
        update,
        fed_seq,
        after_seq,
        records[-1].seq if records else update.last_seq,
        prepare(update.summary.agent, [entry for entry in map(_entry, records) if entry]),
        keys(update.summary, records),
        stats.counts(record for record in records if record.seq > own),
        any(isinstance(record, EventRecord) and record.event == RENAMED for record in records),
    )


def prepare(agent: str, entries: list[Entry]) -> Texts:
    words: dict[str, list[Words]] = {"said": [], "done": []}
    blocks: list[Block] = []
    first = size = characters = 0
    for number, entry in enumerate(entries):
        if size > _BLOCK_CHARACTERS:
            blocks.append(_block(first, entries[first:number]))
            first, size = number, 0
        table, row = columns(agent, entry)
        words[table].append(Words(number, *row))
        size += len(entry.text)
        characters += len(entry.text)
    if entries:
        blocks.append(_block(first, entries[first:]))
    return Texts(len(entries), words, blocks, characters)


def _block(number: int, entries: list[Entry]) -> Block:
    return Block(number, entries[0].seq, len(entries), pack(entries))


def pack(entries: list[Entry]) -> str | bytes:
    """The entries as JSON, compressed where that is worth it."""
    data = encode(entries)
    if len(data) >= _WORTH_PACKING:
        compressor = _compressor()
        packed: bytes = compressor.compress(data, compressor.FLUSH_FRAME)
        if len(packed) < len(data):
            return packed
    return data.decode()


def unpack(packed: str | bytes) -> list[Entry]:
    """Raises `ValueError` or `TypeError` where that is not what `pack` made."""
    if isinstance(packed, bytes):
        zstd = zstandard()
        try:
            packed = zstd.decompress(packed)
        except zstd.ZstdError as error:
            raise ValueError("a block cannot be decompressed") from error
    entries: list[Entry] = msgspec.json.decode(packed, type=list[Entry])
    return entries


@cache
def _compressor() -> Any:
    """One for all: to make one takes as long as a message, and it has a lock."""
    return zstandard().ZstdCompressor(level=1)


def columns(agent: str, entry: Entry) -> tuple[str, tuple[str, str, str]]:
    """The FTS5 table for an entry, and what is in its columns there."""
    facet_words = facets(agent, entry.role, entry.timestamp, entry.facets)
    return "said" if entry.role in SAID else "done", (entry.text, parts(entry.text), facet_words)


def own_after(session: Summary) -> int:
    """The seq after which the records are the session's own: a fork begins with those of its original."""
    return session.forked_from.seq if session.forked_from else 0


def keys(session: Summary, records: Iterable[Record]) -> tuple[tuple[str, str, str, int], ...]:
    """Agent, idempotency key, session and seq of each of the session's own messages that has a key."""
    own = own_after(session)
    return tuple(
        (session.agent, record.key, session.session_id, record.seq)
        for record in records
        if isinstance(record, Message) and record.key and record.seq > own
    )


def _entry(record: Record) -> Entry | None:
    author = record.author or None
    if isinstance(record, Message):
        return Entry(record.seq, record.role, record.timestamp, spaced(record.content), author=author)
    words = ""
    match record:
        case ToolRecord():
            text = _lines(record.title, record.name, record.input, record.output)
            names = [tool_facet(name) for name in (record.name, record.kind) if isinstance(name, str)]
            words = " ".join((*names, *(path_facets(location.path) for location in record.locations or ())))
        case ThoughtRecord(content=text):
            pass
        case PlanRecord(entries=entries):
            text = _lines(*(entry.content for entry in entries))
        case PermissionRecord():
            text = describe(record)
        case EventRecord(event="compacted", content=str(text)):
            pass
        case _:
            return None
    return Entry(record.seq, record.role, record.timestamp, spaced(text), words, author)


def _lines(*texts: Any) -> str:
    return "\n".join(text for text in texts if isinstance(text, str) and text)
