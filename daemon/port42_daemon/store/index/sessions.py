"""Rows of sessions: what a list shows of each, and the lists, each read off an index in its order."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from port42_daemon.store.interface import SessionFilter
from port42_protocol.messages.records import ForkPoint, Record, Summary
from port42_protocol.messages.sessions import ListedSession

SHORT_ID = 14
"""``cli-1757350466``: an id through its second, so that later sessions do not make it ambiguous."""
_MAX = 2**63 - 1
"""SQLite's largest integer."""
UNREAD = -1
"""The `fed_seq` of a session whose messages must be read from its file, all of them."""

SUMMARY = ", ".join(f"sessions.{name}" for name in Summary.__struct_fields__)
"""A summary's columns, in the order of its fields."""
_LISTED = (
    f"{SUMMARY}, (SELECT max(o.session_id) FROM sessions AS o WHERE o.session_id < sessions.session_id),"  # noqa: S608  # our own names
    " (SELECT min(o.session_id) FROM sessions AS o WHERE o.session_id > sessions.session_id)"
)
"""Those, and the ids before and after: a short id is the shortest prefix that neither of them has."""
_PLAIN = tuple(name for name in Summary.__struct_fields__ if name not in {"tags", "pinned", "forked_from"})
_ORIGIN = "json_extract(forked_from, '$.session_id')"
_AFTER_ANY_ID = "\x7f"
_AFTER_ANY_TEXT = "\U0010ffff"
_COLUMNS = (
    *Summary.__struct_fields__,
    *("folded_title", "named", "last_seq", "fed_seq", "size", "mtime_ns", "used"),
)
_UPSERT = (
    f"INSERT INTO sessions ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # our own names
    f" ON CONFLICT (session_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
    + " RETURNING number"
)


class SessionUpdate(msgspec.Struct, frozen=True, gc=False):
    """A session's state, the file it was read from, and the records that led there, if they are known.

    `records` end at `last_seq`; empty means that only the two ends were read.
    `titled`: whether its title was given when it was begun.
    """

    summary: Summary
    last_seq: int
    size: int
    mtime_ns: int
    use: int
    titled: bool = False
    records: tuple[Record, ...] = ()


class IndexedSession(msgspec.Struct, frozen=True, gc=False):
    """The indexed state of a session."""

    number: int
    session_id: str
    agent: str
    named: bool
    last_seq: int
    fed_seq: int
    size: int
    mtime_ns: int


class ListRow(msgspec.Struct, frozen=True, gc=False):
    """A session in a list, and the file it was read from."""

    session: ListedSession
    size: int
    mtime_ns: int
    use: int


# --- one session -----------------------------------------------------------------------------------


def known(database: sqlite3.Connection, session_id: str) -> IndexedSession | None:
    row = database.execute(
        "SELECT number, session_id, agent, named, last_seq, fed_seq, size, mtime_ns FROM sessions"
        " WHERE session_id = ?",
        (session_id,),
    ).fetchone()
    return IndexedSession(*row) if row else None


def put(database: sqlite3.Connection, row: SessionUpdate, *, named: bool, fed_seq: int) -> int:
    """Insert or replace the session's row; gives its number."""
    summary = row.summary
    fork = summary.forked_from
    values: list[Any] = [
        *(getattr(summary, name) for name in _PLAIN),
        msgspec.json.encode(summary.tags).decode(),
        summary.pinned,
        msgspec.json.encode(fork).decode() if fork else None,
        folded(summary.title) if summary.title else None,
        *(named, row.last_seq, fed_seq, row.size, row.mtime_ns, row.use),
    ]
    # A hand-edited file may have any number, and is listed all the same.
    values = [min(max(value, -_MAX), _MAX) if isinstance(value, int) else value for value in values]
    number: int = database.execute(_UPSERT, values).fetchone()[0]
    database.execute("DELETE FROM tags WHERE session_id = ?", (summary.session_id,))
    database.executemany(
        "INSERT INTO tags VALUES (?, ?, ?)",
        [(tag, values[-1], summary.session_id) for tag in summary.tags],
    )
    return number


def fed(database: sqlite3.Connection, number: int, seq: int, *, named: bool) -> None:
    """The session's messages are in the index through `seq`."""
    database.execute("UPDATE sessions SET fed_seq = ?, named = ? WHERE number = ?", (seq, named, number))


def remove(database: sqlite3.Connection, session_id: str) -> None:
    for table in ("keys", "tags", "sessions"):
        database.execute(f"DELETE FROM {table} WHERE session_id = ?", (session_id,))  # noqa: S608  # our own names


# --- lists ------------------------------------------------------------------------------------------


def page(
    database: sqlite3.Connection, filters: SessionFilter, before: tuple[int, str] | None, limit: int
) -> list[ListRow]:
    query, values = page_query(filters, before)
    rows = database.execute(query, {**values, "limit": limit})
    return [ListRow(_listed(row), size, mtime_ns, use) for *row, size, mtime_ns, use in rows.fetchall()]


