"""`index.db`: summaries in SQLite, derived from the session files and rebuilt at will.

It answers what no single file can: lists, prefixes, titles, a folder's last session, and which
message an idempotency key stands for. Changes wait in memory and are written before the next
question, so an append never waits for it; after a crash `catch_up` finds what it missed by each
file's size and time.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from port42_protocol.messages import ForkPoint, ListedSession, Summary

SCHEMA = 2
SHORT_ID = 14
"""``cli-1757350466``: an id through its second, so that later sessions do not make it ambiguous."""

_CREATE = """
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, agent TEXT NOT NULL, title TEXT, state TEXT NOT NULL,
  created_at TEXT NOT NULL, last_activity TEXT NOT NULL, message_count INTEGER NOT NULL, cwd TEXT,
  tags TEXT NOT NULL, pinned INTEGER NOT NULL, forked_from TEXT,
  folded_title TEXT, last_seq INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_use ON sessions (last_activity, session_id);
CREATE INDEX by_agent ON sessions (agent, last_activity, session_id);
CREATE INDEX by_folder ON sessions (cwd, agent, last_activity, session_id);
CREATE INDEX by_title ON sessions (folded_title);
CREATE TABLE keys (
  agent TEXT, key TEXT, session_id TEXT, seq INTEGER, PRIMARY KEY (agent, key, session_id)
) WITHOUT ROWID;
CREATE INDEX by_session ON keys (session_id);
"""
_SUMMARY = ", ".join(one.name for one in fields(Summary))
_AFTER_ANY_ID = "\x7f"
_AFTER_ANY_TEXT = "\U0010ffff"


class Row(msgspec.Struct, frozen=True, gc=False):
    """What the index knows of one session, and of the file it was read from."""

    summary: Summary
    last_seq: int
    size: int
    mtime_ns: int
    keys: tuple[tuple[str, int], ...] = ()


class Index:
    """One connection, used by one thread at a time. `sqlite3.Error` may leave every method."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._pending: dict[str, list[Row]] = {}
        self._ready = threading.Event()
        self._closing = self._caught_up = False
        self._database: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or make the file; one that is damaged or of another schema is made anew.

        Raises sqlite3.Error and OSError where not even that can be had; questions then fail, too.
        """
        try:
            if self._connect().execute("PRAGMA user_version").fetchone()[0] == SCHEMA:
                return
        except sqlite3.DatabaseError:
            pass
        self._begin_anew()

    def interrupt(self) -> None:
        """Make a `catch_up` under way end early: the next start goes on where it stopped."""
        self._closing = True

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        with self._lock:
            if self._database is not None:
                # A row that came before its session was caught up with lacks the session's older keys.
                if self._caught_up:
                    with contextlib.suppress(sqlite3.Error):
                        self._write_pending()
                self._let_go()

    def note(self, row: Row) -> None:
        """Remember a session's new state; it is written before the next question is answered."""
        with self._lock:
            self._pending.setdefault(row.summary.session_id, []).append(row)
            if len(self._pending[row.summary.session_id]) > 64:
                self._merge(row.summary.session_id)

    def catch_up(self, files: Iterable[tuple[str, int, int]], read: Callable[[str, int], Row | None]) -> int:
        """Bring the index up to `files` (id, size, mtime_ns); gives how many were read.

        `read(session_id, after_seq)` gives a session's row with the keys after `after_seq`. Questions
        wait until this is done, and it never runs twice at once.
        """
        try:
            found = list(files)
            self._mend()
            with self._lock:
                known = {
                    row[0]: row[1:]
                    for row in self._db.execute("SELECT session_id, size, mtime_ns, last_seq FROM sessions")
                }
            changed = [
                (session_id, known.get(session_id, (0, 0, 0))[2])
                for session_id, size, mtime_ns in found
                if known.get(session_id, (0, 0, 0))[:2] != (size, mtime_ns)
            ]
            gone = known.keys() - {session_id for session_id, _, _ in found}
            with self._lock, self._db:
                for session_id in gone:
                    self._delete(session_id)
            for start in range(0, len(changed), 256):
                if self._closing:
                    break
                rows = [read(*one) for one in changed[start : start + 256]]
                with self._lock, self._db:
                    for row in rows:
                        if row is not None:
                            self._upsert(row)
            else:
                self._caught_up = True
            return len(changed)
        finally:
            self._ready.set()

    # --- questions ------------------------------------------------------------------------------

    def page(
        self,
        *,
        agent: str | None,
        cwd: str | None,
        state: str | None,
        before: tuple[str, str] | None,
        limit: int,
    ) -> list[ListedSession]:
        """Sessions by last use, newest first, from behind `before` (last_activity, session_id)."""
        wanted = {"agent": agent, "cwd": cwd, "state": state}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = [f"{name} = :{name}" for name in given]
        if before is not None:
            where.append("(last_activity, session_id) < (:activity, :id)")
            given |= {"activity": before[0], "id": before[1]}
        clause = f"WHERE {' AND '.join(where)} " if where else ""
        # Only names from the dict above are put into the text; every value is bound.
        query = (
            f"SELECT {_SUMMARY} FROM sessions {clause}"  # noqa: S608
            "ORDER BY last_activity DESC, session_id DESC LIMIT :limit"
        )
        with self._asking() as database:
            rows = database.execute(query, {**given, "limit": limit}).fetchall()
            return [ListedSession(**_fields(row), short_id=self._short_id(row[0])) for row in rows]

    def with_prefix(self, prefix: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `prefix`, newest use first."""
        return self._matching("session_id", prefix, prefix + _AFTER_ANY_ID, agent, limit)

    def with_title(self, title: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions of that title, or where there is none, whose title begins so. Case is folded."""
        folded = title.casefold()
        return self._matching("folded_title", folded, folded, agent, limit) or self._matching(
            "folded_title", folded, folded + _AFTER_ANY_TEXT, agent, limit
        )

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq of the message that `agent` recorded under `key`."""
        with self._asking() as database:
            return database.execute(  # type: ignore[no-any-return]  # sqlite3 types rows as Any
                "SELECT session_id, seq FROM keys WHERE agent = ? AND key = ?"
                " AND session_id = coalesce(?, session_id) ORDER BY session_id LIMIT 1",
                (agent, key, session_id),
            ).fetchone()

    def counts(self) -> dict[str, int]:
        """How many sessions each agent has."""
        with self._asking() as database:
            return dict(database.execute("SELECT agent, count(*) FROM sessions GROUP BY agent"))

    # --- care ---

    def sizes(self) -> dict[str, tuple[int, int]]:
        """How many sessions each agent has, and the bytes of their files."""
        with self._asking() as database:
            rows = database.execute("SELECT agent, count(*), sum(size) FROM sessions GROUP BY agent")
            return {agent: (count, size) for agent, count, size in rows}

    # --- end of care ---

    def newest(self) -> dict[str, str]:
        """For each agent, the session with the latest activity."""
        with self._asking() as database:
            # SQLite: bare columns beside max() come from the row that has it (lang_select, 2.5).
            rows = database.execute(
                "SELECT agent, session_id, max(last_activity || ' ' || session_id)"
                " FROM sessions GROUP BY agent"
            )
            return {agent: session_id for agent, session_id, _ in rows}

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _db(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.ProgrammingError("the index is closed")
        return self._database

    def _connect(self) -> sqlite3.Connection:
        database = self._database = sqlite3.connect(self._path, check_same_thread=False)
        # Derived data: a lost last transaction is caught up with, a torn file is made anew.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        return database

    def _mend(self) -> None:
        """Begin anew where the file opens and is damaged inside; questions would fail for ever."""
        try:
            if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok":
                return
        except sqlite3.ProgrammingError:  # it could not even be opened
            raise
        except sqlite3.DatabaseError:
            pass
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._let_go()
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        try:
            with self._connect() as database:
                database.executescript(_CREATE)
                database.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.Error:
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @contextlib.contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        self._ready.wait()
        with self._lock:
            self._write_pending()
            yield self._db

    def _write_pending(self) -> None:
        if self._pending:
            with self._db:
                for rows in self._pending.values():
                    for row in rows:
                        self._upsert(row)
            self._pending.clear()

    def _merge(self, session_id: str) -> None:
        """Keep one row for many: the last state, with the keys of all."""
        rows = self._pending[session_id]
        last = rows[-1]
        keys = tuple(key for row in rows for key in row.keys)
        self._pending[session_id] = [Row(last.summary, last.last_seq, last.size, last.mtime_ns, keys)]

    def _upsert(self, row: Row) -> None:
        title = row.summary.title
        values: list[Any] = [
            *_columns(row.summary),
            title.casefold() if title else None,
            row.last_seq,
            row.size,
            row.mtime_ns,
        ]
        self._db.execute(f"REPLACE INTO sessions VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608  # question marks only
        self._db.executemany(
            "INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?)",
            [(row.summary.agent, key, row.summary.session_id, seq) for key, seq in row.keys],
        )

    def _delete(self, session_id: str) -> None:
        self._db.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
        self._db.execute("DELETE FROM keys WHERE session_id = ?", (session_id,))

    def _matching(self, column: str, low: str, high: str, agent: str | None, limit: int) -> list[Summary]:
        query = (
            f"SELECT {_SUMMARY} FROM sessions WHERE {column} BETWEEN ? AND ?"  # noqa: S608  # our own column names
            " AND agent = coalesce(?, agent) ORDER BY last_activity DESC, session_id DESC LIMIT ?"
        )
        with self._asking() as database:
            return [Summary(**_fields(row)) for row in database.execute(query, (low, high, agent, limit))]

    def _short_id(self, session_id: str) -> str:
        """The shortest prefix, of `SHORT_ID` or more, that its neighbours in the order do not share."""
        neighbours = self._db.execute(
            "SELECT max(session_id) FROM sessions WHERE session_id < :id UNION ALL"
            " SELECT min(session_id) FROM sessions WHERE session_id > :id",
            {"id": session_id},
        )
        shared = max(_common(session_id, other or "") for (other,) in neighbours)
        return session_id[: max(shared + 1, SHORT_ID)]


_PLAIN = tuple(one.name for one in fields(Summary) if one.name not in {"tags", "pinned", "forked_from"})


def _columns(summary: Summary) -> list[Any]:
    """A summary's columns, in the order of its fields."""
    fork = summary.forked_from
    return [
        *(getattr(summary, name) for name in _PLAIN),
        msgspec.json.encode(summary.tags).decode(),
        summary.pinned,
        msgspec.json.encode(fork).decode() if fork else None,
    ]


def _fields(row: tuple[Any, ...]) -> dict[str, Any]:
    """A summary's fields from its columns."""
    *plain, tags, pinned, fork = row
    return {
        **dict(zip(_PLAIN, plain, strict=True)),
        "tags": msgspec.json.decode(tags, type=tuple[str, ...]),
        "pinned": bool(pinned),
        "forked_from": msgspec.json.decode(fork, type=ForkPoint) if fork else None,
    }


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
