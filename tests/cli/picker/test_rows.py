"""The picker's lines: as wide as the terminal, and without control characters, whatever is in them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers.drawing import controls
from prompt_toolkit.formatted_text import fragment_list_to_text as text
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.picker.rows import cut, row
from port42_protocol.messages.records import Summary

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def fit(title="build a parser", pinned=False):
    time = "2026-11-23T03:00:00.000Z"
    session = Summary("cli-1", "ai-engineer", title, "active", time, time, 12, None, pinned=pinned)
    return Fit((0, 0), session)


@given(st.text(), st.integers(1, 120))
def test_cut_has_the_columns_that_were_asked_for(words, width):
    whole = sum(max(0, get_cwidth(character)) for character in cut(words, width))
    assert whole == width


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 200])
@pytest.mark.parametrize("title", ["", "x", "日本語 " * 60, "\x1b[31mred\n\u202e", "a" * 200])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_row_fills_its_line_and_no_more(columns, title, pinned):
    drawn = text(row(fit(title, pinned), True, columns, NOW))
    assert get_cwidth(drawn) == columns
    assert controls(drawn) == []


def test_the_chosen_row_is_marked_without_colour():
    assert text(row(fit(), True, 80, NOW)).startswith("› 1 h ago")
    assert text(row(fit(), False, 80, NOW)).startswith("  1 h ago")


def test_a_narrow_row_keeps_the_title():
    assert "build a parser" in text(row(fit(), True, 40, NOW))
    assert "@ai-engineer" in text(row(fit(), True, 60, NOW))
    assert text(row(fit(), True, 80, NOW)).endswith(" 12")
