"""The text of messages in the index, stored so that it can be searched, shown, and deleted completely."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from port42_daemon.store.index import stats
from port42_daemon.store.index.tokens import facets, pack, parts, spaced
from port42_protocol.messages.records import Message, Record, Summary

TITLE = "title"
"""The role under which a session's own title and tags are found, at seq 0."""


def add(
    database: sqlite3.Connection,
    number: int,
    agent: str,
    records: Collection[Record],
    *,
    with_text: bool = True,
) -> None:
    """Index the text of `records` and count them; `number` is the session's. Events have no text."""
    for record in records:
        if with_text and isinstance(record, Message):
            _insert(database, number, record.seq, agent, record.role, record.timestamp, record.content)
    stats.add(database, number, records)


def add_keys(database: sqlite3.Connection, session: Summary, records: Iterable[Record]) -> None:
    """Put in which of `records` stand for which idempotency key; of a fork, only its own."""
    own = session.forked_from.seq if session.forked_from else 0
    database.executemany(
        "INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?)",
        [
            (session.agent, record.key, session.session_id, record.seq)
            for record in records
            if isinstance(record, Message) and record.key and record.seq > own
        ],
    )


def with_key(
    database: sqlite3.Connection, agent: str, key: str, session_id: str | None
) -> tuple[str, int] | None:
    """Session and seq of the message that `agent` recorded under `key`, in that session or in any."""
    return database.execute(  # type: ignore[no-any-return]  # sqlite3 types rows as Any
        "SELECT session_id, seq FROM keys WHERE agent = ? AND key = ?"
        " AND session_id = coalesce(?, session_id) ORDER BY session_id LIMIT 1",
        (agent, key, session_id),
    ).fetchone()


def name(database: sqlite3.Connection, number: int, session: Summary, *, named: bool) -> None:
    """Index the tags and a given title; one derived from the first message is found there."""
    words = " ".join([session.title or ""] * named + [f"#{tag}" for tag in session.tags])
    before = database.execute(
        "SELECT unpack(packed) FROM messages WHERE session = ? AND seq = 0", (number,)
    ).fetchone()
    if (before[0] if before else "") == spaced(words):
        return
    if before:
        _delete(database, "session = ? AND seq = 0", number)
    if words:
        _insert(database, number, 0, session.agent, TITLE, session.created_at, words)


def remove(database: sqlite3.Connection, number: int) -> None:
    """Delete everything that was indexed of a session."""
    _delete(database, "session = ?", number)
    stats.remove(database, number)


def _insert(  # noqa: PLR0913, PLR0917  # the columns of a row
    database: sqlite3.Connection, number: int, seq: int, agent: str, role: str, timestamp: str, content: str
) -> None:
    text = spaced(content)
    row = database.execute(
        "INSERT INTO messages (session, seq, role, timestamp, packed) VALUES (?, ?, ?, ?, ?)",
        (number, seq, role, timestamp, pack(text)),
    ).lastrowid
    database.execute(
        "INSERT INTO words (rowid, text, parts, facets) VALUES (?, ?, ?, ?)",
        (row, text, parts(text), facets(agent, role, timestamp)),
    )


def _delete(database: sqlite3.Connection, which: str, number: int) -> None:
    """FTS5 deletes a row when it is given the indexed text (fts5.html, 6.3)."""
    rows = database.execute(
        "SELECT messages.number, unpack(packed), agent, role, timestamp FROM messages"  # noqa: S608  # our own words
        f" JOIN sessions ON sessions.number = session WHERE {which}",
        (number,),
    )
    for row, text, agent, role, timestamp in rows:
        database.execute(
            "INSERT INTO words (words, rowid, text, parts, facets) VALUES ('delete', ?, ?, ?, ?)",
            (row, text, parts(text), facets(agent, role, timestamp)),
        )
    database.execute(f"DELETE FROM messages WHERE {which}", (number,))  # noqa: S608
