"""The database `index.db`: its tables; opening, checking, recreating, and the replacement in memory."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from port42_daemon.store.index.tokens import TOKENIZE

SCHEMA = 14
_CREATE = """
CREATE TABLE sessions (
  number INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, title TEXT,
  state TEXT NOT NULL, created_at TEXT NOT NULL, last_activity TEXT NOT NULL,
  message_count INTEGER NOT NULL, cwd TEXT, tags TEXT NOT NULL, pinned INTEGER NOT NULL,
  forked_from TEXT, parent TEXT,
  folded_title TEXT, named INTEGER NOT NULL, last_seq INTEGER NOT NULL, fed_seq INTEGER NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, used INTEGER NOT NULL, native TEXT, source TEXT
);
CREATE INDEX by_use ON sessions (used, session_id) WHERE parent IS NULL;
CREATE INDEX by_agent ON sessions (agent, used, session_id) WHERE parent IS NULL;
CREATE INDEX by_folder ON sessions (cwd, used, session_id) WHERE parent IS NULL AND cwd IS NOT NULL;
CREATE INDEX by_agent_folder ON sessions (agent, cwd, used, session_id)
  WHERE parent IS NULL AND cwd IS NOT NULL;
CREATE INDEX by_state ON sessions (state, used, session_id) WHERE parent IS NULL;
CREATE INDEX by_agent_state ON sessions (agent, state, used, session_id) WHERE parent IS NULL;
CREATE INDEX by_pin ON sessions (used, session_id) WHERE parent IS NULL AND pinned = 1;
CREATE INDEX by_parent ON sessions (json_extract(parent, '$.session_id'), used, session_id)
  WHERE parent IS NOT NULL;
CREATE INDEX by_title ON sessions (folded_title, used, session_id);
CREATE INDEX by_native ON sessions (native) WHERE native IS NOT NULL;
CREATE INDEX by_source ON sessions (source) WHERE source IS NOT NULL;
CREATE INDEX by_origin ON sessions (json_extract(forked_from, '$.session_id'))
  WHERE forked_from IS NOT NULL;
CREATE INDEX behind ON sessions (used) WHERE fed_seq < last_seq;

CREATE TABLE tags (
  tag TEXT, used INTEGER, session_id TEXT, PRIMARY KEY (tag, used, session_id)
) WITHOUT ROWID;
CREATE INDEX tags_of ON tags (session_id);

CREATE TABLE keys (
  agent TEXT, key TEXT, session_id TEXT, seq INTEGER, PRIMARY KEY (agent, key, session_id)
) WITHOUT ROWID;
CREATE INDEX keys_of ON keys (session_id);

CREATE TABLE activity (
  session INTEGER, hour TEXT, user INTEGER NOT NULL, assistant INTEGER NOT NULL, failed INTEGER NOT NULL,
  PRIMARY KEY (session, hour)
) WITHOUT ROWID;
CREATE TABLE turns (
  session INTEGER, hour TEXT, backend TEXT, model TEXT,
  turns INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
  PRIMARY KEY (session, hour, backend, model)
) WITHOUT ROWID;

CREATE TABLE tools (
  session INTEGER, hour TEXT, name TEXT,
  calls INTEGER NOT NULL, failed INTEGER NOT NULL, total_ms INTEGER NOT NULL,
  PRIMARY KEY (session, hour, name)
) WITHOUT ROWID;

CREATE TABLE blocks (
  number INTEGER PRIMARY KEY, session INTEGER NOT NULL, seq INTEGER NOT NULL, entries INTEGER NOT NULL,
  packed NOT NULL
);
CREATE UNIQUE INDEX by_place ON blocks (session, seq);
CREATE TABLE removed (number INTEGER PRIMARY KEY, agent TEXT NOT NULL);
CREATE TABLE counter (next INTEGER NOT NULL);
INSERT INTO counter VALUES (1);
"""
# Contentless: the text is in `blocks`, and is given again when it is deleted.
_WORDS = f"text, parts, facets, content = '', tokenize = {TOKENIZE}"
_STAGE = "CREATE TEMP TABLE stage (number INTEGER PRIMARY KEY, text, parts, facets)"
_SETTINGS = {"hashsize": 8 * 1024 * 1024, "automerge": 0, "crisismerge": 1_000, "usermerge": 16}
"""Of FTS5: words that it gathers in memory before it writes them; that it merges what it wrote only when
it is told to (`IndexWriter.merge`); and how many segments of about the same size it then merges.

