"""A bar on a terminal while the index is made anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def watch(looks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Draw each of `looks`, statuses of the index, on stderr; gives the last."""
    last: dict[str, Any] = {}
    columns = (TextColumn("reading records"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        most = 0
        for last in looks:
            # How many there are is known once every file was looked at.
            most = max(most, last["records_behind"])
            if most:
                progress.update(task, total=most, completed=most - last["records_behind"])
    return last
