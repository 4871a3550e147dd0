"""What commands show. Each view is described once, of `parts`, in a module of its own; `show` prints it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from port42_cli import streams

if TYPE_CHECKING:
    from port42_cli.views.parts import Part


def show(view: Iterable[Part]) -> None:
    """Print a view on stdout: drawn on a terminal, as lines for scripts elsewhere."""
    # Each printer is imported when it is needed: rich is half of a command's start.
    if streams.on_terminal():
        from port42_cli.views import rich_printer

        rich_printer.draw(view, rich_printer.console())
    else:
        from port42_cli.views.plain_printer import lines

        streams.lines(lines(view))
