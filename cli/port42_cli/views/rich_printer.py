"""Views on a terminal, drawn by rich: coloured (``NO_COLOR`` is respected) and wrapped; and what moves there.

Every text goes through `text`, which makes control characters visible and leaves markup as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from port42_cli.plain_text import one_line, visible
from port42_cli.terminal import Drawing
from port42_cli.views.parts import BREAK, Column, Content, Field, Fields, Fit, Line, Part, Table, Tree

if TYPE_CHECKING:
    from port42_cli.views.markdown import Block


_READABLE = 24
"""Cells of a title that a table gives up other columns for."""

_EXPENDABLE = attrgetter("expendable")


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is."""
    for name in ("COLUMNS", "LINES"):
        # rich would use 0, which means unknown to all others, and 10**20, and "²"
        if not re.fullmatch("0*[1-9][0-9]{0,3}", os.environ.get(name, ""), re.ASCII):
            os.environ.pop(name, None)
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def draw(view: Iterable[Part], console: Console) -> None:
    for part in view:
        for drawn in _renderables(part):
            console.print(drawn)


def group(view: Iterable[Part]) -> Group:
    return Group(*(drawn for part in view for drawn in _renderables(part)))


class Redrawn:
    """While it is entered, each view is drawn where the last one was; `keys` gives those that are typed."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False, vertical_overflow="crop")
        self._drawing = Drawing(self._live.stop, keys=True)
        self.keys = self._drawing.keys

    def __enter__(self) -> Redrawn:
        self._live.start()
        self._drawing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._drawing.__exit__()
        self._live.stop()

    @property
    def has_keys(self) -> bool:
        return self._drawing.has_keys

    def show(self, view: Iterable[Part]) -> None:
        self._live.start()  # again, after Ctrl-Z
        self._live.update(group(view), refresh=True)


def ansi_lines(view: Iterable[RenderableType], width: int) -> list[str]:
    """What is drawn in that many columns, as lines with escape codes for their colours: for the screen of
    another library. Shows texts that went through `text` or are `markdown.blocks`."""
    page = console()
    options = page.options.update(width=width)
    lines = (line for drawn in view for line in page.render_lines(drawn, options, pad=False))
    return [
        "".join(part.style.render(part.text) if part.style else part.text for part in line) for line in lines
    ]


@contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int], None]]:
    """See `views.progress`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar, Drawing(bar.stop):
        task = bar.add_task(doing, total=None)

        def move(done: int, total: int) -> None:
            bar.start()  # again, after Ctrl-Z
            bar.update(task, completed=done, total=total or None)

        yield move


def text(content: Content, style: str = "", fit: Fit = "whole", *, multiline: bool = False) -> Text:
    """The content without control characters that a terminal obeys."""
    safe = visible if multiline else one_line
    drawn = Text(style=style)
    for span in [(content, "")] if isinstance(content, str) else content:
        drawn.append(*(span if span is BREAK else (safe(span[0]), span[1])))
    if fit != "whole":
        drawn.overflow, drawn.no_wrap = fit, fit != "fold"
    return drawn


def _renderables(part: Part) -> Iterator[RenderableType]:
    if isinstance(part, Table):
        if part.columns:
            yield _FittedTable(part)
    elif isinstance(part, Line):
        if part.shown is not None:
            # In a group, because a bare Text loses its own wrapping.
            yield Group(text(part.shown() if callable(part.shown) else part.shown, fit=part.fit))
    elif isinstance(part, Fields):
        yield _fields(part)
    elif isinstance(part, Tree):
        yield _tree(part)
    elif part.markdown:
        # Imported here: a table needs no Markdown.
        from port42_cli.views.markdown import blocks

        yield from map(_Indented, blocks(part.text))
    else:
        yield _Indented(text(part.text, part.style, multiline=True))


class _Indented:
    """Text or Markdown, indented but for code, which is copied; a blank line after its end."""

    def __init__(self, content: Text | Block) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        block = None if isinstance(self._content, Text) else self._content
        indent = "" if block and block.is_code else "  "
        options = options.update(width=options.max_width - len(indent))
        for line in console.render_lines(self._content, options, pad=False):
            yield from (Segment(indent), *line, Segment.line()) if line else (Segment.line(),)
        if not (block and block.continued):
            yield Segment.line()


class _FittedTable:
    """A table with as many of its expendable columns as the terminal has room for."""

    def __init__(self, part: Table[Any]) -> None:
        self._part = part

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self._part.columns)
        expendable = sorted((column for column in columns if column.expendable), key=_EXPENDABLE)
        widths = [_needed(column, self._part) for column in columns] if expendable else []
        while expendable and sum(widths) + self._part.gap * (len(widths) - 1) > options.max_width:
            position = columns.index(expendable.pop())
            del columns[position], widths[position]
        yield _table(self._part, columns)


def _table(part: Table[Any], columns: Sequence[Column[Any]]) -> RichTable:
    table = RichTable(
        box=None, pad_edge=False, padding=(0, part.gap, 0, 0), header_style="dim", show_header=part.headings
    )
    for column in columns:
        table.add_column(
            text(column.heading),
            justify="right" if column.right else "left",
            # A column that may give way wraps, which is how rich shrinks it; its cells need not.
            no_wrap=column.fit == "whole",
            overflow="ellipsis" if column.fit == "whole" else column.fit,
        )
    for row in part.rows:
        table.add_row(*(_cell(column, row) for column in columns))
    return table


def _needed(column: Column[Any], part: Table[Any]) -> int:
    """Cells that a column takes; of one whose texts may be cut, those in which they can be told apart."""
    cells = (_cell(column, row).cell_len for row in part.rows)
    widest = max(cells, default=0)
    if column.fit != "whole":
        widest = min(widest, _READABLE)
    return max(widest, text(column.heading).cell_len)


def _cell(column: Column[Any], row: object) -> Text:
    return text(column.cell(row), column.style, "ellipsis" if column.fit == "ellipsis" else "whole")


def _fields(part: Fields) -> RenderableType:
    rows: dict[str, list[Field]] = {}
    troubles: list[Field] = []
    for field in part.fields:
        name = field.name if field.row is None else field.row
        if field.value is not None and name:
            (troubles if field.trouble else rows.setdefault(name, [])).append(field)
    table = RichTable.grid(padding=(0, 2))
    for name, fields in rows.items():
        table.add_row(text(name, "dim"), Text(", ", overflow="fold").join(map(_value, fields)))
    for field in troubles:
        table.add_row(text(field.row or field.name, "red"), _value(field))
    if not part.title:
        return table
    from rich.panel import Panel

    title = text(part.title)
    return Panel(table, title=title, title_align="left", border_style="dim", expand=not part.narrow)


def _value(field: Field) -> Text:
    content = str(field.value) if field.shown is None else field.shown
    return text(content, fit="fold", multiline=field.multiline)


def _tree(part: Tree) -> RenderableType:
    from rich.tree import Tree as RichTree

    drawn: dict[str, RichTree] = {}
    for node in part.nodes:
        label = text(node.shown, fit="ellipsis")
        drawn[node.id] = RichTree(label) if node.parent is None else drawn[node.parent].add(label)
    return drawn[part.nodes[0].id]
