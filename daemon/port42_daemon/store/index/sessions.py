"""Rows of sessions: what a list shows of each, and the lists, each read off an index in its order."""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from port42_daemon.store.interface import SessionFilter
from port42_protocol.encoding import encode
from port42_protocol.messages.records import ForkPoint, Parent, Summary
from port42_protocol.messages.sessions import ListedSession

SHORT_ID = 14
"""``cli-1757350466``: an id through its second, so that later sessions do not make it ambiguous."""
_MAX = 2**63 - 1
"""SQLite's largest integer."""

_COLUMNS = (
    *Summary.__struct_fields__,
    *("folded_title", "named", "last_seq", "fed_seq", "size", "mtime_ns", "used", "native", "source"),
)
SUMMARY = ", ".join(f"sessions.{name}" for name in Summary.__struct_fields__)
"""A summary's columns, in the order of its fields."""
_LISTED = (
    f"{SUMMARY}, (SELECT max(o.session_id) FROM sessions AS o WHERE o.session_id < sessions.session_id),"  # noqa: S608  # our own names
    " (SELECT min(o.session_id) FROM sessions AS o WHERE o.session_id > sessions.session_id)"
)
"""Those, and the ids before and after: a short id is the shortest prefix that neither of them has."""
_PARENT = "json_extract(sessions.parent, '$.session_id')"
_UPSERT = (
    f"INSERT INTO sessions ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # our own names
    f" ON CONFLICT (session_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
    + " RETURNING number"
)


class SessionUpdate(msgspec.Struct, frozen=True, gc=False):
    """A session's state, and the file it was read from.

    `titled`: whether its title was given when it was begun. `native` is its id in the tool that its last
    turn went to, `source` its id in the tool that it was imported from. After an append, `after_seq` is the
    seq before the first new record, and `keys` are the new rows of the table; None when that is not known.
    """

    summary: Summary
    last_seq: int
    size: int
    mtime_ns: int
    use: int
    titled: bool = False
    native: str | None = None
    source: str | None = None
    after_seq: int | None = None
    keys: tuple[tuple[str, str, str, int], ...] = ()


class IndexedSession(msgspec.Struct, frozen=True, gc=False):
    """A session's row; `fed_seq` is the last record whose message is indexed.

    It is negative where its messages must be read from its file, all of them: another number each time that
    the file is written anew, so that what was read of an earlier one is known by it.
    """

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


def known(database: sqlite3.Connection, session_id: str) -> IndexedSession | None:
    return all_known(database, [session_id]).get(session_id)


def all_known(database: sqlite3.Connection, session_ids: Iterable[str]) -> dict[str, IndexedSession]:
    rows = database.execute(
        "SELECT number, session_id, agent, named, last_seq, fed_seq, size, mtime_ns FROM sessions"
        " WHERE session_id IN (SELECT value FROM json_each(?))",
        (encode(list(session_ids)).decode(),),
    ).fetchall()
    return {row[1]: IndexedSession(*row) for row in rows}


def put(database: sqlite3.Connection, row: SessionUpdate, *, named: bool, fed_seq: int) -> int:
    """Insert or replace the session's row; returns its number."""
    *plain, tags, pinned, fork, parent = msgspec.structs.astuple(row.summary)
    values: list[Any] = [
        *(*plain, encode(tags).decode(), pinned),
        *(encode(origin).decode() if origin else None for origin in (fork, parent)),
        folded(row.summary.title) if row.summary.title else None,
        *(named, row.last_seq, fed_seq, row.size, row.mtime_ns, row.use, row.native, row.source),
    ]
    # A hand-edited file may have any number, and is listed all the same.
    values = [min(max(value, -_MAX), _MAX) if isinstance(value, int) else value for value in values]
    number: int = database.execute(_UPSERT, values).fetchone()[0]
    session_id, used = values[0], values[_COLUMNS.index("used")]
    database.execute("DELETE FROM tags WHERE session_id = ?", (session_id,))
    database.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(tag, used, session_id) for tag in tags])
    return number


