"""Text as it is indexed: nothing of it is lost, and identifiers come apart where a person would say so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.index.entries import Entry, pack, unpack
from port42_daemon.store.index.tokens import MARK, UNMARK, facets, parts, shown, spaced


@given(st.text().filter(lambda text: not {MARK, UNMARK, "\u200b"} & set(text)))
def test_indexed_text_can_be_shown_again(text):
    entries = [Entry(seq, "user", "", spaced(text * times)) for seq, times in ((1, 1), (2, 50))]
    assert [shown(kept.text) for kept in unpack(pack(entries))] == [text, text * 50]


def test_marks_are_removed_from_indexed_text():
    assert spaced(f"a{MARK}b{UNMARK}c") == "a b c"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("parseHttpRequest", "parse Http Request HttpRequest"),
        ("XMLParser2x", "XML Parser 2 x Parser2x 2x"),
        ("Hello World HTTP 42 utf8 snake_case", ""),
        ("a getURL() b", "get URL"),
        ("aB" * 40, ""),
    ],
)
def test_identifiers_in_pieces(text, pieces):
    assert parts(text) == pieces


def test_a_megabyte_without_a_space_has_no_pieces():
    """Splitting it would take minutes."""
    assert parts("a" * 1_000_000 + "B" * 1_000_000 + "aB" * 500_000) == ""


def test_a_message_is_found_by_its_year_its_month_and_its_day():
    said = facets("ai", "user", "2025-09-08T23:59:59.999Z")
    assert said.split() == ["a6169", "ruser", "y2025", "m202509", "d20250908"]
