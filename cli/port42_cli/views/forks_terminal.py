"""What a terminal is shown of a session's family and of the trash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from port42_cli.plain_text import age, count, one_line
from port42_protocol.messages.forks_and_trash import SessionNode, TrashedSession


def tree(nodes: Sequence[SessionNode], asked: str, now: datetime) -> RenderableType:
    """The family as a tree; the one that was asked for stands out."""
    drawn: dict[str, Tree] = {}
    for one in nodes:
        label = _label(one, asked, now)
        drawn[one.session_id] = Tree(label) if one.parent is None else drawn[one.parent].add(label)
    return drawn[nodes[0].session_id]


def trash(found: Sequence[TrashedSession], now: datetime) -> RenderableType:
    """A row for each, with the id that `restore` takes."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("ID", "AGENT", "TITLE", "MESSAGES", "DELETED"):
        table.add_column(name, no_wrap=name != "TITLE", justify="right" if name == "MESSAGES" else "left")
    for one in found:
        table.add_row(
            Text(one.session_id, style="bold"),
            Text(f"@{one.agent}", style="cyan"),
            Text(one_line(one.title or "(untitled)"), no_wrap=True, overflow="ellipsis"),
            Text(f"{one.message_count:,}"),
            Text(age(one.trashed_at, now), style="dim"),
        )
    return table


def _label(one: SessionNode, asked: str, now: datetime) -> Text:
    label = Text(one.session_id, style="bold" if one.session_id == asked else "", no_wrap=True)
    label.overflow = "ellipsis"
    if one.at_seq is not None:
        label.append(f"  at {one.at_seq}", style="dim")
    if one.session is None:
        return label.append("  in the trash" if one.trashed else "  no longer exists", style="yellow")
    label.append(f"  @{one.session.agent}", style="cyan")
    label.append(f"  {one_line(one.session.title or '(untitled)')}")
    messages, used = count(one.session.message_count, "message"), age(one.session.last_activity, now)
    return label.append(f"  {messages} · {used}", style="dim")
