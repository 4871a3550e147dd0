"""Statistics: agents and models in rows, days as a calendar, hours as a line, in 80 columns.

Shades say how much, so that nothing is lost without colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from port42_cli.plain_text import duration, latency, one_line
from port42_cli.views.parts import Column, Content, Line, Part, Span, Table, number
from port42_protocol.counting import count
from port42_protocol.messages.doctor_and_stats import AgentStats, ModelStats, Statistics, ToolStats

_BARS = "▁▂▃▄▅▆▇█"
_SHADES = (("·", "dim"), ("░", "green"), ("▒", "green"), ("▓", "green"), ("█", "bold green"))
_SPARK = 14
_TOOLS = 10
"""Tools that a terminal shows."""
_WEEKS = 52
_WEEKDAYS = ("Mon", "", "Wed", "", "Fri", "", "Sun")


def statistics(stats: Statistics) -> Iterator[Part]:
    """Agents, models and tools where there are any, the calendar, the hours.

    Scripts get a line for each agent (name, sessions, questions, replies, failed turns, tokens in and out,
    bytes, tool calls, those that failed), for each model (back end, name or nothing, turns, tokens in and
    out), for each tool (name, calls, failed ones, milliseconds), for each day and each hour with messages.
    """
    *columns, days = _AGENT
    called = [_CALLS] if stats.tools else []
    yield Table(stats.agents, (*columns, *called, days), _agent_cells)
    if stats.models:
        yield Line("")
        yield Table(stats.models, _MODEL, _model_cells)
    if stats.tools:
        yield Line("")
        yield Table(stats.tools[:_TOOLS], _TOOL, _tool_cells)
        yield Table(stats.tools[_TOOLS:], piped=_tool_cells)
        if (more := len(stats.tools) - _TOOLS) > 0:
            yield Line([(f"and {count(more, 'tool')} more", "dim")])
    since = date.fromisoformat(stats.since) if stats.since else None
    if since and any(stats.days):
        yield Line("")
        yield from calendar(since, stats.days)
        yield from (Line(""), *_hours(stats.hours, stats.zone))
        for day, messages in enumerate(stats.days):
            if messages:
                yield Line(None, piped=f"day\t{since + timedelta(days=day)}\t{messages}")
    for hour, messages in enumerate(stats.hours):
        if messages:
            yield Line(None, piped=f"hour\t{hour:02}\t{messages}")


def spark(values: Sequence[int], width: int = _SPARK) -> str:
    """`values` as a line of bars, the later ones to the right; added up where there are more than `width`."""
    if len(values) > width:
        edges = [len(values) * edge // width for edge in range(width + 1)]
        values = [sum(values[low:high]) for low, high in pairwise(edges)]
    most = max(values, default=0) or 1
    return "".join(_BARS[-(-value * (len(_BARS) - 1) // most)] if value else "·" for value in values)


def calendar(since: date, days: Sequence[int]) -> Iterator[Part]:
    """A column for each week of the last year, a row for each day of the week."""
    last = since + timedelta(days=len(days) - 1)
    first = max(since, last - timedelta(days=7 * _WEEKS - 1 - (6 - last.weekday())))
    shown = {since + timedelta(days=day): value for day, value in enumerate(days)}
    shown = {day: value for day, value in shown.items() if day >= first}
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    most = max(shown.values()) or 1
    yield Line([(f"    {_months(monday, weeks)}", "dim")], fit="crop")
    for weekday, name in enumerate(_WEEKDAYS):
        row: list[Span] = [(f"{name:4}", "dim")]
        for week in range(weeks):
            value = shown.get(monday + timedelta(days=7 * week + weekday))
            row.append((" ", "") if value is None else _SHADES[-(-value * (len(_SHADES) - 1) // most)])
        yield Line(row, fit="crop")
    total = count(sum(shown.values()), "message")
    yield Line([(f"{total} since {first.isoformat()}, at most {most:,} a day", "dim")])


def _months(monday: date, weeks: int) -> str:
    """The months' names, each over its first week, where there is room."""
    line = ""
    for week in range(weeks):
        day = monday + timedelta(days=7 * week)
        if day.day <= 7 and len(line) <= week and week + 3 <= max(weeks, 3):
            line = line.ljust(week) + f"{day:%b} "
    return line.rstrip()


def _hours(hours: Sequence[int], zone: str | None) -> Iterator[Part]:
    busiest = max(range(24), key=lambda hour: hours[hour])
    between = f"  most between {busiest:02} and {(busiest + 1) % 24:02} {zone or ''}".rstrip()
    yield Line([("Hours ", "dim"), (spark(hours, 24), "green"), (between, "dim")])
    yield Line([("      0     6     12    18", "dim")])


def _model(model: ModelStats) -> str:
    return f"{model.backend} · {model.model}" if model.model else model.backend


def _tokens(count: int) -> Content:
    if count >= 1000:
        return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count / 1e3:.1f} k"
    return str(count) if count else _NOTHING


def _agent_cells(agent: AgentStats) -> tuple[object, ...]:
    messages = (agent.user_messages, agent.assistant_messages, agent.failed_turns)
    return (
        f"@{agent.agent}",
        agent.sessions,
        *messages,
        agent.input_tokens,
        agent.output_tokens,
        agent.bytes,
        agent.tool_calls,
        agent.failed_tool_calls,
    )


def _model_cells(model: ModelStats) -> tuple[object, ...]:
    name = one_line(model.model or "")
    return ("model", model.backend, name, model.turns, model.input_tokens, model.output_tokens)


def _tool_cells(tool: ToolStats) -> tuple[object, ...]:
    return ("tool", one_line(tool.name), tool.calls, tool.failed, tool.total_ms)


def _time(milliseconds: int) -> Content:
    if milliseconds >= 60_000:
        return duration(milliseconds / 1000)
    return latency(milliseconds * 1000) if milliseconds else _NOTHING


def _failed(number: int) -> Content:
    return [(f"{number:,}", "yellow")] if number else _NOTHING


_NOTHING: list[Span] = [("–", "dim")]
_TOKENS: tuple[Column[Any], ...] = (
    Column("TOKENS IN", lambda row: _tokens(row.input_tokens), right=True),
    Column("OUT", lambda row: _tokens(row.output_tokens), right=True),
)
_AGENT: tuple[Column[AgentStats], ...] = (
    Column("AGENT", lambda agent: f"@{agent.agent}", "cyan"),
    number("SESSIONS", lambda agent: agent.sessions),
    number("MESSAGES", lambda agent: agent.user_messages + agent.assistant_messages),
    Column("FAILED", lambda agent: _failed(agent.failed_turns), right=True),
    *_TOKENS,
    Column("", lambda agent: spark(agent.days), "green", fit="crop"),
)
_MODEL: tuple[Column[ModelStats], ...] = (
    Column("MODEL", _model, fit="fold"),
    number("TURNS", lambda model: model.turns),
    *_TOKENS,
)
_CALLS: Column[AgentStats] = number("CALLS", lambda agent: agent.tool_calls)
_TOOL: tuple[Column[ToolStats], ...] = (
    Column("TOOL", lambda tool: tool.name, fit="ellipsis"),
    number("CALLS", lambda tool: tool.calls),
    Column("FAILED", lambda tool: _failed(tool.failed), right=True),
    Column("TIME", lambda tool: _time(tool.total_ms), right=True),
)