By itself it would merge while an index is made, and write everything three times.
"""
_ROOM = 1024 * 1024
"""Bytes free on the disk with which it is worth going back from memory to the file."""
CHECK_SECONDS = 10.0
"""For all pages of the file; what is not looked at by then is not said to be bad."""
_CHECK_STEPS = 10_000
"""SQLite's instructions between two looks at the clock."""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FORMAT}
_DAMAGED_READS = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_FSTAT}
_REASONS = {
    sqlite3.SQLITE_FULL: "no space left on device",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_BUSY: "another program has locked it",
    sqlite3.SQLITE_LOCKED: "another program has locked it",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged",
    sqlite3.SQLITE_IOERR: "the disk failed",
}


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is bad, so that only a new one helps."""
    code = getattr(error, "sqlite_errorcode", None)  # errors of the module itself have none
    return code is not None and (code & 0xFF in _DAMAGE or code in _DAMAGED_READS)


def damaged(text: str) -> sqlite3.DatabaseError:
    """The error of a file that is bad inside."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def reason(error: BaseException) -> str:
    """The reason of a database error, without a path."""
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno else "the disk refused"
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_WRITE:
        return "it cannot be written (is the disk full?)"
    return _REASONS.get((code or 0) & 0xFF, "the index failed")


class Database:
    """Two connections to one file: `writing`, and `reading`, which never waits for the other one.

    `write_lock` is held by whoever uses `writing`, `read_lock` by whoever uses `reading`, and both by
    whoever calls a method. Each may raise `sqlite3.Error`, as do both connections while nothing is open.
    """

    def __init__(self, path: Path) -> None:
        self.write_lock, self.read_lock = threading.RLock(), threading.Lock()
        self._path = path
        # unix-excl: no other process can lock or change the file meanwhile, and what both connections share
        # of the WAL is in our memory, not in an index.db-shm whose truncation would end us with SIGBUS.
        self._uri = f"{path.absolute().as_uri()}?vfs=unix-excl"
        self._files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
        self.writing = self.reading = sqlite3.connect(":memory:", check_same_thread=False)
        self.close()
        self.in_memory = False
        self.generation = 0
        """Incremented whenever another database takes the place of this one."""

    @property
    def size(self) -> int:
        """Bytes of all its files: what is new is in the WAL at first."""
        total = 0
        for file in self._files:
            with contextlib.suppress(OSError):
                total += file.stat().st_size
        return total

    def open(self) -> None:
        """Open the file; one that is missing, damaged or of another schema is created anew."""
        try:
            if stat.S_ISREG(self._path.lstat().st_mode):
                # SQLite takes a folder, pipe or link in the place of the WAL for a full disk.
                for beside in self._files[1:]:
                    if os.path.lexists(beside) and not stat.S_ISREG(beside.lstat().st_mode):
                        _clear(beside)
                self._connect()
                if self._is_sound():
                    return
        except FileNotFoundError:
            pass
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise  # a full disk, say: the file may be good
        self.create()

    def create(self) -> None:
        """Put an empty index in place of whatever is there."""
        self.close()
        for path in self._files:
            _clear(path)
        try:
            self._connect()
            _create_tables(self.writing)
        except sqlite3.Error:
            self.close()
            raise

    def open_in_memory(self) -> None:
        """An empty index in memory, for as long as the file cannot be used."""
        self.close()
        self.generation += 1
        self.in_memory = True
        self.writing = self.reading = _connect(":memory:")
        self.writing.execute(_STAGE)
        _create_tables(self.writing)

    def can_be_used(self) -> bool:
        """Whether the file can be opened and written now. Called while the index is in memory."""
        other = Database(self._path)
        try:
            other.open()
            with other.writing:
                other.writing.execute(f"PRAGMA user_version = {SCHEMA}")
            disk = os.statvfs(self._path.parent)
            return disk.f_bavail * disk.f_frsize >= _ROOM
        except (sqlite3.Error, OSError):
            return False
        finally:
            other.close()

    def check(self) -> None:
        """Read every row but the text. Raises sqlite3.DatabaseError where the file is bad inside.

        Takes milliseconds. Damage in the text is noticed by the query that meets it.
        """
        for table in ("sessions", "tags", "keys", "activity", "turns", "tools"):
            result = self.writing.execute(f"PRAGMA quick_check({table})").fetchone()[0]
            if result != "ok":
                raise damaged(result)

    def problem(self) -> str | None:
        """The problem of the file, as text after its name. Takes no lock, and a few seconds at most."""
        try:
            if not stat.S_ISREG(self._path.lstat().st_mode):
                return "is not a file"
            with contextlib.closing(_connect(self._uri)) as database:
                return None if _check_pages(database) else "is damaged"
        except FileNotFoundError:
            return "is gone"
        except sqlite3.Error as error:
            why = reason(error)
            return "is damaged" if why == _REASONS[sqlite3.SQLITE_CORRUPT] else f"cannot be read: {why}"

    def close(self) -> None:
        for database in (self.writing, self.reading):
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def _connect(self) -> None:
        self.close()
        self.generation += 1
        self.in_memory = False
        self.writing = _connect(self._uri)
        self.reading = _connect(self._uri)
        for database in (self.writing, self.reading):
            # Derived data: a lost last transaction is read again, a torn file is made anew.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA wal_autocheckpoint = 4000")
            # What is deleted is overwritten: a session that was pruned must not be read here.
            database.execute("PRAGMA secure_delete = ON")
        self.writing.execute("PRAGMA temp_store = MEMORY")
        self.writing.execute(_STAGE)
        self.reading.execute("PRAGMA query_only = ON")

    def _is_sound(self) -> bool:
        """Whether the tables are those of this version, and none was changed or dropped."""
        version = self.writing.execute("PRAGMA user_version").fetchone()[0]
        fingerprint = self.writing.execute("PRAGMA application_id").fetchone()[0]
        return bool(version == SCHEMA and fingerprint == _fingerprint(self.writing))


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, timeout=1, uri=True, check_same_thread=False)


