"""The picker's lines: as wide as the terminal, and without control characters, whatever is in them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.formatted_text import fragment_list_to_text
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.picker.rows import cut, preview, row
from port42_protocol.messages.records import MESSAGES, Summary, ToolRecord

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def fit(title="build a parser", pinned=False, snippet=""):
    time = "2026-11-23T03:00:00.000Z"
    session = Summary("cli-1", "ai-engineer", title, "active", time, time, 12, None, pinned=pinned)
    return Fit((0, 0), session, snippet)


def message(role, content):
    return MESSAGES[role](seq=1, content=content, timestamp="2026-11-23T03:00:00Z")


def controls(drawn):
    """Characters that a terminal obeys."""
    return [
        character for character in drawn if unicodedata.category(character) == "Cc" or character == "\u202e"
    ]


def text(fragments):
    return fragment_list_to_text(fragments)


@given(st.text(), st.integers(1, 120))
def test_cut_has_the_columns_that_were_asked_for(words, width):
    whole = sum(max(0, get_cwidth(character)) for character in cut(words, width))
    assert whole == width


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("title", ["", "x", "日本語 " * 60, "\x1b[31mred\n\u202e", "a" * 200])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_row_fills_its_line_and_no_more(columns, title, pinned):
    drawn = text(row(fit(title, pinned), True, columns, NOW))
    assert get_cwidth(drawn) == columns
    assert controls(drawn) == []


def test_the_chosen_row_is_marked_without_colour():
    assert text(row(fit(), True, 80, NOW)).startswith("› 1 h ago")
    assert text(row(fit(), False, 80, NOW)).startswith("  1 h ago")


def test_a_preview_is_the_end_of_the_session():
    messages = [message("user", f"line {number}") for number in range(9)]
    drawn = text(preview(fit(), messages, 40, 3)).splitlines()
    assert drawn == ["user: line 6", "user: line 7", "user: line 8"]


def test_a_tool_call_is_a_line_of_the_preview():
    call = ToolRecord(
        seq=2,
        timestamp="2026-11-23T03:00:00Z",
        id="1",
        name="Bash",
        title="npm\x1b[2J test " * 9,
        state="done",
    )
    lines = text(preview(fit(), [message("user", "test it"), call], 40, 3)).splitlines()
    assert lines[0] == "user: test it"
    assert lines[1].startswith("▸ Bash: npm␛[2J test")
    assert get_cwidth(lines[1]) == 40


def test_the_snippet_of_a_hit_is_above_the_preview():
    messages = [message("assistant", "one\ntwo")]
    drawn = text(preview(fit(snippet="what fits"), messages, 40, 2)).splitlines()
    assert [line.rstrip() for line in drawn] == ["what fits", "           two"]


@given(st.lists(st.text(max_size=200), max_size=5), st.integers(20, 120), st.integers(1, 12))
def test_a_preview_keeps_its_lines_and_columns(contents, columns, lines):
    messages = [message("user", content) for content in contents]
    drawn = text(preview(fit(), messages, columns, lines)).split("\n")
    assert len(drawn) <= lines
    assert all(get_cwidth(line) <= columns for line in drawn)
    assert controls("".join(drawn)) == []
