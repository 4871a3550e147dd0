"""The file `index.db`: its tables, how it is opened, checked and made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from port42_daemon.store.index.tokens import TOKENIZE, unpack

SCHEMA = 5
_CREATE = """
CREATE TABLE sessions (
  number INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, title TEXT,
  state TEXT NOT NULL, created_at TEXT NOT NULL, last_activity TEXT NOT NULL,
  message_count INTEGER NOT NULL, cwd TEXT, tags TEXT NOT NULL, pinned INTEGER NOT NULL, forked_from TEXT,
  folded_title TEXT, named INTEGER NOT NULL, last_seq INTEGER NOT NULL, fed_seq INTEGER NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
);
CREATE INDEX by_use ON sessions (last_activity, session_id);
CREATE INDEX by_agent ON sessions (agent, last_activity, session_id);
CREATE INDEX by_folder ON sessions (cwd, last_activity, session_id) WHERE cwd IS NOT NULL;
CREATE INDEX by_agent_folder ON sessions (agent, cwd, last_activity, session_id) WHERE cwd IS NOT NULL;
CREATE INDEX by_state ON sessions (state, last_activity, session_id);
CREATE INDEX by_agent_state ON sessions (agent, state, last_activity, session_id);
CREATE INDEX by_pin ON sessions (last_activity, session_id) WHERE pinned = 1;
CREATE INDEX by_title ON sessions (folded_title, last_activity, session_id);
CREATE INDEX by_origin ON sessions (json_extract(forked_from, '$.session_id'))
  WHERE forked_from IS NOT NULL;
CREATE INDEX behind ON sessions (last_activity) WHERE fed_seq < last_seq;

CREATE TABLE tags (
  tag TEXT, last_activity TEXT, session_id TEXT, PRIMARY KEY (tag, last_activity, session_id)
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

CREATE TABLE messages (
  number INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, seq INTEGER NOT NULL,
  role TEXT NOT NULL, timestamp TEXT NOT NULL, packed NOT NULL
);
CREATE UNIQUE INDEX by_place ON messages (session, seq);
"""
# Contentless: the text is in `messages`, and is told again to be taken back.
_WORDS = f"text, parts, facets, content = '', tokenize = {TOKENIZE}"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is bad, so that only a new one helps."""
    code = getattr(error, "sqlite_errorcode", None)  # errors of the module itself have none
    return code is not None and code & 0xFF in _DAMAGED


class Database:
    """Two connections to one file: `writing`, and `reading`, which never waits for the other one.

    Whoever uses one keeps others from it. `sqlite3.Error` may leave every method; both connections
    raise it while there is no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections: list[sqlite3.Connection] = []

    @property
    def writing(self) -> sqlite3.Connection:
        """The connection that changes what is there."""
        return self._connection(0)

    @property
    def reading(self) -> sqlite3.Connection:
        """The connection that only looks."""
        return self._connection(1)

    @property
    def is_open(self) -> bool:
        """Whether there is a file to ask."""
        return bool(self._connections)

    @property
    def size(self) -> int:
        """The file's bytes, 0 where there is none."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def open(self) -> None:
        """Open or make the file; one that is damaged or of another schema is made anew.

        Raises sqlite3.Error and OSError where not even that can be had.
        """
        try:
            self._connect()
            if self.writing.execute("PRAGMA user_version").fetchone()[0] == SCHEMA:
                return
        except sqlite3.DatabaseError:
            pass
        self.begin_anew()

    def mend(self) -> bool:
        """Begin anew where the file opens and is damaged inside; whether it was.

        The lists are looked through, which takes milliseconds. The words are not: what is bad in
        them is noticed by whoever meets it.
        """
        try:
            checks = ("sessions", "tags", "keys", "activity", "turns")
            if all(
                self.writing.execute(f"PRAGMA quick_check({one})").fetchone()[0] == "ok" for one in checks
            ):
                return False
        except sqlite3.ProgrammingError:  # it could not even be opened
            raise
        except sqlite3.DatabaseError:
            pass
        self.begin_anew()
        return True

    def begin_anew(self) -> None:
        """An empty index in place of whatever is there. Raises sqlite3.Error, OSError."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        try:
            self._connect()
            with self.writing as database:
                database.executescript(_CREATE)
                database.execute(f"CREATE VIRTUAL TABLE words USING fts5 ({_WORDS})")
                database.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        while self._connections:
            with contextlib.suppress(sqlite3.Error):
                self._connections.pop().close()

    def _connect(self) -> None:
        self.close()
        for _ in range(2):
            database = sqlite3.connect(self._path, check_same_thread=False)
            self._connections.append(database)
            database.create_function("unpack", 1, unpack, deterministic=True)
            # Derived data: a lost last transaction is caught up with, a torn file is made anew.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            # What is deleted is overwritten: a session that was pruned must not be read here.
            database.execute("PRAGMA secure_delete = ON")
        self._connections[1].execute("PRAGMA query_only = ON")

    def _connection(self, which: int) -> sqlite3.Connection:
        if not self._connections:
            raise sqlite3.ProgrammingError("the index is closed")
        return self._connections[which]
