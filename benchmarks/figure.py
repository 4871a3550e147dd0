"""One line of the table: what was measured, against what, and the aim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

_TABLE_WIDTH = 132


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, and its ratio to `base` where there is one.

    `aim` is the most that the ratio may be, or the value itself where there is no base. Times are in
    microseconds or milliseconds, as `unit` says.
    """

    group: str
    what: str
    value: float
    unit: str
    against: str = ""
    base: float | None = None
    aim: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the base."""
        return None if self.base is None else self.value / self.base

    @property
    def kept(self) -> bool | None:
        """Whether the aim is kept; None without one."""
        judged = self.value if self.base is None else self.value / self.base
        return None if self.aim is None else judged <= self.aim

    def plain(self) -> dict[str, Any]:
        """As it is written to the JSON file."""
        return {**asdict(self), "ratio": self.ratio, "kept": self.kept}


def median(samples: Sequence[int]) -> float:
    """The median of nanoseconds, in microseconds."""
    return statistics.median(samples) / 1_000


def percentile(samples: Sequence[int], part: int) -> float:
    """What `part` of 100 samples stay below, in microseconds, of nanoseconds."""
    return sorted(samples)[len(samples) * part // 100] / 1_000


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("measured", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("against", no_wrap=True)
    table.add_column("its value", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("aim", justify="right", no_wrap=True)
    table.add_column("kept", no_wrap=True)
    group = ""
    for one in figures:
        if one.group != group:
            group = one.group
            table.add_row(f"[bold]{group}[/bold]")
        table.add_row(
            f"  {one.what}",
            f"{one.value:,.1f} {one.unit}",
            one.against,
            "" if one.base is None else f"{one.base:,.1f} {one.unit}",
            "" if one.ratio is None else f"{one.ratio:.2f}",
            "" if one.aim is None else f"≤ {one.aim:g}",
            {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[one.kept],
        )
    # A pipe has no width of its own, and 80 columns would cut the table.
    console = Console()
    (console if console.is_terminal else Console(width=_TABLE_WIDTH)).print(table)
