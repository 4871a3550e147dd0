"""Statistics: shades that say how much, in 80 columns, and lines for scripts."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st
from peers.drawing import drawn_lines, piped

from port42_cli.views import stats as subject
from port42_protocol.messages.doctor_and_stats import AgentStats, ModelStats, Statistics, ToolStats


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
    lines = drawn_lines(subject.calendar(date(2026, 11, 23), [1, 0, 4, 0, 0, 0, 0, 2]))
    assert lines[1:8] == ["Mon ░▒", "    ·", "Wed █", "    ·", "Fri ·", "    ·", "Sun ·"]
    assert lines[8] == "7 messages since 2026-11-23, at most 4 a day"


@given(
    st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.lists(st.integers(0, 10_000), min_size=1, max_size=900)
)
def test_any_calendar_fits_and_ends_with_its_last_day(since, days):
    rows = drawn_lines(subject.calendar(since, days))[1:8]
    last = since + timedelta(days=len(days) - 1)
    assert max(map(len, rows)) == len(rows[last.weekday()])
    cells = sum(len(row[4:].replace(" ", "")) for row in rows)
    assert min(len(days), 7 * 51) <= cells <= len(days)


def test_statistics_fit_in_80_columns():
    agents = tuple(
        AgentStats(name, 1234, 99_999, 99_999, 321, 12_345_678, 2_345_678, 1, (1, 2) * 30)
        for name in ("ai-engineer-0", "ai-muse", "x" * 30)
    )
    models = (ModelStats("claude", "claude-sonnet-4-5", 12, 999, 1500), ModelStats("x", None, 1, 0, 0))
    stats = Statistics("2026-09-25", (1, 2) * 30, tuple(range(24)), agents, models, complete=True, zone="CET")
    lines = drawn_lines(subject.statistics(stats))
    assert lines[0].split() == ["AGENT", "SESSIONS", "MESSAGES", "FAILED", "TOKENS", "IN", "OUT"]
    assert lines[1].split()[:7] == ["@ai-engineer-0", "1,234", "199,998", "321", "12.3", "M", "2.3"]
    assert "claude · claude-sonnet-4-5" in lines[6]
    assert "most between 23 and 00 CET" in "".join(lines)


def test_hours_are_shown_as_they_were_counted_whatever_the_zone(timezone):
    timezone("Asia/Tokyo")
    agents = (AgentStats("a", 1, 2, 3, 4, 5, 6, 7, (0, 2)),)
    hours = (0,) * 7 + (2,) + (0,) * 16
    stats = Statistics("2026-02-28", (0, 2), hours, agents, (), complete=True)
    line = next(line for line in drawn_lines(subject.statistics(stats)) if line.startswith("Hours"))
    assert line.split("Hours ")[1].index("█") == 7
    assert "most between 07 and 08" in line


def test_a_script_gets_days_and_hours_with_messages_only():
    agents = (AgentStats("a", 1, 2, 3, 4, 5, 6, 7, (0, 2)),)
    models = (ModelStats("llm", None, 1, 2, 3),)
    hours = (0,) * 9 + (2,) + (0,) * 14
    stats = Statistics("2026-02-28", (0, 2), hours, agents, models, complete=True)
    assert piped(subject.statistics(stats)) == [
        "@a\t1\t2\t3\t4\t5\t6\t7\t0\t0",
        "model\tllm\t\t1\t2\t3",
        "day\t2026-03-01\t2",
        "hour\t09\t2",
    ]


def test_tools_are_shown_by_calls_and_a_terminal_gets_the_first_ten():
    agent = AgentStats("x" * 20, 1234, 99_999, 99_999, 321, 12_345_678, 2_345_678, 1, (1, 2), 123_456, 7)
    tools = tuple(
        ToolStats(f"tool-{number}", 100 - number, number % 2, 61_000 if number else 443)
        for number in range(12)
    )
    stats = Statistics("2026-02-28", (0, 2), (0,) * 24, (agent,), (), complete=True, tools=tools)
    lines = drawn_lines(subject.statistics(stats))
    headings = ["AGENT", "SESSIONS", "MESSAGES", "FAILED", "TOKENS", "IN", "OUT", "CALLS"]
    assert lines[0].split()[:8] == headings
    assert "123,456" in lines[1]
    assert lines[5].split() == ["tool-1", "99", "1", "1", "min"]
    assert [line.split() for line in lines[2:5]] == [
        [],
        ["TOOL", "CALLS", "FAILED", "TIME"],
        ["tool-0", "100", "–", "443", "ms"],
    ]
    assert lines[14] == "and 2 tools more"
    rows = [line for line in piped(subject.statistics(stats)) if line.startswith("tool")]
    assert rows[11] == "tool\ttool-11\t89\t1\t61000"
    assert len(rows) == 12