def fed(database: sqlite3.Connection, rows: Iterable[tuple[int, int, bool]]) -> None:
    """Of each session's number: its records are in the index through `seq`, and whether it is named."""
    database.execute(
        "UPDATE sessions SET fed_seq = json_extract(value, '$[1]'), named = json_extract(value, '$[2]')"
        " FROM json_each(?) WHERE number = json_extract(value, '$[0]')",
        (encode(list(rows)).decode(),),
    )


def page(
    database: sqlite3.Connection, filters: SessionFilter, before: tuple[int, str] | None, limit: int
) -> list[ListRow]:
    query, values = page_query(filters, before)
    rows = database.execute(query, {**values, "limit": limit})
    return [ListRow(_listed(row), size, mtime_ns, use) for *row, size, mtime_ns, use in rows.fetchall()]


def page_query(filters: SessionFilter, before: tuple[int, str] | None) -> tuple[str, dict[str, Any]]:
    """The SQL of a page and its values: it walks one index in order, and never sorts."""
    values = {name: value for name, value in msgspec.structs.asdict(filters).items() if value is not None}
    pinned = values.pop("pinned", None)
    parent = values.pop("parent", None)
    table = "tags" if filters.tag is not None else "sessions"
    where = [f"{'tags' if name == 'tag' else 'sessions'}.{name} = :{name}" for name in values]
    if parent is None:
        where.append("sessions.parent IS NULL")
    else:
        where.append(f"{_PARENT} = :parent AND sessions.parent IS NOT NULL")
        values["parent"] = parent
    if pinned is not None:  # a constant, so that SQLite may use the index of pinned sessions
        where.append(f"sessions.pinned = {int(pinned)}")
    if filters.tag is not None:
        source = "tags CROSS JOIN sessions ON sessions.session_id = tags.session_id"
    else:
        source = f"sessions INDEXED BY {_best_index(filters)}"
    if before is not None:
        where.append(f"({table}.used, {table}.session_id) < (:use, :id)")
        values |= {"use": before[0], "id": before[1]}
    # Only our own names are put into the text; every value is bound.
    query = (
        f"SELECT {_LISTED}, sessions.size, sessions.mtime_ns, sessions.used FROM {source}"  # noqa: S608
        f" WHERE {' AND '.join(where)} ORDER BY {table}.used DESC, {table}.session_id DESC LIMIT :limit"
    )
    return query, values


def _best_index(filters: SessionFilter) -> str:
    """The SQL index with the fewest rows that the filter rejects."""
    if filters.parent is not None:
        return "by_parent"
    if filters.pinned:
        return "by_pin"
    if filters.cwd is not None:
        return "by_agent_folder" if filters.agent is not None else "by_folder"
    if filters.state is not None:
        return "by_agent_state" if filters.agent is not None else "by_state"
    return "by_agent" if filters.agent is not None else "by_use"


def with_prefix(database: sqlite3.Connection, prefix: str, agent: str | None, limit: int) -> list[Summary]:
    """Sessions whose id begins with `prefix`, newest use first."""
    return _between(database, "session_id", prefix, prefix + "\x7f", agent, limit)


def with_title(database: sqlite3.Connection, title: str, agent: str | None, limit: int) -> list[Summary]:
    """Sessions of that title, or where there is none, whose title begins so, in any case and normal form.

    Not those of sub-agents.
    """
    start = folded(title)
    column = "parent IS NULL AND folded_title"
    return _between(database, column, start, start, agent, limit) or _between(
        database, column, start, start + "\U0010ffff", agent, limit
    )


def _between(  # noqa: PLR0913, PLR0917  # the values of a query
    database: sqlite3.Connection, column: str, first: str, last: str, agent: str | None, limit: int
) -> list[Summary]:
    query = (
        f"SELECT {SUMMARY} FROM sessions WHERE {column} BETWEEN ? AND ?"  # noqa: S608  # our own column names
        " AND agent = coalesce(?, agent) ORDER BY used DESC, session_id DESC LIMIT ?"
    )
    return [Summary(*summary_values(row)) for row in database.execute(query, (first, last, agent, limit))]


