"""What moves on a terminal: a bar for work whose end is known, and a view that is redrawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.live import Live

from port42_cli.views.parts import Part
from port42_cli.views.rich_printer import console, group

Progress = Callable[[int, int], None]
"""Takes how many are done, of how many; 0 where that is not known yet."""


@contextmanager
def progress(doing: str) -> Iterator[Progress]:
    """A bar on stderr, gone at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def redraw(views: Iterable[Iterable[Part]]) -> None:
    """Draw each view where the last one was."""
    with Live(console=console(), auto_refresh=False, vertical_overflow="crop") as live:
        for view in views:
            live.update(group(view), refresh=True)