def page_query(filters: SessionFilter, before: tuple[int, str] | None) -> tuple[str, dict[str, Any]]:
    """The SQL of a page and its values: it walks one index in order, and never sorts."""
    values = {name: value for name, value in msgspec.structs.asdict(filters).items() if value is not None}
    table = "tags" if filters.tag is not None else "sessions"
    where = [f"{'tags' if name == 'tag' else 'sessions'}.{name} = :{name}" for name in values]
    # A constant, so that SQLite may use the index of pinned sessions only.
    if filters.pinned:
        where = ["sessions.pinned = 1" if term.endswith(":pinned") else term for term in where]
    if filters.tag is not None:
        source = "tags CROSS JOIN sessions ON sessions.session_id = tags.session_id"
    else:
        source = f"sessions INDEXED BY {_best_index(filters)}"
    if before is not None:
        where.append(f"({table}.used, {table}.session_id) < (:use, :id)")
        values |= {"use": before[0], "id": before[1]}
    clause = f"WHERE {' AND '.join(where)} " if where else ""
    # Only our own names are put into the text; every value is bound.
    query = (
        f"SELECT {_LISTED}, sessions.size, sessions.mtime_ns, sessions.used FROM {source} {clause}"  # noqa: S608
        f"ORDER BY {table}.used DESC, {table}.session_id DESC LIMIT :limit"
    )
    return query, values


def _best_index(filters: SessionFilter) -> str:
    """The SQL index to read along: the one with the fewest rows that the filter rejects."""
    if filters.pinned:
        return "by_pin"
    if filters.cwd is not None:
        return "by_agent_folder" if filters.agent is not None else "by_folder"
    if filters.state is not None:
        return "by_agent_state" if filters.agent is not None else "by_state"
    return "by_agent" if filters.agent is not None else "by_use"


def with_prefix(database: sqlite3.Connection, prefix: str, agent: str | None, limit: int) -> list[Summary]:
    """Sessions whose id begins with `prefix`, newest use first."""
    return _matching(database, "session_id", (prefix, prefix + _AFTER_ANY_ID), agent, limit)


def with_title(database: sqlite3.Connection, title: str, agent: str | None, limit: int) -> list[Summary]:
    """Sessions of that title, or where there is none, whose title begins so, in any case and normal form."""
    start = folded(title)
    return _matching(database, "folded_title", (start, start), agent, limit) or _matching(
        database, "folded_title", (start, start + _AFTER_ANY_TEXT), agent, limit
    )


def family(database: sqlite3.Connection, session_ids: Sequence[str]) -> list[ListedSession]:
    """Those of the sessions that there are, and the forks made of any of them, the oldest first."""
    query = (
        "WITH wanted (id) AS MATERIALIZED (SELECT value FROM json_each(?))"  # noqa: S608  # our own column names
        f" SELECT {_LISTED} FROM sessions WHERE session_id IN wanted UNION"
        f" SELECT {_LISTED} FROM sessions WHERE {_ORIGIN} IN wanted AND forked_from IS NOT NULL"
        " ORDER BY created_at, session_id"
    )
    rows = database.execute(query, (msgspec.json.encode(session_ids).decode(),)).fetchall()
    return [_listed(row) for row in rows]


def folded(title: str) -> str:
    """A title as it is compared: in any case, and however its accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title).casefold())


def latest_use(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(max(used), 0) FROM sessions").fetchone()[0])


def counts(database: sqlite3.Connection) -> dict[str, int]:
    return dict(database.execute("SELECT agent, count(*) FROM sessions GROUP BY agent"))


def sizes(database: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    rows = database.execute("SELECT agent, count(*), sum(size) FROM sessions GROUP BY agent")
    return {agent: (count, size) for agent, count, size in rows}


def newest(database: sqlite3.Connection) -> dict[str, str]:
    # SQLite: bare columns beside max() come from the row that has it (lang_select, 2.5).
    rows = database.execute(
        "SELECT agent, session_id, max(printf('%016d', used) || session_id) FROM sessions GROUP BY agent"
    )
    return {agent: session_id for agent, session_id, _ in rows}


def files(database: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Every session's file as it was when it was read: size and mtime_ns."""
    return {
        session_id: (size, mtime_ns)
        for session_id, size, mtime_ns in database.execute("SELECT session_id, size, mtime_ns FROM sessions")
    }


def behind(database: sqlite3.Connection) -> list[tuple[str, int]]:
    """Sessions with messages that the index lacks, and how many records each has; oldest use first."""
    return database.execute(
        "SELECT session_id, last_seq FROM sessions INDEXED BY behind WHERE fed_seq < last_seq ORDER BY used"
    ).fetchall()


def _matching(
    database: sqlite3.Connection, column: str, between: Iterable[str], agent: str | None, limit: int
) -> list[Summary]:
    query = (
        f"SELECT {SUMMARY} FROM sessions WHERE {column} BETWEEN ? AND ?"  # noqa: S608  # our own column names
        " AND agent = coalesce(?, agent) ORDER BY used DESC, session_id DESC LIMIT ?"
    )
    return [Summary(**summary_fields(row)) for row in database.execute(query, (*between, agent, limit))]


def _listed(row: Sequence[Any]) -> ListedSession:
    """A session from its columns, `_LISTED`."""
    *columns, before, after = row
    return ListedSession(**summary_fields(columns), short_id=_short_id(columns[0], before or "", after or ""))


def _short_id(session_id: str, before: str, after: str) -> str:
    """The shortest prefix, of `SHORT_ID` or more, that its neighbours in the order do not share."""
    length = SHORT_ID
    while length < len(session_id):
        prefix = session_id[:length]
        if not before.startswith(prefix) and not after.startswith(prefix):
            break
        length += 1
    return session_id[:length]


def summary_fields(row: Iterable[Any]) -> dict[str, Any]:
    *plain, tags, pinned, fork = row
    return {
        **dict(zip(_PLAIN, plain, strict=True)),
        "tags": msgspec.json.decode(tags, type=tuple[str, ...]),
        "pinned": bool(pinned),
        "forked_from": msgspec.json.decode(fork, type=ForkPoint) if fork else None,
    }
