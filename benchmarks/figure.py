"""One line of the table: what was measured, against what, and the aim."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

_NAMES = 44
"""Columns for names; with value, ratio, aim and judgement a line has at most 80."""


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


def table(figures: Sequence[Figure]) -> str:
    """The figures for reading, 80 columns wide: each value, and below it what it is compared with."""
    lines = [_line("measured", "value", "ratio", "aim", "kept")]
    previous: Figure | None = None
    for figure in figures:
        if previous is None or figure.group != previous.group:
            lines += ["", *textwrap.wrap(figure.group, 80)]
        judged = (
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.aim is None else f"≤ {figure.aim:g}",
            {True: "yes", False: "no", None: ""}[figure.kept],
        )
        value = f"{figure.value:,.1f} {figure.unit}".rstrip()
        if figure.base is None:
            lines += _lines(f"  {figure.what}", value, *judged)
        else:
            if previous is None or previous.what != figure.what or previous.group != figure.group:
                lines += _lines(f"  {figure.what}", value)
            lines += _lines(
                f"    against {figure.against}", f"{figure.base:,.1f} {figure.unit}".rstrip(), *judged
            )
        previous = figure
    return "\n".join(lines)


def _lines(name: str, *columns: str) -> list[str]:
    indent = " " * (len(name) - len(name.lstrip()))
    *rest, last = textwrap.wrap(name, _NAMES, subsequent_indent=indent + "  ")
    return [*rest, _line(last, *columns)]


def _line(name: str, value: str, ratio: str = "", aim: str = "", kept: str = "") -> str:
    return f"{name:{_NAMES}}{value:>14}{ratio:>9}{aim:>8}{kept:>5}".rstrip()
