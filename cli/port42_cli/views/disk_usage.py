"""How much disk each agent's sessions take, and what else is in the home."""

from __future__ import annotations

from collections.abc import Iterator

from port42_cli.plain_text import size
from port42_cli.views.parts import Column, Content, Line, Part, Table
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage

_BAR = 16
_Row = AgentUsage | tuple[str, int]
"""An agent's sizes, or the name and size of what belongs to no agent."""


def usage(found: Usage) -> Iterator[Part]:
    """A row for each agent with a bar of its part, then what belongs to none, and the total.

    Scripts get name, sessions, and the sizes of sessions, trash, leftovers and all of them.
    """
    largest = max((agent.total_bytes for agent in found.agents), default=0) or 1
    named = [
        ("index", found.index_bytes),
        ("logs", found.log_bytes),
        ("backups", found.backup_bytes),
        ("other", found.other_bytes),
    ]
    others = [(name, number) for name, number in named if number]

    def bar(row: _Row) -> str:
        return "" if isinstance(row, tuple) else "█" * max(1, round(_BAR * row.total_bytes / largest))

    # A column in which every cell would be empty is left out.
    sizes = [column for column in _SIZES if any(column.piped(agent) != "0 B" for agent in found.agents)]
    bars = Column[_Row]("", bar, style="cyan", fit="crop")
    yield Table(found.agents, piped=(_AGENT, _SESSIONS, *_SIZES, _TOTAL))
    yield Table([*found.agents, *others], shown=(_AGENT, _SESSIONS, *sizes, _TOTAL, bars))
    yield from (Line(None, piped=f"{name}\t{size(number)}") for name, number in others)
    yield Line("")
    total = size(found.total_bytes)
    free = f", {size(found.free_bytes)} free on this disk"
    yield Line([("total ", "dim"), (total, "bold"), (free, "dim")], piped=f"total\t{total}")


def _name(row: _Row) -> Content:
    return [(row[0], "dim")] if isinstance(row, tuple) else [(f"@{row.agent}", "cyan")]


def _sized(heading: str, field: str) -> Column[_Row]:
    def piped(row: _Row) -> str:
        return size(getattr(row, field))

    def shown(row: _Row) -> Content:
        if isinstance(row, tuple):
            return ""
        number = getattr(row, field)
        return size(number) if number else [("–", "dim")]

    return Column(heading, piped, shown, right=True)


def _total(row: _Row) -> Content:
    return size(row[1]) if isinstance(row, tuple) else [(size(row.total_bytes), "bold")]


_AGENT = Column[_Row]("AGENT", lambda row: f"@{row.agent}" if isinstance(row, AgentUsage) else row[0], _name)
_SESSIONS = Column[_Row](
    "SESSIONS",
    lambda row: row.sessions if isinstance(row, AgentUsage) else None,
    lambda row: f"{row.sessions:,}" if isinstance(row, AgentUsage) else "",
    right=True,
)
_SIZES = (
    _sized("SIZE", "session_bytes"),
    _sized("TRASH", "trash_bytes"),
    _sized("LEFT OVER", "leftover_bytes"),
)
_TOTAL = _sized("TOTAL", "total_bytes")._replace(shown=_total)
