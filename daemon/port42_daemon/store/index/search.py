"""A query's hits: which messages, in which order, and what is shown of each.

Ranking is BM25 by words that fewer than `_COMMON` messages have: to rank by others would mean to read all of
those. Where a query has only common words, the newest messages come first.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from msgspec import UNSET

from port42_daemon.store.index import messages
from port42_daemon.store.index.entries import Entry
from port42_daemon.store.index.query import Query
from port42_daemon.store.index.sessions import SUMMARY, summary_values
from port42_daemon.store.index.tokens import MARK, TOKENIZE, UNMARK, parts, shown
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import Hit, Mark

_COMMON = 4_000
MOST_HITS = 1_000
"""Hits that can be paged through."""
_LENGTH, _BEFORE = 200, 60
"""Characters of a snippet: in all, and at most before its first mark."""
_STEP_BACK = 20
_MARKS_LOOKED_AT = 200
_WINDOW = 4_000
"""Characters of a long text in which the words are marked."""
_AS_SPACE = {ord(char): " " for char in "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029"}

Span = tuple[int, int]
"""A mark: the offset of its first character, and the one behind its last."""


def page(
    database: sqlite3.Connection, query: Query, upto: int | None, offset: int, limit: int
) -> tuple[list[Hit], int, bool]:
    """`limit` hits from `offset` on, of the messages numbered through `upto` (None: all there are now).

    Returns them, the number they go through, and whether there are more.
    """
    if upto is None:
        upto = database.execute("SELECT next - 1 FROM counter").fetchone()[0]
    numbers = _ranked(database, "said", query, upto)
    if len(numbers) <= offset + limit:
        numbers = (numbers + _ranked(database, "done", query, upto))[:MOST_HITS]
    return _hits(database, query, numbers[offset : offset + limit]), upto, len(numbers) > offset + limit


@lru_cache(maxsize=32)  # whoever asks for the next page goes on in the same order
def _ranked(database: sqlite3.Connection, table: str, query: Query, upto: int) -> list[int]:
    """The numbers of the best rows of an FTS5 table, best first, and of equals the newest."""
    rare = " AND ".join(term for term in query.terms if _is_rare(database, table, term))
    # With a rare word these are all; without, the newest.
    matches = f"FROM {table} WHERE {table} MATCH ? AND rowid <= ?"
    rows = database.execute(
        f"SELECT rowid {matches} ORDER BY rowid DESC LIMIT ?",  # our own names, here and below
        (query.expression, upto, _COMMON if rare else MOST_HITS),
    )
    newest = [number for (number,) in rows]
    if not rare:
        return newest
    # The facets say nothing of how well a message fits.
    scores: dict[int, float] = dict(
        database.execute(f"SELECT rowid, bm25({table}, 1.0, 0.5, 0.0) {matches}", (rare, upto)).fetchall()
    )
    return sorted(newest, key=lambda number: (scores.get(number, 0.0), -number))[:MOST_HITS]


def _is_rare(database: sqlite3.Connection, table: str, term: str) -> bool:
    matches = database.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT ?)",  # noqa: S608
        (term, _COMMON),
    )
    return bool(matches.fetchone()[0] < _COMMON)


def _hits(database: sqlite3.Connection, query: Query, numbers: list[int]) -> list[Hit]:
    """The hits of these numbers in their order; messages deleted meanwhile are omitted.

    FTS5 marks the words in a table of their own: in the big one it would look up every word of the query,
    and every word that begins so, once for each message.
    """
    located = {number: known for number in numbers if (known := messages.entry(database, number))}
    rows = database.execute(
        f"SELECT number, {SUMMARY} FROM sessions WHERE number IN (SELECT value FROM json_each(?))",  # noqa: S608
        (encode(list({session for session, _ in located.values()})).decode(),),
    )
    sessions = {session: Summary(*summary_values(columns)) for session, *columns in rows}
    located = {number: known for number, known in located.items() if known[0] in sessions}
    texts = {number: _window(entry.text, query.words) for number, (_, entry) in located.items()}
    with contextlib.closing(sqlite3.connect(":memory:")) as table:
        table.execute(f"CREATE VIRTUAL TABLE page USING fts5 (text, parts, facets, tokenize = {TOKENIZE})")
        table.executemany(
            "INSERT INTO page (rowid, text, parts) VALUES (?, ?, ?)",
            [(number, text, parts(text)) for number, text in texts.items()],
        )
        marked: dict[int, str] = {}
        if query.terms:
            highlight = "SELECT rowid, highlight(page, 0, ?, ?) FROM page WHERE page MATCH ?"
            marked = dict(table.execute(highlight, (MARK, UNMARK, " OR ".join(query.terms))).fetchall())
    return [
        _hit(query, sessions[session], entry, marked.get(number, texts[number]))
        for number, (session, entry) in located.items()
    ]


def _window(text: str, words: Sequence[str]) -> str:
    """Of a long text the piece around the first of the words, as the snippet shows no more."""
    if len(text) <= _WINDOW:
        return text
    first = min((begin for begin, _ in literal(text, words)[:1]), default=None)
    if first is None:
        return text
    start = max(0, first - 2 * _BEFORE)
    return text[start : start + _WINDOW]


def _hit(query: Query, session: Summary, entry: Entry, marked: str) -> Hit:
    text, marks = unmarked(shown(marked))
    snippet, inside = excerpt(text, marks or literal(text, query.words))
    return Hit(session, entry.seq, entry.role, entry.timestamp, snippet, inside, entry.author or UNSET)


def unmarked(text: str) -> tuple[str, list[Span]]:
    """The text without `MARK` and `UNMARK`, and what stood between them. Marks that touch are one."""
    plain: list[str] = []
    marks: list[Span] = []
    position = 0
    for number, piece in enumerate(re.split(f"[{MARK}{UNMARK}]", text)):
        if number % 2 and piece:
            begins = marks.pop()[0] if marks and marks[-1][1] == position else position
            marks.append((begins, position + len(piece)))
        plain.append(piece)
        position += len(piece)
    return "".join(plain), marks


def literal(text: str, words: Sequence[str]) -> list[Span]:
    """Where `words` stand in the text to the letter, case aside: inside identifiers FTS5 marks nothing."""
    if not words:
        return []
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return [match.span() for match in re.finditer(either, text, re.IGNORECASE) if match[0]]


def excerpt(text: str, marks: Sequence[Span]) -> tuple[str, tuple[Mark, ...]]:
    """One line of the text with as many of the marks as fit, and where they are in it."""
    first = _best(marks)
    start = 0
    if len(text) > _LENGTH and first > _BEFORE:
        start = min(first - _BEFORE, len(text) - _LENGTH)
        space = text.find(" ", start, min(start + _STEP_BACK, first))
        start = start if space < 0 else space + 1
    end = min(len(text), start + _LENGTH)
    before, after = "…" * (start > 0), "…" * (end < len(text))
    shift = len(before) - start
    inside = tuple(
        Mark(max(begin, start) + shift, min(stop, end) + shift)
        for begin, stop in marks
        if begin < end and stop > start
    )
    return before + text[start:end].translate(_AS_SPACE) + after, inside


def _best(marks: Sequence[Span]) -> int:
    """The beginning of the mark with the most others behind it within a snippet."""
    begins = [begin for begin, _ in marks[:_MARKS_LOOKED_AT]]
    reach = _LENGTH - _BEFORE
    return max(begins, key=lambda begin: sum(begin <= other < begin + reach for other in begins), default=0)
