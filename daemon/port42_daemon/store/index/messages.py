"""The text of records in the index, stored so that it can be searched, shown, and deleted completely.

Each text has a number, its rowid in `said` or `done`, FTS5 tables without content. The texts, with what is
shown beside each, are compressed in blocks: one holds those of consecutive numbers, all of one session.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from port42_daemon.store.index import stats
from port42_daemon.store.index.entries import TITLE, Entry, Texts, columns, prepare, unpack
from port42_daemon.store.index.schema import damaged, insert
from port42_daemon.store.index.sessions import IndexedSession
from port42_daemon.store.index.tokens import spaced
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Summary

_BLOCKS_REMOVED = 16
"""Blocks of text that are deleted at once: a query may wait so long."""
_ERASURE = 0
"""In `removed` instead of a session's number: what is left of deleted text is to be overwritten."""
_HUB_FORK = f"hub-{'[0-9a-f]' * 20}"
"""A GLOB of the ids of forks that a hub makes: of what was recorded in a session here while another machine
went on with it."""
_WITH_HUB_FORKS = """
WITH RECURSIVE family (id) AS (
  SELECT ? UNION
  SELECT session_id FROM sessions JOIN family ON json_extract(forked_from, '$.session_id') = id
  WHERE forked_from IS NOT NULL AND session_id GLOB ?
) SELECT id FROM family
"""


def add(database: sqlite3.Connection, sessions: Iterable[tuple[int, Texts]]) -> None:
    """Index texts of sessions, each with its number."""
    base: int = database.execute("SELECT next FROM counter").fetchone()[0]
    blocks: list[tuple[Any, ...]] = []
    words: dict[str, list[tuple[Any, ...]]] = {"said": [], "done": []}
    for session, texts in sessions:
        blocks += [(base + number, session, *block) for number, *block in texts.blocks]
        for table, values in texts.words.items():
            words[table] += [(base + number, text, parts, facets) for number, text, parts, facets in values]
        base += texts.entries
    insert(database, "blocks", blocks)
    for table, gathered in words.items():
        # One statement for all: FTS5 writes what it gathered at the end of each that has several rows.
        insert(database, "stage", gathered)
        database.execute(f"INSERT INTO {table} (rowid, text, parts, facets) SELECT * FROM stage")  # noqa: S608  # our own names
        database.execute("DELETE FROM stage")
    database.execute("UPDATE counter SET next = ?", (base,))


def add_keys(database: sqlite3.Connection, rows: Sequence[tuple[str, str, str, int]]) -> None:
    """Agent, key, session and seq of each."""
    insert(database, "keys", rows)


def with_hub_forks(database: sqlite3.Connection, session_id: str) -> list[str]:
    """The session, and the forks that a hub made of it: who repeats a request does not know of these."""
    return [row[0] for row in database.execute(_WITH_HUB_FORKS, (session_id, _HUB_FORK))]


def with_key(
    database: sqlite3.Connection, agent: str, key: str, sessions: Sequence[str] | None
) -> tuple[str, int] | None:
    """Session and seq of the message that `agent` recorded under `key`, in those sessions or in any."""
    names = None if sessions is None else encode(sessions).decode()
    return database.execute(  # type: ignore[no-any-return]  # sqlite3 types rows as Any
        "SELECT session_id, seq FROM keys WHERE agent = ? AND key = ?"
        " AND (? IS NULL OR session_id IN (SELECT value FROM json_each(?))) ORDER BY session_id LIMIT 1",
        (agent, key, names, names),
    ).fetchone()


def name(database: sqlite3.Connection, sessions: Sequence[tuple[int, Summary, bool]]) -> None:
    """Index the tags and a given title of sessions, each with its number and whether its title was given.

    A title derived from the first message is found there.
    """
    numbers = encode([number for number, *_ in sessions]).decode()
    rows = database.execute(
        "SELECT session FROM blocks WHERE session IN (SELECT value FROM json_each(?)) AND seq = 0",
        (numbers,),
    )
    known = {number for (number,) in rows}
    new = []
    for number, session, named in sessions:
        words = spaced(" ".join([session.title or ""] * named + [f"#{tag}" for tag in session.tags]))
        if number in known:
            if [entry.text for _, entry in _texts(database, number, "AND seq = 0")] == [words]:
                continue
            _delete(database, number, session.agent, "AND seq = 0")
        if words:
            new.append((number, prepare(session.agent, [Entry(0, TITLE, session.created_at, words)])))
    if new:
        add(database, new)


