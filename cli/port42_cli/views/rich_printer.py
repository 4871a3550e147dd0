"""Views on a terminal, drawn by rich: coloured (``NO_COLOR`` is respected) and wrapped.

Every text goes through `text`, which leaves nothing in it that a terminal or rich's markup would obey.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from port42_cli.plain_text import one_line, visible
from port42_cli.views.parts import (
    BREAK,
    Block,
    Column,
    Content,
    Field,
    Fields,
    Line,
    Panel,
    Part,
    Table,
    Tree,
)

_INDENTED = (0, 0, 1, 2)


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def draw(view: Iterable[Part], console: Console) -> None:
    """Print a view, part by part."""
    for part in view:
        for drawn in renderables(part):
            console.print(drawn)


def group(view: Iterable[Part]) -> Group:
    """A view as one renderable."""
    return Group(*(drawn for part in view for drawn in renderables(part)))


def text(content: Content, style: str = "", *, multiline: bool = False) -> Text:
    """The content without control characters that a terminal obeys."""
    safe = visible if multiline else one_line
    if isinstance(content, str):
        return Text(safe(content), style)
    spans = (span if span is BREAK else (safe(span[0]), span[1]) for span in content)
    return Text.assemble(*spans, style=style)


def renderables(part: Part) -> Iterator[RenderableType]:
    """A part as rich draws it; nothing where it is for scripts only."""
    if isinstance(part, Table):
        if part.shown:
            yield _table(part)
    elif isinstance(part, Line):
        if part.shown is not None:
            yield _line(part)
    elif isinstance(part, Fields):
        yield _fields(part)
    elif isinstance(part, Block):
        yield from _block(part)
    elif isinstance(part, Panel):
        yield _panel(part)
    else:
        yield _tree(part)


def _table(part: Table[Any]) -> RichTable:
    table = RichTable(
        box=None,
        pad_edge=False,
        padding=(0, part.gap, 0, 0),
        header_style="dim",
        show_header=part.headings,
    )
    for column in part.shown:
        table.add_column(
            text(column.heading),
            justify="right" if column.right else "left",
            # A column that may give way wraps, which is how rich shrinks it; its cells need not.
            no_wrap=column.fit == "whole",
            overflow="ellipsis" if column.fit == "whole" else column.fit,
        )
    for row in part.rows:
        table.add_row(*(_cell(column, row) for column in part.shown))
    return table


def _cell(column: Column[Any], row: object) -> Text:
    cell = text(column.shown(row) if column.shown else str(column.piped(row)), column.style)
    if column.fit == "ellipsis":
        cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


def _line(part: Line) -> RenderableType:
    assert part.shown is not None  # noqa: S101 - tells mypy what the caller saw to
    drawn = text(part.shown)
    if part.fit == "fold":
        drawn.overflow = "fold"
    elif part.fit != "whole":
        drawn.no_wrap, drawn.overflow = True, part.fit
    # In a group, because a bare Text loses its own ideas about wrapping.
    return Group(drawn)


def _fields(part: Fields) -> RichTable:
    """A row for each fact, or for those that stand side by side."""
    rows: dict[str, list[Field]] = {}
    troubles: list[Field] = []
    for field in part.fields:
        name = field.name if field.row is None else field.row
        if field.value is None or not name:
            continue
        if field.trouble:
            troubles.append(field)
        else:
            rows.setdefault(name, []).append(field)
    table = RichTable.grid(padding=(0, 2))
    for name, fields in rows.items():
        value = Text(part.separator).join(map(_value, fields))
        value.overflow = "fold"
        table.add_row(text(name, "dim"), value)
    for field in troubles:
        table.add_row(text(field.row or field.name, "red"), _value(field))
    return table


def _value(field: Field) -> Text:
    drawn = text(str(field.value) if field.shown is None else field.shown, multiline=field.multiline)
    drawn.overflow = "fold"
    return drawn


def _block(part: Block) -> Iterator[RenderableType]:
    if part.markdown:
        # Imported here: a table needs no Markdown.
        from port42_cli.views.markdown import blocks

        yield from (Padding(block, _INDENTED) for block in blocks(part.text))
    else:
        yield Padding(text(part.text, part.style, multiline=True), _INDENTED)


def _panel(part: Panel) -> RenderableType:
    from rich.panel import Panel as RichPanel

    return RichPanel(
        _fields(part.fields),
        title=text(part.title),
        title_align="left",
        border_style="dim",
        expand=not part.narrow,
    )


def _tree(part: Tree) -> RenderableType:
    from rich.tree import Tree as RichTree

    drawn: dict[str, RichTree] = {}
    for node in part.nodes:
        label = text(node.shown)
        label.no_wrap, label.overflow = True, "ellipsis"
        drawn[node.id] = RichTree(label) if node.parent is None else drawn[node.parent].add(label)
    return drawn[part.nodes[0].id]