def family(database: sqlite3.Connection, session_ids: Sequence[str]) -> list[ListedSession]:
    """Those of the sessions that there are, and the forks made of any of them, the oldest first."""
    query = (
        "WITH wanted (id) AS MATERIALIZED (SELECT value FROM json_each(?))"  # noqa: S608  # our own column names
        f" SELECT {_LISTED} FROM sessions WHERE session_id IN wanted UNION"
        f" SELECT {_LISTED} FROM sessions WHERE json_extract(forked_from, '$.session_id') IN wanted"
        " AND forked_from IS NOT NULL ORDER BY created_at, session_id"
    )
    rows = database.execute(query, (encode(session_ids).decode(),)).fetchall()
    return [_listed(row) for row in rows]


def early_forks(database: sqlite3.Connection, originals: Sequence[str]) -> list[tuple[str, str]]:
    """Sessions that begin with nothing of the one of `originals` that they are forks of, and that one.

    But for those to whose records other sessions refer.
    """
    query = (
        "SELECT session_id, json_extract(forked_from, '$.session_id') AS original FROM sessions AS fork"
        " WHERE original IN (SELECT value FROM json_each(?)) AND forked_from IS NOT NULL"
        " AND json_extract(forked_from, '$.seq') = 0 AND NOT EXISTS (SELECT 1 FROM sessions WHERE"
        " json_extract(forked_from, '$.session_id') = fork.session_id AND forked_from IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM sessions WHERE"
        " json_extract(parent, '$.session_id') = fork.session_id AND parent IS NOT NULL)"
    )
    return database.execute(query, (encode(originals).decode(),)).fetchall()


def by_native(database: sqlite3.Connection, native_ids: Sequence[str]) -> dict[str, str]:
    rows = database.execute(
        "WITH ids AS MATERIALIZED (SELECT value FROM json_each(?))"
        " SELECT value, session_id, used FROM ids JOIN sessions ON native = value UNION"
        " SELECT value, session_id, used FROM ids JOIN sessions ON source = value ORDER BY used",
        (encode(native_ids).decode(),),
    )
    return {native_id: session_id for native_id, session_id, _ in rows}


def folded(title: str) -> str:
    """A title as it is compared: in any case, and however its accents are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title).casefold())


def files(database: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Every session's file as it was when it was read: size and mtime_ns."""
    rows = database.execute("SELECT session_id, size, mtime_ns FROM sessions")
    return {session_id: (size, mtime_ns) for session_id, size, mtime_ns in rows}


def behind(database: sqlite3.Connection, limit: int) -> list[tuple[str, int, int]]:
    """Sessions with records that the index lacks: their `fed_seq`, and how many these are.

    Those that only grew come before those that are stale, and then the oldest use.
    """
    return database.execute(
        "SELECT session_id, fed_seq, last_seq - max(fed_seq, 0) FROM sessions INDEXED BY behind"
        " WHERE fed_seq < last_seq ORDER BY fed_seq < 0, used LIMIT ?",
        (limit,),
    ).fetchall()


def _listed(row: Sequence[Any]) -> ListedSession:
    """A session from its columns, `_LISTED`."""
    *columns, before, after = row
    session_id = columns[0]
    length = SHORT_ID
    while length < len(session_id) and any(
        other and other.startswith(session_id[:length]) for other in (before, after)
    ):
        length += 1
    return ListedSession(*summary_values(columns), short_id=session_id[:length])


def summary_values(row: Iterable[Any]) -> list[Any]:
    """The values of a `Summary`'s fields, from its columns."""
    *plain, tags, pinned, fork, parent = row
    return [
        *plain,
        msgspec.json.decode(tags, type=tuple[str, ...]),
        bool(pinned),
        msgspec.json.decode(fork, type=ForkPoint) if fork else None,
        msgspec.json.decode(parent, type=Parent) if parent else msgspec.UNSET,
    ]
