"""A query's hits: which messages, in which order, and what is shown of each.

Ranking is BM25 by words that fewer than `_COMMON` messages have: to rank by others would mean to read all of
those. Where a query has only common words, the newest messages come first.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import OrderedDict
from typing import Any

from port42_daemon.store.index.query import Query
from port42_daemon.store.index.sessions import SUMMARY, summary_values
from port42_daemon.store.index.snippet import excerpt, literal, unmarked
from port42_daemon.store.index.tokens import MARK, TOKENIZE, UNMARK, facets, parts, shown
from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import Hit

_COMMON = 4_000
MOST_HITS = 1_000
"""Hits that can be paged through."""
_REMEMBERED = 16

_PAGE = f"CREATE VIRTUAL TABLE page USING fts5 (text, parts, facets, tokenize = {TOKENIZE})"


class Searches:
    """Ranked hits of the last queries: whoever asks for the next page goes on in the same order."""

    def __init__(self) -> None:
        self._ranked: OrderedDict[tuple[int, str, int], list[int]] = OrderedDict()

    def page(  # noqa: PLR0913, PLR0917  # what is asked, and of which database
        self,
        database: sqlite3.Connection,
        query: Query,
        upto: int | None,
        offset: int,
        limit: int,
        generation: int = 0,
    ) -> tuple[list[Hit], int, bool]:
        """`limit` hits from `offset` on, of the messages numbered through `upto` (None: all there are now).

        Returns them, the number they go through, and whether there are more.
        """
        if upto is None:
            upto = database.execute("SELECT coalesce(max(number), 0) FROM messages").fetchone()[0]
        key = generation, query.expression, upto  # in another database numbers mean other messages
        if key not in self._ranked:
            self._ranked[key] = _ranked(database, query, upto)
            if len(self._ranked) > _REMEMBERED:
                self._ranked.popitem(last=False)
        numbers = self._ranked[key]
        hits = _hits(database, query, numbers[offset : offset + limit])
        return hits, upto, len(numbers) > offset + limit


def _ranked(database: sqlite3.Connection, query: Query, upto: int) -> list[int]:
    """The numbers of the best messages, best first, and of equals the newest."""
    rare = " AND ".join(term for term in query.terms if _is_rare(database, term))
    # With a rare word these are all; without, the newest.
    rows = database.execute(
        "SELECT rowid FROM words WHERE words MATCH ? AND rowid <= ? ORDER BY rowid DESC LIMIT ?",
        (query.expression, upto, _COMMON if rare else MOST_HITS),
    )
    newest = [number for (number,) in rows]
    if not rare:
        return newest
    # The facets say nothing of how well a message fits.
    scores: dict[int, float] = dict(
        database.execute(
            "SELECT rowid, bm25(words, 1.0, 0.5, 0.0) FROM words WHERE words MATCH ? AND rowid <= ?",
            (rare, upto),
        ).fetchall()
    )
    return sorted(newest, key=lambda number: (scores.get(number, 0.0), -number))[:MOST_HITS]


def _is_rare(database: sqlite3.Connection, term: str) -> bool:
    matches = database.execute(
        "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)", (term, _COMMON)
    )
    return bool(matches.fetchone()[0] < _COMMON)


def _hits(database: sqlite3.Connection, query: Query, numbers: list[int]) -> list[Hit]:
    """The hits of these numbers in their order; messages deleted meanwhile are omitted.

    FTS5 marks the words in a table of their own: in the big one it would look up every word of the query,
    and every word that begins so, once for each message.
    """
    marks = ", ".join("?" * len(numbers))
    rows = database.execute(
        "SELECT messages.number, seq, role, timestamp, unpack(packed)"  # noqa: S608  # our own names
        f", {SUMMARY} FROM messages JOIN sessions ON sessions.number = session"
        f" WHERE messages.number IN ({marks})",
        numbers,
    ).fetchall()
    with contextlib.closing(sqlite3.connect(":memory:")) as page:
        page.execute(_PAGE)
        for number, _, role, timestamp, text, _, agent, *_ in rows:
            kept = (number, text, parts(text), facets(agent, role, timestamp))
            page.execute("INSERT INTO page (rowid, text, parts, facets) VALUES (?, ?, ?, ?)", kept)
        highlighted = page.execute(
            "SELECT rowid, highlight(page, 0, ?, ?) FROM page WHERE page MATCH ?",
            (MARK, UNMARK, query.expression),
        )
        marked: dict[int, str] = dict(highlighted.fetchall())
    hits = {number: _hit(query, row, marked.get(number, row[3])) for number, *row in rows}
    return [hits[number] for number in numbers if number in hits]


def _hit(query: Query, row: list[Any], marked: str) -> Hit:
    seq, role, timestamp, _, *session = row
    text, marks = unmarked(shown(marked))
    snippet, inside = excerpt(text, marks or literal(text, query.words))
    return Hit(Summary(*summary_values(session)), seq, role, timestamp, snippet, inside)
