"""Disk usage by agent, and of other files in the home."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from port42_cli.plain_text import size
from port42_cli.views.parts import Column, Content, Line, Part, Table, number
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage

_BAR = 16


def usage(home: Usage) -> Iterator[Part]:
    """A row for each agent with a bar of its part, then what belongs to none, and the total.

    Scripts get name, sessions, and the sizes of sessions, trash, leftovers and all of them.
    """
    largest = max((agent.total_bytes for agent in home.agents), default=0) or 1
    bar: Column[AgentUsage] = Column(
        "", lambda agent: "█" * max(1, round(_BAR * agent.total_bytes / largest)), style="cyan", fit="crop"
    )
    # A column in which every cell would be empty is left out.
    sizes = [column for column in _SIZES if any(column.piped(agent) != size(0) for agent in home.agents)]
    yield Table(home.agents, (_AGENT, _SESSIONS, *sizes, _TOTAL, bar), (_AGENT, _SESSIONS, *_SIZES, _TOTAL))
    yield Line("")
    others = (
        ("index", home.index_bytes),
        ("logs", home.log_bytes),
        ("backups", home.backup_bytes),
        ("other", home.other_bytes),
    )
    for name, taken in others:
        if taken:
            yield Line([(f"{name} ", "dim"), (size(taken), "")], piped=f"{name}\t{size(taken)}")
    total, free = size(home.total_bytes), size(home.free_bytes)
    shown = [("total ", "dim"), (total, "bold"), (f", {free} free on this disk", "dim")]
    yield Line(shown, piped=f"total\t{total}")


def _sized(heading: str, taken: Callable[[AgentUsage], int], style: str = "") -> Column[AgentUsage]:
    def shown(agent: AgentUsage) -> Content:
        return size(taken(agent)) if taken(agent) else [("–", "dim")]

    return Column(heading, lambda agent: size(taken(agent)), shown, style, right=True)


_AGENT: Column[AgentUsage] = Column("AGENT", lambda agent: f"@{agent.agent}", style="cyan")
_SESSIONS: Column[AgentUsage] = number("SESSIONS", lambda agent: agent.sessions)
_SIZES = (
    _sized("SIZE", lambda agent: agent.session_bytes),
    _sized("TRASH", lambda agent: agent.trash_bytes),
    _sized("LEFT OVER", lambda agent: agent.leftover_bytes),
)
_TOTAL = _sized("TOTAL", lambda agent: agent.total_bytes, "bold")
