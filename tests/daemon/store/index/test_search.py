"""The snippet of a hit: one line, never too long, its marks on what was marked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.index import messages, search
from port42_daemon.store.index.entries import Entry, prepare
from port42_daemon.store.index.messages import add
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.schema import Database, is_damage
from port42_daemon.store.index.search import excerpt, literal, unmarked
from port42_daemon.store.index.sessions import SessionUpdate, known, put
from port42_daemon.store.index.tokens import MARK, UNMARK
from port42_protocol.messages.records import Summary

AT = "2026-01-01T00:00:00.000Z"

PIECE = st.tuples(st.text("ab \n", max_size=150), st.text("XY", min_size=1, max_size=5))
PIECES = st.lists(PIECE, max_size=8)


def test_marks_that_touch_are_one():
    assert unmarked(f"a{MARK}b{UNMARK}{MARK}c{UNMARK} {MARK}d{UNMARK}") == ("abc d", [(1, 3), (4, 5)])
    assert unmarked("") == ("", [])


@given(PIECES, st.text("ab ", max_size=300))
def test_a_snippet_is_one_line_of_the_text_with_its_first_marks_in_place(pieces, end):
    text, marks = unmarked("".join(f"{before}{MARK}{hit}{UNMARK}" for before, hit in pieces) + end)
    piece, inside = excerpt(text, marks)
    assert "\n" not in piece
    assert len(piece) <= 202
    assert piece.strip("…") in text.replace("\n", " ")
    assert bool(inside) == bool(marks)
    for mark in inside:
        assert set(piece[mark.start : mark.end]) <= set("XY")
        assert mark.end > mark.start >= 0


def test_where_most_marks_are_is_shown():
    text = "X" + " a" * 300 + " X X X" + " b" * 300
    marks = [(at, at + 1) for at, character in enumerate(text) if character == "X"]
    piece, inside = excerpt(text, marks)
    assert len(inside) == 3
    assert piece.startswith("…")
    assert piece.endswith("…")


def test_words_inside_an_identifier_are_marked():
    assert literal("parseHttpRequest", ["HttpRequest"]) == [(5, 16)]
    assert literal("a.b", ["."]) == [(1, 2)]
    assert literal("abc", []) == []


@pytest.fixture
def database():
    database = Database(Path("unused"))
    database.open_in_memory()
    yield database.writing
    database.close()


def fill(database, entries):
    summary = Summary("cli-1", "a", None, "active", AT, AT, len(entries), None)
    with database:
        number = put(database, SessionUpdate(summary, len(entries), 1, 1, 1), named=False, fed_seq=0)
        add(database, [(number, prepare("a", entries))])


def seqs(database, text, offset=0, limit=100, upto=None):
    hits, upto, more = search.page(database, parse(text), upto, offset, limit)
    return [hit.seq for hit in hits], upto, more


def test_messages_come_before_what_was_done(database):
    roles = ["tool", "user", "thought", "assistant", "tool", "plan", "error"]
    fill(database, [Entry(seq, role, AT, f"zebra {role}") for seq, role in enumerate(roles, 1)])
    order, upto, more = seqs(database, "zebra")
    assert (order[:3], sorted(order[3:]), more) == ([7, 4, 2], [1, 3, 5, 6], False)
    pages = [seqs(database, "zebra", offset, 2, upto) for offset in range(0, 8, 2)]
    assert [seq for page, *_ in pages for seq in page] == order
    assert [more for *_, more in pages] == [True, True, True, False]
    assert seqs(database, "zebra role:tool")[0] == [5, 1]


def test_a_hit_in_a_long_text_shows_the_words_around_it(database):
    text = "start " + "abc " * 20_000 + "the zebra " + "def " * 20_000
    fill(database, [Entry(1, "tool", AT, text), Entry(2, "tool", AT, "ÉCOLE " + "abc " * 20_000)])
    for word, shown in (("zebra", "zebra"), ("ecole", "ÉCOLE")):
        (hit,), *_ = search.page(database, parse(word), None, 0, 10)
        assert [hit.snippet[mark.start : mark.end] for mark in hit.marks] == [shown]
        assert len(hit.snippet) <= 202
        assert hit.snippet.startswith("…") == (word == "zebra")
        assert hit.snippet.endswith("…")


def test_texts_in_blocks_are_told_apart(database):
    """Blocks end at 16,000 characters; each text is shown, and deleted, as itself."""
    texts = [f"unique{number} " + "x " * (number * 700) for number in range(40)]
    fill(database, [Entry(seq, "user", AT, text) for seq, text in enumerate(texts, 1)])
    for number in (0, 1, 17, 39):
        (hit,), *_ = search.page(database, parse(f"unique{number}"), None, 0, 10)
        assert (hit.seq, hit.snippet[: len(f"unique{number} ")]) == (number + 1, f"unique{number} ")
    with database:
        messages.remove(database, [known(database, "cli-1")])
    assert seqs(database, "x")[0] == []
    database.execute("INSERT INTO said (said, rank) VALUES ('integrity-check', 0)")
    assert database.execute("SELECT count(*) FROM blocks").fetchone()[0] == 0


@pytest.mark.parametrize("packed", ["x'00'", "'[]'", "'{}'"])
def test_a_text_that_cannot_be_read_is_damage(database, packed):
    fill(database, [Entry(1, "user", AT, "zebra")])
    database.execute(f"UPDATE blocks SET packed = {packed}")
    for meet in (
        lambda: seqs(database, "zebra"),
        lambda: messages.remove(database, [known(database, "cli-1")]),
    ):
        with pytest.raises(sqlite3.DatabaseError) as caught:
            meet()
        assert is_damage(caught.value)


def test_a_text_that_is_gone_is_damage_unless_its_words_are_gone_too(database):
    fill(database, [Entry(1, "user", AT, "zebra"), Entry(2, "tool", AT, "zebra")])
    order, upto, _ = seqs(database, "zebra")
    assert order == [1, 2]
    with database:
        messages.remove(database, [known(database, "cli-1")])
    assert seqs(database, "zebra", upto=upto)[0] == [], "the ranking is remembered"
    for role in ("user", "tool"):
        fill(database, [Entry(1, role, AT, f"okapi {role}")])
        database.execute("DELETE FROM blocks")
        with pytest.raises(sqlite3.DatabaseError) as caught:
            seqs(database, f"okapi {role}")
        assert is_damage(caught.value)
