"""Statistics as they are drawn: shades that say how much, in 80 columns."""

from __future__ import annotations

import io
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from port42_cli.views import stats_terminal as subject
from port42_protocol.messages.doctor_and_stats import AgentStats, ModelStats, Statistics


def drawn(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_of_bars():
    assert subject.spark([]) == ""
    assert subject.spark([0, 1, 7, 14]) == "·▂▅█"
    assert subject.spark([1] * 28) == "█" * 14
    assert subject.spark([0] * 5) == "·····"


@given(st.lists(st.integers(0, 10**9), max_size=400), st.integers(1, 60))
def test_bars_are_never_wider_and_show_whatever_there_is(values, width):
    line = subject.spark(values, width)
    assert len(line) == min(len(values), width)
    assert (line.strip("·") == "") == (not any(values))


def test_a_calendar_has_each_day_in_its_row():
    """2026-11-23 is a Monday."""
    lines = drawn(subject.calendar(date(2026, 11, 23), [1, 0, 4, 0, 0, 0, 0, 2]))
    assert lines[1:8] == ["Mon ░▒", "    ·", "Wed █", "    ·", "Fri ·", "    ·", "Sun ·"]
    assert lines[8] == "7 messages since 2026-11-23, at most 4 a day"


@given(
    st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.lists(st.integers(0, 10_000), min_size=1, max_size=900)
)
def test_any_calendar_fits_and_ends_with_its_last_day(since, days):
    lines = drawn(subject.calendar(since, days))
    assert all(len(line) <= 80 for line in lines)
    last = since + timedelta(days=len(days) - 1)
    rows = lines[1:8]
    assert max(map(len, rows)) == len(rows[last.weekday()])
    cells = sum(len(row[4:].replace(" ", "")) for row in rows)
    assert cells == min(len(days), cells)
    assert cells >= min(len(days), 7 * 51)


def test_all_of_it_fits_in_80_columns():
    agents = tuple(
        AgentStats(name, 1234, 99_999, 99_999, 321, 12_345_678, 2_345_678, 1, (1, 2) * 30)
        for name in ("ai-engineer-0", "ai-muse", "x" * 30)
    )
    models = (ModelStats("claude", "claude-sonnet-4-5", 12, 999, 1500), ModelStats("x", None, 1, 0, 0))
    found = Statistics("2026-09-25", (1, 2) * 30, tuple(range(24)), agents, models, complete=True)
    lines = drawn(subject.statistics(found))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["AGENT", "SESSIONS", "MESSAGES", "FAILED", "TOKENS", "IN", "OUT"]
    assert lines[1].split()[:7] == ["@ai-engineer-0", "1,234", "199,998", "321", "12.3", "M", "2.3"]
    assert "claude · claude-sonnet-4-5" in lines[6]
    assert "most between 23 and 00" in "".join(lines)
