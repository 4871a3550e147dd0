"""Views. Each is described once, of `parts`, in a module of its own; `show` prints it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from port42_cli import streams

if TYPE_CHECKING:
    from port42_cli.views.parts import Part


def show(view: Iterable[Part], *, stderr: bool = False) -> None:
    """Print a view on stdout, or on stderr what a question is about: drawn on a terminal, as lines for
    scripts elsewhere.
    """
    # Each printer is imported when it is needed: rich is half of a command's start.
    if (sys.stderr if stderr else sys.stdout).isatty():
        from port42_cli.views import rich_printer

        rich_printer.draw(view, rich_printer.console(stderr=stderr))
    else:
        from port42_cli.views.plain_printer import lines

        if stderr:
            streams.banner(*lines(view))
        else:
            streams.lines(lines(view))


def progress(doing: str, *, shown: bool) -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar on stderr, gone at the end. It takes how many are done, of how many (0: not known yet)."""
    if not shown:
        return nullcontext(lambda _done, _total: None)
    from port42_cli.views.rich_printer import progress_bar

    return progress_bar(doing)