def remove(database: sqlite3.Connection, sessions: Sequence[IndexedSession]) -> None:
    """Delete everything that was indexed of sessions, but for their rows."""
    numbers = encode([session.number for session in sessions]).decode()
    rows = database.execute(
        "SELECT DISTINCT session FROM blocks WHERE session IN (SELECT value FROM json_each(?))", (numbers,)
    )
    with_text = {number for (number,) in rows}
    for session in sessions:
        if session.number in with_text:
            _delete(database, session.number, session.agent)
    stats.remove(database, numbers)
    ids = encode([session.session_id for session in sessions]).decode()
    database.execute("DELETE FROM keys WHERE session_id IN (SELECT value FROM json_each(?))", (ids,))


def remove_later(database: sqlite3.Connection, session: IndexedSession) -> None:
    """Delete the row and the keys of a session: without them, its text is in no answer."""
    database.execute("INSERT INTO removed VALUES (?, ?)", (session.number, session.agent))
    for table in ("keys", "tags", "sessions"):
        database.execute(f"DELETE FROM {table} WHERE session_id = ?", (session.session_id,))  # noqa: S608


def remove_some(database: sqlite3.Connection) -> bool:
    """Delete some of the text of a session that is gone; whether there was any."""
    row = database.execute("SELECT number, agent FROM removed WHERE number <> ?", (_ERASURE,)).fetchone()
    if row is None:
        return False
    number, agent = row
    beyond = database.execute(
        "SELECT number FROM blocks WHERE session = ? ORDER BY number LIMIT 1 OFFSET ?",
        (number, _BLOCKS_REMOVED),
    ).fetchone()
    _delete(database, number, agent, f"AND number < {beyond[0]}" if beyond else "")
    if beyond is None:
        stats.remove(database, f"[{number}]")
        database.execute("DELETE FROM removed WHERE number = ?", (number,))
    return True


def set_erasure(database: sqlite3.Connection, *, due: bool) -> None:
    if due:
        database.execute("INSERT OR IGNORE INTO removed VALUES (?, '')", (_ERASURE,))
    else:
        database.execute("DELETE FROM removed WHERE number = ?", (_ERASURE,))


def erasure_is_due(database: sqlite3.Connection) -> bool:
    return database.execute("SELECT 1 FROM removed WHERE number = ?", (_ERASURE,)).fetchone() is not None


def _delete(database: sqlite3.Connection, number: int, agent: str, which: str = "") -> None:
    """FTS5 deletes a row when it is given the indexed text (fts5.html, 6.3)."""
    for message, entry in _texts(database, number, which):
        table, row = columns(agent, entry)
        database.execute(
            f"INSERT INTO {table} ({table}, rowid, text, parts, facets) VALUES ('delete', ?, ?, ?, ?)",  # noqa: S608
            (message, *row),
        )
    database.execute(f"DELETE FROM blocks WHERE session = ? {which}", (number,))  # noqa: S608  # our own words


def _texts(database: sqlite3.Connection, session: int, which: str) -> Iterator[tuple[int, Entry]]:
    """The numbers and entries of a session's blocks; `which` says of which of these."""
    blocks = database.execute(
        f"SELECT number, entries, packed FROM blocks WHERE session = ? {which} ORDER BY number",  # noqa: S608
        (session,),
    )
    for number, count, packed in blocks:
        yield from enumerate(_unpacked(packed, count), number)


def entry(database: sqlite3.Connection, number: int) -> tuple[int, Entry] | None:
    """The session's number and the entry with this number; None if it was deleted."""
    block = database.execute(
        "SELECT number, session, entries, packed FROM blocks WHERE number <= ? ORDER BY number DESC LIMIT 1",
        (number,),
    ).fetchone()
    if block and number < block[0] + block[2]:
        first, session, count, packed = block
        return session, _unpacked(packed, count)[number - first]
    for table in ("said", "done"):
        if database.execute(f"SELECT 1 FROM {table} WHERE rowid = ?", (number,)).fetchone():  # noqa: S608
            raise damaged("a text is missing")
    return None


def _unpacked(packed: str | bytes, count: int) -> list[Entry]:
    try:
        entries = unpack(packed)
    except (ValueError, TypeError):
        raise damaged("a text cannot be read") from None
    if len(entries) != count:
        raise damaged("a text is missing")
    return entries
