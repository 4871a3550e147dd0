"""`originals.db`: the bytes of each captured source, compressed, so that they outlive the tool's own file.

An original has a Zstandard frame for each part of its source that was read, in rows of some 64 KiB. A source
that its tool wrote anew begins another generation.

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
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from port42_daemon import databases, durable
from port42_daemon.transfer.capture import original_rows
from port42_daemon.transfer.capture.original_rows import CHUNK, HEAD, Damaged, Original
from port42_daemon.transfer.capture.tools import is_there
from port42_protocol.messages.types import CaptureTool

log = logging.getLogger(__name__)

NAME = "originals.db"
_FILES = "originals"
"""The folder of earlier versions."""
_TOGETHER = 100
GENERATIONS = 10
"""That are kept of what is kept at once."""


def _is_never(_: str) -> bool:
    return False


class Originals:
    """The database, opened when it is needed first. Its methods block, and raise OSError. For any thread."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME
        self._files = home / _FILES
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._changing: int | None = None
        """The thread whose transaction is under way."""
        self._taking_in = threading.Lock()
        self._left: list[Path] | None = None
        """Files of an earlier version that are to be taken in, the next one last; None: not known yet."""

    def close(self) -> None:
        with self._lock:
            self._left = None
            if self._database is not None:
                self._database.close()
                self._database = None

    # --- keeping ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def changes(self) -> Iterator[sqlite3.Connection]:
        """What is changed in the block is on the disk after it, with one wait; if it raises, none of it."""
        self._take_in_files()
        with self._transaction() as database:
            yield database

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected(writes=True) as database:
            if database.in_transaction:
                yield database
                return
            database.execute("BEGIN IMMEDIATE")
            self._changing = threading.get_ident()
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:  # else SQLite has taken it back
                    database.execute("ROLLBACK")
                raise
            finally:
                self._changing = None

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
                    original_rows.insert(database, original)
                size = original_rows.write(database, original, data, kept)
            except BaseException:
                if is_new:
                    original_rows.delete(database, original)
                else:
                    original_rows.set_size(database, original, kept)
                raise
            original_rows.set_size(database, original, size)
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
                original_rows.delete(database, latest)
            elif latest is not None:
                original.generation = latest.generation + 1
            last = original.generation - GENERATIONS
            if last > 0 and (outlived := self.find(*name, last, original.conversation)) is not None:
                before += outlived.size
                original_rows.delete(database, outlived)
            pieces = (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))
            return self.add(original, pieces, 0) - before

    def describe(self, original: Original) -> None:
        """Write what has changed of its sessions."""
        with self.changes() as database:
            database.execute("DELETE FROM sessions WHERE original = ?", (original.id,))
            original_rows.insert_sessions(database, original)

    def discard(
        self, session_ids: Collection[str], *, dry_run: bool, is_gone: Callable[[str], bool] = _is_never
    ) -> int:
        """Delete the originals of these sessions that no other has, and whose own file is gone or a database.

        Those of sessions that could not be deleted earlier are among them, if the session `is_gone`. Returns
        their bytes; with `dry_run` that is all.
        """
        noted = self._undiscarded()
        gone = {*session_ids, *filter(is_gone, noted)}
        of_these = {original.id: original for each in gone for original in self.of_session(each)}
        discarded, kept = list[Original](), list[Original]()
        for original in of_these.values():
            is_last = all(each in gone or is_gone(each) for each in original.sessions)
            # Of a database its own sessions may be gone, too: only the tool could tell.
            is_only = original.conversation or not is_there(original.path)
            (discarded if is_last and is_only else kept).append(original)
        if (of_these or noted) and not dry_run:
            # To overwrite what is deleted takes room; to remember what is to be deleted takes hardly any.
            with self.changes() as database:
                original_rows.note_undiscarded(database, gone)
            with self.changes() as database:
                for original in discarded:
                    original_rows.delete(database, original)
                database.execute("DELETE FROM undiscarded")  # also of sessions that are here again
                left = {each for original in kept for each in original.sessions}
                original_rows.note_undiscarded(database, gone & left)
            with self._connected() as database:
                database.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(original.size for original in discarded)

    def _undiscarded(self) -> list[str]:
        """Sessions that were deleted for good, and of which not all that is kept could be deleted."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'undiscarded'", ()):
            return []
        return [session_id for (session_id,) in self._rows("SELECT session_id FROM undiscarded", ())]

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
        yield from original_rows.decompressed(self._parts(original))

    def _parts(self, original: Original) -> Iterator[bytes]:
        """The rows, one at a time: what is restored may be long, and others wait."""
        part = "SELECT begins, data FROM parts WHERE original = ? AND begins > ? AND begins < ?"
        part += " ORDER BY begins LIMIT 1"
        begins, ends = -1, 0
        while rows := self._rows(part, (original.id, begins, original.size)):
            begins, data = rows[0]
            if begins != ends and (ends or begins != HEAD):
                raise Damaged("a part is missing")
            yield data
            ends = begins + len(data)
        if ends < original.size:
            raise Damaged("its end is missing")

    def damaged(self, seconds: float) -> list[str]:
        """Sources whose bytes cannot be read to their end; others are tried each time, for `seconds`."""
        until = time.monotonic() + seconds
        try:
            originals = self.all()
        except OSError:
            return [NAME]
        damaged = [
            file.name for file in original_rows.files_in(self._files)
        ]  # those that could not be taken in just now
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

        Raises FileExistsError, unless `force` replaces the file that is there, and `Damaged`.
        """
        path = Path(original.path)
        if path.is_dir() and not path.is_symlink():
            raise IsADirectoryError(errno.EISDIR, "a folder is in its place")  # not for `force`
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
        self._take_in_files()
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
            database = databases.connected(
                self._path, original_rows.VERSION, original_rows.CREATE, keeps=True
            )
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._set_aside(error)
            database = databases.connected(
                self._path, original_rows.VERSION, original_rows.CREATE, keeps=True
            )
        database.isolation_level = None
        self._database = database
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

    def has_files(self) -> bool:
        """Whether there is the folder of an earlier version. One stat."""
        return self._files.exists()

    def take_in_some(self) -> bool:
        """Take in some of what an earlier version kept in a file for each original; whether there is more.

        What nothing describes stays where it is.
        """
        with self._taking_in:
            left = self._left
            if left is None:
                left = self._left = original_rows.files_in(self._files)[::-1]
            # The lock is held while rows are written: others get in before and after that.
            some = [(file, original_rows.described_by(file)) for file in reversed(left[-_TOGETHER:])]
            described = [(file, original) for file, original in some if original is not None]
            if described:
                with self._transaction() as database:
                    for file, original in described:
                        self._take_in(database, original, file)
                for folder in {file.parent for file, _ in described}:
                    files = [file for file, _ in described if file.parent == folder]
                    durable.remove([*files, *(file.with_suffix(".json") for file in files)])
            del left[len(left) - len(some) :]
            if not left:
                for folder in (*self._files.glob("*"), self._files):
                    with contextlib.suppress(OSError):  # there is none, or it is not empty
                        folder.rmdir()
            return bool(left)

    def _take_in_files(self) -> None:
        """Take in all: what is looked for may be there. Within a transaction that was done before it."""
        if self._changing != threading.get_ident():
            while self._left != [] and self.take_in_some():
                pass

    def _take_in(self, database: sqlite3.Connection, original: Original, file: Path) -> None:
        original.size = file.lstat().st_size
        taken = self.find(original.tool, original.path, original.generation, original.conversation)
        if taken is not None:
            if (taken.begun_at, taken.size) == (original.begun_at, original.size):
                return  # before a crash
            self.begin(original)
        original_rows.insert_file(database, original, file)


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
