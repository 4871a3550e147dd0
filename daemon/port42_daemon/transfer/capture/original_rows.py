"""The tables of `originals.db`, and how an original is written to them, also one that was a file before."""

from __future__ import annotations

import sqlite3
import sys
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from port42_daemon import durable
from port42_daemon.databases import zstandard
from port42_protocol.messages.types import CaptureTool, prepared

VERSION = 1
CREATE = """
CREATE TABLE originals (
  id INTEGER PRIMARY KEY AUTOINCREMENT, tool TEXT NOT NULL, path TEXT NOT NULL, begun_at TEXT NOT NULL,
  generation INTEGER NOT NULL, conversation TEXT NOT NULL, length INTEGER NOT NULL, size INTEGER NOT NULL,
  UNIQUE (path, conversation, tool, generation)
);
CREATE TABLE sessions (
  original INTEGER NOT NULL, session_id TEXT NOT NULL, source_id TEXT NOT NULL,
  PRIMARY KEY (original, session_id)
) WITHOUT ROWID;
CREATE INDEX by_session ON sessions (session_id);
CREATE TABLE parts (
  original INTEGER NOT NULL, begins INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (original, begins)
);
"""
CHUNK = 64 * 1024
_PIECE = 1024 * 1024
HEAD = 1024
"""Bytes of a file of an earlier version that may describe it; its rows begin behind them."""
_LEVEL = 1
"""Of real transcripts Zstandard leaves a fifth so, in a fifth of the time in which zlib leaves a quarter."""
_ZSTANDARD = 0x28
"""The first byte of its frames (RFC 8878, 3.1.1). A zlib stream, of an earlier version, begins otherwise."""


class Damaged(Exception):
    """An original cannot be read to its end; the text says why."""


class Original(Struct):
    """Of which source bytes are kept: its path, times (RFC 3339), and its sessions' ids.

    `sessions` are Port42's ids, with the ids in the tool.
    """

    tool: CaptureTool
    path: str
    begun_at: str
    generation: int = 1
    sessions: dict[str, str] = {}
    conversation: str = ""
    """Of a database, the one whose rows are kept."""
    length: int = 0
    """The bytes as they were, of what was kept at once."""
    size: int = 0
    """Compressed bytes that are kept. Rows behind them, of what failed, do not count."""
    id: int = 0
    """0: nothing is kept yet."""


def insert(database: sqlite3.Connection, original: Original) -> None:
    row = (
        original.tool,
        original.path,
        original.begun_at,
        original.generation,
        original.conversation,
        original.length,
    )
    cursor = database.execute("INSERT INTO originals VALUES (NULL, ?, ?, ?, ?, ?, ?, 0)", row)
    original.id = cursor.lastrowid or 0
    insert_sessions(database, original)


def insert_file(database: sqlite3.Connection, original: Original, file: Path) -> None:
    """Write what is in a file of an earlier version."""
    insert(database, original)
    with durable.open_file(file, sys.maxsize) as opened:
        # How far it is kept, is counted from the file's beginning.
        begins = HEAD if opened.read(1) == b"{" else 0
        opened.seek(begins)
        while chunk := opened.read(CHUNK):
            database.execute("INSERT INTO parts VALUES (?, ?, ?)", (original.id, begins, chunk))
            begins += len(chunk)
    set_size(database, original, begins)


def note_undiscarded(database: sqlite3.Connection, session_ids: Iterable[str]) -> None:
    """Remember that what is kept of these is to be deleted when it can be."""
    # No database of this version has it from the beginning: few ever need it.
    database.execute("CREATE TABLE IF NOT EXISTS undiscarded (session_id TEXT PRIMARY KEY) WITHOUT ROWID")
    database.executemany(
        "INSERT OR IGNORE INTO undiscarded VALUES (?)", [(session_id,) for session_id in session_ids]
    )


def set_size(database: sqlite3.Connection, original: Original, size: int) -> None:
    original.size = size
    database.execute("UPDATE originals SET size = ? WHERE id = ?", (size, original.id))


def write(database: sqlite3.Connection, original: Original, data: Iterable[bytes], kept: int) -> int:
    """The compressed bytes as rows behind the `kept` ones; returns where they end."""
    database.execute("DELETE FROM parts WHERE original = ? AND begins >= ?", (original.id, kept))
    if kept < original.size:
        # In rows that were a file, `kept` may be in the middle of one.
        database.execute(
            "UPDATE parts SET data = substr(data, 1, ? - begins) WHERE original = ?"
            " AND begins = (SELECT max(begins) FROM parts WHERE original = ?) AND begins + length(data) > ?",
            (kept, original.id, original.id, kept),
        )
    zstd = zstandard()
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(
        options={parameter.compression_level: _LEVEL, parameter.checksum_flag: True}
    )
    row = bytearray()
    for piece in chain(map(compressor.compress, data), (flush() for flush in [compressor.flush])):
        row += piece
        if len(row) >= CHUNK:
            database.execute("INSERT INTO parts VALUES (?, ?, ?)", (original.id, kept, row))
            kept, row = kept + len(row), bytearray()
    if row:
        database.execute("INSERT INTO parts VALUES (?, ?, ?)", (original.id, kept, row))
    return kept + len(row)


def decompressed(rows: Iterable[bytes]) -> Iterator[bytes]:
    """What the rows have, which are streams one after the other, in pieces of 1 MiB. Raises `Damaged`."""
    zstd = zstandard()
    stream: Any = None
    for row in rows:
        rest = row
        while rest:
            if stream is None:
                stream = zstd.ZstdDecompressor() if rest[0] == _ZSTANDARD else zlib.decompressobj()
            try:
                yield (data := stream.decompress(rest, _PIECE))
                while len(data) == _PIECE and not stream.eof:
                    # What did not fit is given back by zlib, and kept by Zstandard.
                    yield (data := stream.decompress(getattr(stream, "unconsumed_tail", b""), _PIECE))
            except (zlib.error, zstd.ZstdError) as error:
                raise Damaged(str(error)) from None
            rest = stream.unused_data
            if stream.eof:
                stream = None
    if stream is not None:
        raise Damaged("its end is missing")


def insert_sessions(database: sqlite3.Connection, original: Original) -> None:
    database.executemany(
        "INSERT INTO sessions VALUES (?, ?, ?)",
        [(original.id, ours, theirs) for ours, theirs in original.sessions.items()],
    )


def delete(database: sqlite3.Connection, original: Original) -> None:
    for table, column in (("parts", "original"), ("sessions", "original"), ("originals", "id")):
        database.execute(f"DELETE FROM {table} WHERE {column} = ?", (original.id,))  # noqa: S608  # our names


def files_in(folder: Path) -> list[Path]:
    """The originals of earlier versions, ``<tool>/<hash>-<generation>.z``: zlib streams.

    Before these there may be 1 KiB of JSON, filled up with spaces, that describes the original; a longer
    description, and that of a still earlier version, is in ``….json`` beside it.
    """
    return sorted(folder.glob("*/*-*.z"))


def described_by(file: Path) -> Original | None:
    """Of what `file` has the bytes; None if nothing says so. What is beside it is later than what it says."""
    for path, size in ((file.with_suffix(".json"), 1024 * 1024), (file, HEAD)):
        try:
            with durable.open_file(path, sys.maxsize) as opened:
                return msgspec.json.decode(opened.read(size), type=prepared(Original))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None
