"""The snippet of a hit: one line, never too long, its marks on what was marked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.index.search import excerpt, literal, unmarked
from port42_daemon.store.index.tokens import MARK, UNMARK

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
