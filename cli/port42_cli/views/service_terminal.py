"""The service at a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from port42_cli.plain_text import one_line
from port42_cli.views import terminal


def show(facts: Mapping[str, str]) -> None:
    """A row for each fact."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="dim"), Text(one_line(value), overflow="fold"))
    terminal.show(table)
