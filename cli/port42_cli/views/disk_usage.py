"""Disk usage by agent, and of other files in the home."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from port42_cli.plain_text import size
from port42_cli.views.parts import Column, Line, Part, Table, number
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage

_BAR = 16


def usage(home: Usage) -> Iterator[Part]:
    """A row for each agent with a bar of its part, then what belongs to none, and the total.

    Scripts get name, sessions, and the sizes of sessions, trash, leftovers and all of them.
    """
    largest = max((agent.total_bytes for agent in home.agents), default=0) or 1
    columns: list[Column[AgentUsage]] = [
        Column("AGENT", lambda agent: f"@{agent.agent}", "cyan"),
        number("SESSIONS", lambda agent: agent.sessions),
        # A column in which every cell would be empty is left out.
        *(_sized(name, taken) for name, taken in _SIZES.items() if any(map(taken, home.agents))),
        _sized("TOTAL", lambda agent: agent.total_bytes, "bold"),
        Column("", lambda agent: "█" * max(1, round(_BAR * agent.total_bytes / largest)), "cyan", fit="crop"),
    ]
    yield Table(home.agents, columns, _cells)
    yield Line("")
    others = {
        "index": home.index_bytes,
        "logs": home.log_bytes,
        "backups": home.backup_bytes,
        "originals": home.original_bytes,
        "other": home.other_bytes,
    }
    for name, taken in others.items():
        if taken:
            yield Line([(f"{name} ", "dim"), (size(taken), "")], piped=f"{name}\t{size(taken)}")
    total, free = size(home.total_bytes), size(home.free_bytes)
    shown = [("total ", "dim"), (total, "bold"), (f", {free} free on this disk", "dim")]
    yield Line(shown, piped=f"total\t{total}")


def _sized(heading: str, taken: Callable[[AgentUsage], int], style: str = "") -> Column[AgentUsage]:
    return Column(
        heading, lambda agent: size(taken(agent)) if taken(agent) else [("–", "dim")], style, right=True
    )


def _cells(agent: AgentUsage) -> tuple[object, ...]:
    sizes = (agent.session_bytes, agent.trash_bytes, agent.leftover_bytes, agent.total_bytes)
    return (f"@{agent.agent}", agent.sessions, *map(size, sizes))


_SIZES: dict[str, Callable[[AgentUsage], int]] = {
    "SIZE": lambda agent: agent.session_bytes,
    "TRASH": lambda agent: agent.trash_bytes,
    "LEFT OVER": lambda agent: agent.leftover_bytes,
}
