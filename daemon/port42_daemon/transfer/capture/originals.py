"""`originals.db`: the bytes of each captured source, compressed, so that they outlive the tool's own file.

An original has a zlib stream for each part of its source that was read, in rows of some 64 KiB. A source that
its tool wrote anew begins another generation.

Of a database each conversation has its own, with its rows as lines. These, and files that are written whole,
are replaced by later ones; one that is shorter than before begins another generation.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from port42_daemon import databases, durable
from port42_daemon.transfer.capture.tools import is_there
from port42_protocol.messages.types import CaptureTool, prepared

log = logging.getLogger(__name__)

NAME = "originals.db"
_VERSION = 1
_CREATE = """
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
_FILES = "originals"
"""The folder of earlier versions."""
_HEAD = 1024
_TOGETHER = 100
_CHUNK = 64 * 1024
GENERATIONS = 10
"""That are kept of what is kept at once."""
_LEVEL = 3  # half the time of zlib's usual 6, for a few bytes more


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


class Damaged(Exception):
    """An original cannot be read to its end; the text says why."""


class Originals:
    """The database, opened when it is needed first. Its methods block, and raise OSError. For any thread."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME
        self._files = home / _FILES
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    # --- keeping ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def changes(self) -> Iterator[sqlite3.Connection]:
        """What is changed in the block is on the disk after it, with one wait; if it raises, none of it."""
        with self._connected(writes=True) as database:
            if database.in_transaction:
                yield database
                return
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:  # else SQLite has taken it back
                    database.execute("ROLLBACK")
                raise

    def begin(self, original: Original) -> Original:
        """A new generation for a source that is read from its beginning; the first `add` writes it."""
        latest = self.find(original.tool, original.path, 0, original.conversation)
        original.generation = latest.generation + 1 if latest is not None else 1
        return original

    def add(self, original: Original, data: Iterable[bytes], kept: int) -> int:
        """Keep the next bytes of the source behind the `kept` compressed ones; returns the new size.

        What stands there behind `kept`, by a crash, is replaced. Where `data` fails, as that of a source that
        is being written anew, what was kept before stays.
        """
        is_new = not original.id
        with self.changes() as database:
            try:
                if is_new:
                    self._insert(database, original)
                size = _write(database, original, data, kept)
            except BaseException:
                if is_new:
                    _delete(database, original)
                else:
                    _set_size(database, original, kept)
                raise
            _set_size(database, original, size)
        return size

    def keep(self, original: Original, data: bytes) -> int:
        """Keep a whole file, or the rows of a conversation. Returns by how many bytes there is more.

        Of the generations the newest `GENERATIONS` stay.
        """
        name = original.tool, original.path
        before = 0
        with self.changes() as database:
            latest = self.find(*name, 0, original.conversation)
            original.length = len(data)
            if latest is not None and len(data) >= latest.length:
                original.generation, before = latest.generation, latest.size
                _delete(database, latest)
            elif latest is not None:
                original.generation = latest.generation + 1
            last = original.generation - GENERATIONS
            if last > 0 and (outlived := self.find(*name, last, original.conversation)) is not None:
                before += outlived.size
                _delete(database, outlived)
            pieces = (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
            return self.add(original, pieces, 0) - before

    def describe(self, original: Original) -> None:
        """Write what has changed of its sessions."""
        with self.changes() as database:
            database.execute("DELETE FROM sessions WHERE original = ?", (original.id,))
            _insert_sessions(database, original)

    def discard(self, session_ids: Collection[str], *, dry_run: bool) -> int:
        """Delete the originals that only these sessions have, and whose own file is gone or a database.

        Returns their bytes; with `dry_run` that is all.
        """
        gone = set(session_ids)
        of_these = {original.id: original for each in gone for original in self.of_session(each)}
        discarded = [
            original
            for original in of_these.values()
            # Of a database its own sessions may be gone, too: only the tool could tell.
            if gone.issuperset(original.sessions) and (original.conversation or not is_there(original.path))
        ]
        if discarded and not dry_run:
            with self.changes() as database:
                for original in discarded:
                    _delete(database, original)
            with self._connected() as database:
                database.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(original.size for original in discarded)

    # --- looking ----------------------------------------------------------------------------------

    def find(self, tool: CaptureTool, path: str, generation: int, conversation: str = "") -> Original | None:
        """That generation of the source at `path`, or of a conversation in it; 0: the newest."""
        newest = self._select(
            "WHERE path = ? AND conversation = ? AND tool = ? AND ? IN (0, generation)"
            " ORDER BY generation DESC LIMIT 1",
            (path, conversation, tool, generation),
        )
        return newest[0] if newest else None

    def of_session(self, session_id: str) -> list[Original]:
        """The originals that have the session, the oldest first."""
        return self._select(
            "WHERE id IN (SELECT original FROM sessions WHERE session_id = ?) ORDER BY begun_at, generation",
            (session_id,),
        )

    def all(self) -> list[Original]:
        """Every generation of every source."""
        return self._select("ORDER BY id")

    def size(self, original: Original) -> int:
        """Compressed bytes that are kept."""
        # Ids begin again in a database that was removed.
        query = "SELECT size FROM originals WHERE id = ? AND path = ? AND begun_at = ?"
        rows = self._rows(query, (original.id, original.path, original.begun_at))
        return rows[0][0] if rows else 0

    def data(self, original: Original) -> Iterator[bytes]:
        """The source's bytes. Raises `Damaged`."""
        decompressor = zlib.decompressobj()
        complete, begins = True, -1
        part = "SELECT begins, data FROM parts WHERE original = ? AND begins > ? AND begins < ?"
        part += " ORDER BY begins LIMIT 1"
        # One at a time: what is restored may be long, and others wait.
        while rows := self._rows(part, (original.id, begins, original.size)):
            begins, chunk = rows[0]
            while chunk:
                try:
                    yield decompressor.decompress(chunk)
                except zlib.error as error:
                    raise Damaged(str(error)) from None
                chunk, complete = decompressor.unused_data, decompressor.eof
                if complete:
                    decompressor = zlib.decompressobj()
        if not complete or (begins < 0 and original.size):
            raise Damaged("its end is missing")

    def damaged(self, seconds: float) -> list[str]:
        """Sources whose bytes cannot be read to their end; others are tried each time, for `seconds`."""
        until = time.monotonic() + seconds
        try:
            originals = self.all()
        except OSError:
            return [NAME]
        damaged = [file.name for file in _files(self._files)]  # those that could not be taken in just now
        for original in random.sample(originals, len(originals)):
            if time.monotonic() > until:
                break
            try:
                for _ in self.data(original):
                    pass
            except (Damaged, OSError):
                if self.size(original) == original.size:  # else it is being written
                    damaged.append(Path(original.path).name)
        return damaged

    def restore(self, original: Original, *, force: bool) -> int:
        """Write the source back to its path, and return its length.

        Raises FileExistsError, unless `force` replaces what is there, and `Damaged`.
        """
        path = Path(original.path)
        if is_there(original.path) and not force:
            raise FileExistsError(path)
        path.parent.mkdir(mode=durable.OWN_FOLDER, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.port42")
        aside.unlink(missing_ok=True)  # a kill has left it: restores are one at a time
        length = 0
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, durable.OWN_FILE)
        try:
            try:
                for data in self.data(original):
                    durable.write_all(descriptor, data, length)
                    length += len(data)
                durable.sync(descriptor)
            finally:
                os.close(descriptor)
            if force:
                aside.replace(path)
            else:
                os.link(aside, path)  # unlike a rename it replaces nothing
        finally:
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
        durable.sync_folder(path.parent)
        return length

    # --- inside -----------------------------------------------------------------------------------

    def _select(self, which: str, parameters: tuple[object, ...] = ()) -> list[Original]:
        sessions = "SELECT json_group_object(session_id, source_id) FROM sessions WHERE original = id"
        columns = f"({sessions}), tool, path, begun_at, generation, conversation, length, size, id"
        rows = self._rows(f"SELECT {columns} FROM originals {which}", parameters)  # noqa: S608  # our own SQL
        return [
            Original(tool, path, begun_at, generation, msgspec.json.decode(sessions), *others)
            for sessions, tool, path, begun_at, generation, *others in rows
        ]

    def _rows(self, query: str, parameters: tuple[object, ...]) -> list[Any]:
        if self._database is None and not self._path.exists() and not self._files.exists():
            return []  # nothing was captured here
        with self._connected() as database:
            return database.execute(query, parameters).fetchall()

    @contextlib.contextmanager
    def _connected(self, *, writes: bool = False) -> Iterator[sqlite3.Connection]:
        """The connection, with the lock held. Errors of SQLite become OSError."""
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                if writes and _is_damage(error):  # what can be read of it still is read
                    self._set_aside(error)
                is_full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
                raise OSError(errno.ENOSPC if is_full else errno.EIO, f"{NAME}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        database = self._database
        if database is not None and (database.in_transaction or self._path.exists()):
            return database
        self.close()  # somebody has removed it
        try:
            database = databases.connected(self._path, _VERSION, _CREATE, keeps=True)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._set_aside(error)
            database = databases.connected(self._path, _VERSION, _CREATE, keeps=True)
        database.isolation_level = None
        self._database = database
        try:
            self._move_in()
        except BaseException:
            self.close()  # it is tried again
            raise
        return database

    def _set_aside(self, reason: sqlite3.Error) -> None:
        """Give a database that is damaged another name; another one is begun."""
        self.close()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        beside = f"{NAME}.damaged-{stamp}"
        log.error("⚠ %s is damaged (%s); it is %s, and another one is begun", NAME, reason, beside)
        for suffix in (databases.WAL, ""):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(NAME + suffix).rename(self._path.with_name(beside + suffix))

    def _insert(self, database: sqlite3.Connection, original: Original) -> None:
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
        _insert_sessions(database, original)

    def _move_in(self) -> None:
        """Take in what an earlier version kept in a file for each original.

        What nothing describes stays where it is.
        """
        files = _files(self._files)
        for begin in range(0, len(files), _TOGETHER):
            some = [(file, _described(file)) for file in files[begin : begin + _TOGETHER]]
            with self.changes() as database:
                for file, original in some:
                    if original is not None:
                        self._take_in(database, original, file)
            for file, original in some:
                if original is not None:
                    durable.remove([file, file.with_suffix(".json")])
        for folder in (*self._files.glob("*"), self._files):
            with contextlib.suppress(OSError):  # there is none, or it is not empty
                folder.rmdir()

    def _take_in(self, database: sqlite3.Connection, original: Original, file: Path) -> None:
        with durable.open_file(file, sys.maxsize) as opened:
            original.size = os.fstat(opened.fileno()).st_size
            taken = self.find(original.tool, original.path, original.generation, original.conversation)
            if taken is not None:
                if (taken.begun_at, taken.size) == (original.begun_at, original.size):
                    return  # before a crash
                self.begin(original)
            self._insert(database, original)
            # How far it is kept, is counted from the file's beginning.
            begins = _HEAD if opened.read(1) == b"{" else 0
            opened.seek(begins)
            while chunk := opened.read(_CHUNK):
                database.execute("INSERT INTO parts VALUES (?, ?, ?)", (original.id, begins, chunk))
                begins += len(chunk)
            _set_size(database, original, original.size)


def _set_size(database: sqlite3.Connection, original: Original, size: int) -> None:
    original.size = size
    database.execute("UPDATE originals SET size = ? WHERE id = ?", (size, original.id))


def _write(database: sqlite3.Connection, original: Original, data: Iterable[bytes], kept: int) -> int:
    """The compressed bytes as rows behind the `kept` ones; returns where they end."""
    database.execute("DELETE FROM parts WHERE original = ? AND begins >= ?", (original.id, kept))
    if kept < original.size:
        # In rows that were a file, `kept` may be in the middle of one.
        database.execute(
            "UPDATE parts SET data = substr(data, 1, ? - begins) WHERE original = ?"
            " AND begins = (SELECT max(begins) FROM parts WHERE original = ?) AND begins + length(data) > ?",
            (kept, original.id, original.id, kept),
        )
    compressor = zlib.compressobj(_LEVEL)
    row = bytearray()
    for piece in chain(map(compressor.compress, data), map(compressor.flush, (zlib.Z_FINISH,))):
        row += piece
        if len(row) >= _CHUNK:
            database.execute("INSERT INTO parts VALUES (?, ?, ?)", (original.id, kept, row))
            kept, row = kept + len(row), bytearray()
    if row:
        database.execute("INSERT INTO parts VALUES (?, ?, ?)", (original.id, kept, row))
    return kept + len(row)


def _insert_sessions(database: sqlite3.Connection, original: Original) -> None:
    database.executemany(
        "INSERT INTO sessions VALUES (?, ?, ?)",
        [(original.id, ours, theirs) for ours, theirs in original.sessions.items()],
    )


def _delete(database: sqlite3.Connection, original: Original) -> None:
    for table, column in (("parts", "original"), ("sessions", "original"), ("originals", "id")):
        database.execute(f"DELETE FROM {table} WHERE {column} = ?", (original.id,))  # noqa: S608  # our names


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _files(folder: Path) -> list[Path]:
    """The originals of earlier versions, ``<tool>/<hash>-<generation>.z``: zlib streams.

    Before these there may be 1 KiB of JSON, filled up with spaces, that describes the original; a longer
    description, and that of a still earlier version, is in ``….json`` beside it.
    """
    return sorted(folder.glob("*/*-*.z"))


def _described(file: Path) -> Original | None:
    """Of what `file` has the bytes; None if nothing says so. What is beside it is later than what it says."""
    for path, size in ((file.with_suffix(".json"), 1024 * 1024), (file, _HEAD)):
        try:
            with durable.open_file(path, sys.maxsize) as opened:
                return msgspec.json.decode(opened.read(size), type=prepared(Original))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None
