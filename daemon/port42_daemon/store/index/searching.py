"""A query's hits: which messages, in which order, and what is shown of each.

Ranking is BM25, by words that fewer than `_COMMON` messages hold. A word that is in more of them
says little about any, and to rank by it would mean to read them all: where a query has only such
words, the newest messages come first. So a search never takes longer than a few thousand messages do.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict

from port42_daemon.store.index.excerpt import excerpt, literal, unmarked
from port42_daemon.store.index.query import Query
from port42_daemon.store.index.sessions import SUMMARY, summary_fields
from port42_daemon.store.index.words import MARK, UNMARK, shown
from port42_protocol.messages import Hit, Summary

_COMMON = 4_000
MOST_HITS = 1_000
"""Hits that can be paged through."""
_REMEMBERED = 16


class Searches:
    """Ranked hits of the last queries: whoever asks for the next page goes on in the same order."""

    def __init__(self) -> None:
        self._ranked: OrderedDict[tuple[str, int], list[int]] = OrderedDict()

    def page(
        self, database: sqlite3.Connection, query: Query, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool]:
        """`limit` hits from `offset` on, of the messages numbered through `upto` (None: all there are now).

        Gives them, the number they go through, and whether there are more.
        """
        if upto is None:
            upto = database.execute("SELECT coalesce(max(number), 0) FROM messages").fetchone()[0]
        found = self._numbers(database, query, upto)
        numbers = found[offset : offset + limit]
        return _hits(database, query, numbers), upto, len(found) > offset + limit

    def forget(self) -> None:
        """The index was made anew: numbers mean other messages now."""
        self._ranked.clear()

    def _numbers(self, database: sqlite3.Connection, query: Query, upto: int) -> list[int]:
        key = query.expression, upto
        if key not in self._ranked:
            self._ranked[key] = _ranked(database, query, upto)
            if len(self._ranked) > _REMEMBERED:
                self._ranked.popitem(last=False)
        return self._ranked[key]


def _ranked(database: sqlite3.Connection, query: Query, upto: int) -> list[int]:
    """The numbers of the best messages, best first, and of equals the newest."""
    rare = " AND ".join(one for one in query.terms if _is_rare(database, one))
    # With a rare word these are all; without, the newest.
    newest = _newest(database, query.expression, upto, _COMMON if rare else MOST_HITS)
    if not rare:
        return newest
    scores = dict(
        database.execute(
            # The facets say nothing of how well a message fits.
            "SELECT rowid, bm25(words, 1.0, 0.5, 0.0) FROM words WHERE words MATCH ? AND rowid <= ?",
            (rare, upto),
        ).fetchall()
    )
    return sorted(newest, key=lambda number: (scores.get(number, 0.0), -number))[:MOST_HITS]


def _is_rare(database: sqlite3.Connection, term: str) -> bool:
    found = database.execute(
        "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)", (term, _COMMON)
    )
    return bool(found.fetchone()[0] < _COMMON)


def _newest(database: sqlite3.Connection, expression: str, upto: int, limit: int) -> list[int]:
    rows = database.execute(
        "SELECT rowid FROM words WHERE words MATCH ? AND rowid <= ? ORDER BY rowid DESC LIMIT ?",
        (expression, upto, limit),
    )
    return [number for (number,) in rows]


def _hits(database: sqlite3.Connection, query: Query, numbers: list[int]) -> list[Hit]:
    """What is shown of each; one that was deleted meanwhile is left out."""
    return [hit for number in numbers if (hit := _hit(database, query, number))]


def _hit(database: sqlite3.Connection, query: Query, number: int) -> Hit | None:
    row = database.execute(
        "SELECT messages.seq, messages.role, messages.timestamp, highlight(words, 0, ?, ?),"  # noqa: S608
        f" {SUMMARY} FROM words CROSS JOIN messages ON messages.number = words.rowid"
        " JOIN sessions ON sessions.number = messages.session"
        " WHERE words MATCH ? AND words.rowid = ?",
        (MARK, UNMARK, query.expression, number),
    ).fetchone()
    if row is None:
        return None
    seq, role, timestamp, marked, *session = row
    text, marks = unmarked(shown(marked))
    snippet, inside = excerpt(text, marks or literal(text, query.words))
    return Hit(Summary(**summary_fields(session)), seq, role, timestamp, snippet, inside)
