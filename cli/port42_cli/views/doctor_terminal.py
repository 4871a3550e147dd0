"""Doctor's findings and du's sizes at a terminal, as rich renderables. Like `render`, which shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from port42_cli.plain_text import count, one_line
from port42_cli.views.doctor_text import shared, size
from port42_protocol.messages.doctor_and_stats import Usage

_MARKS = {"ok": ("✓", "green"), "notice": ("!", "yellow"), "problem": ("✗", "bold red")}
_SHOWN = 20
"""Findings of one level about one thing; the others are counted."""
_BAR = 16


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, gone at the end; what is given tells it how many of how many are done."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of or None)


def findings(found: Sequence[dict[str, Any]], backup: str | None) -> RenderableType:
    """A mark, about what, and what; under it what to do. The count of problems is last."""
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(overflow="fold")
    seen: Counter[tuple[str, str]] = Counter()
    for one in found:
        kind = (one["level"], one["about"])
        seen[kind] += 1
        if seen[kind] > _SHOWN:
            continue
        mark, style = ("✚", "cyan") if one["fixed"] else _MARKS.get(one["level"], ("?", ""))
        table.add_row(Text(mark, style=style), Text(one["about"], style="dim"), _what(one))
    for (level, about), number in seen.items():
        if number > _SHOWN:
            rest = f"… and {number - _SHOWN:,} more; --json has them all"
            table.add_row(*(Text(cell, style="dim") for cell in (_MARKS[level][0], about, rest)))
    return Group(table, Text(), _verdict(found, backup))


def _what(one: dict[str, Any]) -> Text:
    said = Text(one_line(one["what"]))
    if one["do"]:
        said.append(f"\n→ {one_line(one['do'])}", style="dim")
    return said


def _verdict(found: Sequence[dict[str, Any]], backup: str | None) -> Text:
    problems = sum(one["level"] == "problem" and not one["fixed"] for one in found)
    mendable = sum(one["mendable"] and not one["fixed"] for one in found)
    fixed = sum(one["fixed"] for one in found)
    said = Text.assemble((count(problems, "problem"), "bold red") if problems else ("Healthy", "bold green"))
    if fixed:
        said.append(f", {fixed:,} repaired", style="cyan")
    if backup:
        said.append(f"; what was changed is kept in {backup}", style="dim")
    elif mendable:
        said.append(f"; `port42 doctor --fix` repairs {mendable:,} of what is above", style="dim")
    return said


def usage(found: Usage) -> RenderableType:
    """A row for each agent with a bar of its part, then what is nobody's, and the total."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("AGENT", no_wrap=True)  # it gets typed again
    # What nobody has takes no room from what somebody has.
    kinds = {"SIZE": "session_bytes", "TRASH": "trash_bytes", "LEFT OVER": "leftover_bytes"}
    kinds = {name: kind for name, kind in kinds.items() if any(getattr(one, kind) for one in found.agents)}
    for name in ("SESSIONS", *kinds, "TOTAL"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="crop")  # the first to give way
    most = max((one.total_bytes for one in found.agents), default=0) or 1
    for one in found.agents:
        sizes = (getattr(one, kind) for kind in kinds.values())
        table.add_row(
            Text(f"@{one.agent}", style="cyan"),
            Text(f"{one.sessions:,}"),
            *(Text(size(number) if number else "–", style="" if number else "dim") for number in sizes),
            Text(size(one.total_bytes), style="bold"),
            Text("█" * max(1, round(_BAR * one.total_bytes / most)), style="cyan"),
        )
    for name, number in shared(found):
        table.add_row(Text(name, style="dim"), "", *("" for _ in kinds), Text(size(number)))
    total = Text.assemble(("total ", "dim"), (size(found.total_bytes), "bold"))
    total.append(f", {size(found.free_bytes)} free on this disk", style="dim")
    return Group(table, Text(), total)