def _check_pages(database: sqlite3.Connection) -> bool:
    """Whether SQLite finds nothing wrong in the file, as far as it comes in time."""
    until = time.monotonic() + CHECK_SECONDS
    database.set_progress_handler(lambda: time.monotonic() > until, _CHECK_STEPS)
    try:
        return bool(database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        if time.monotonic() > until:
            return True
        raise


def _create_tables(database: sqlite3.Connection) -> None:
    with database:
        database.executescript(_CREATE)
        for table in ("said", "done"):
            database.execute(f"CREATE VIRTUAL TABLE {table} USING fts5 ({_WORDS})")
            for name, value in _SETTINGS.items():
                database.execute(f"INSERT INTO {table} ({table}, rank) VALUES (?, ?)", (name, value))  # noqa: S608  # our own names
        database.execute(f"PRAGMA application_id = {_fingerprint(database)}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")


def _fingerprint(database: sqlite3.Connection) -> int:
    """A positive number of 31 bits that says which tables and indexes there are."""
    rows = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    return zlib.crc32("\n".join(sql for (sql,) in rows).encode()) & 0x7FFFFFFF


def _clear(path: Path) -> None:
    """Remove the file at `path`; a folder, which may contain a user's files, is moved aside."""
    try:
        if stat.S_ISDIR(path.lstat().st_mode):
            path.rename(path.with_name(f"{path.name}.moved-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"))
        else:
            path.unlink()
    except FileNotFoundError:
        pass


_AT_ONCE = (256, 32, 4, 1)
"""Rows in a statement: each statement gives up the interpreter's lock, and waits for it afterwards.

Few sizes, because the module keeps statements, with the values that were given to them last.
"""


def insert(
    database: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]], conflict: str = "DO NOTHING"
) -> None:
    """Insert the rows; `conflict` is what SQLite does about a key that is there."""
    if not rows:
        return
    row = f"({', '.join('?' * len(rows[0]))})"
    begin = 0
    for size in _AT_ONCE:
        # Only our own names are put into the text.
        statement = f"INSERT INTO {table} VALUES {', '.join([row] * size)} ON CONFLICT {conflict}"  # noqa: S608
        while len(rows) - begin >= size:
            database.execute(statement, list(chain.from_iterable(rows[begin : begin + size])))
            begin += size
