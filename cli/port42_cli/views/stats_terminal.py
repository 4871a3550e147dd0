"""Statistics at a terminal: agents and models in rows, days as a calendar, hours as a line. Like `render`.

Shades say how much, so that nothing is lost without colour; 80 columns are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from port42_cli.plain_text import count, one_line
from port42_protocol.messages.doctor_and_stats import AgentStats, ModelStats, Statistics

_BARS = "▁▂▃▄▅▆▇█"
_SHADES = (("·", "dim"), ("░", "green"), ("▒", "green"), ("▓", "green"), ("█", "bold green"))
_SPARK = 14
_WEEKS = 52
_NAMES = ("Mon", "", "Wed", "", "Fri", "", "Sun")


def statistics(found: Statistics) -> RenderableType:
    """Agents, models where there are any, the calendar, the hours."""
    parts: list[RenderableType] = [_agents(found.agents)]
    if found.models:
        parts += [Text(), _models(found.models)]
    if found.since and any(found.days):
        parts += [Text(), calendar(date.fromisoformat(found.since), found.days), Text(), _hours(found.hours)]
    return Group(*parts)


def spark(values: Sequence[int], width: int = _SPARK) -> str:
    """`values` as a line of bars, the later ones to the right; gathered where there are more than `width`."""
    if len(values) > width:
        edges = [len(values) * number // width for number in range(width + 1)]
        values = [sum(values[low:high]) for low, high in pairwise(edges)]
    most = max(values, default=0) or 1
    return "".join(_BARS[-(-one * (len(_BARS) - 1) // most)] if one else "·" for one in values)


def calendar(since: date, days: Sequence[int]) -> RenderableType:
    """A column for each week of the last year, a row for each day of the week."""
    last = since + timedelta(days=len(days) - 1)
    first = max(since, last - timedelta(days=7 * _WEEKS - 1 - (6 - last.weekday())))
    shown = {since + timedelta(days=number): value for number, value in enumerate(days)}
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    most = max(shown[day] for day in shown if day >= first) or 1
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_row("", Text(_months(monday, weeks), style="dim"))
    for weekday in range(7):
        row = Text()
        for week in range(weeks):
            day = monday + timedelta(days=7 * week + weekday)
            row.append(*(_shade(shown[day], most) if first <= day <= last else (" ", "")))
        table.add_row(Text(_NAMES[weekday], style="dim"), row)
    said = sum(shown[day] for day in shown if day >= first)
    under = f"{count(said, 'message')} since {first.isoformat()}, at most {most:,} a day"
    return Group(table, Text(under, style="dim"))


def _shade(value: int, most: int) -> tuple[str, str]:
    return _SHADES[-(-value * (len(_SHADES) - 1) // most)]


def _months(monday: date, weeks: int) -> str:
    """The months' names, each over its first week, where there is room."""
    line = ""
    for week in range(weeks):
        day = monday + timedelta(days=7 * week)
        if day.day <= 7 and len(line) <= week and week + 3 <= max(weeks, 3):
            line = line.ljust(week) + f"{day:%b} "
    return line.rstrip()


def _agents(agents: Sequence[AgentStats]) -> RenderableType:
    table = _table("AGENT", "SESSIONS", "MESSAGES", "FAILED", "TOKENS IN", "OUT")
    table.add_column("", overflow="crop")  # the first to give way
    for one in agents:
        table.add_row(
            Text(f"@{one.agent}", style="cyan"),
            Text(f"{one.sessions:,}"),
            Text(f"{one.user_messages + one.assistant_messages:,}"),
            Text(f"{one.failed_turns:,}", style="yellow") if one.failed_turns else _NOTHING,
            _tokens(one.input_tokens),
            _tokens(one.output_tokens),
            Text(spark(one.days), style="green"),
        )
    return table


def _models(models: Sequence[ModelStats]) -> RenderableType:
    table = _table("MODEL", "TURNS", "TOKENS IN", "OUT")
    for one in models:
        name = one_line(f"{one.backend} · {one.model}" if one.model else one.backend)
        table.add_row(name, f"{one.turns:,}", _tokens(one.input_tokens), _tokens(one.output_tokens))
    return table


def _hours(hours: Sequence[int]) -> RenderableType:
    busiest = max(range(24), key=lambda hour: hours[hour])
    line = Text.assemble(("Hours ", "dim"), (spark(hours, 24), "green"))
    line.append(f"  most between {busiest:02} and {(busiest + 1) % 24:02}", style="dim")
    return Group(line, Text("      0     6     12    18", style="dim"))


_NOTHING = Text("–", style="dim")


def _tokens(number: int) -> Text:
    if not number:
        return _NOTHING
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            return Text(f"{number / unit:.1f} {name}")
    return Text(str(number))


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=first == "AGENT", overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
