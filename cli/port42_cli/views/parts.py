"""What views are made of: tables, fields, lines, blocks of text, trees. Each says what a person sees and
what a script gets; how either is printed, `rich_printer` and `plain_printer` know.

Texts are as the daemon gave them. The printers make them safe, so a view cannot forget to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

R = TypeVar("R")

Span = tuple[str, str]
"""Text and its style, in rich's names for styles."""
Content = str | Sequence[Span]
BREAK: Span = ("\n", "")
"""A line break inside a cell. Newlines in texts are shown as ␊ there."""

Fit = Literal["whole", "ellipsis", "fold", "crop"]
"""What becomes of a text that is wider than its place. What gets typed again is kept whole."""


class Column(NamedTuple, Generic[R]):
    """A column: its cell for a row of a script, and on a terminal where that differs."""

    heading: str
    piped: Callable[[R], object]
    """None stands for an empty cell."""
    shown: Callable[[R], Content] | None = None
    style: str = ""
    right: bool = False
    fit: Fit = "whole"


class Table(NamedTuple, Generic[R]):
    """Rows, with the columns in the order of a terminal, and in that of tab-separated lines."""

    rows: Sequence[R]
    shown: Sequence[Column[R]] = ()
    piped: Sequence[Column[R]] = ()
    headings: bool = True
    gap: int = 2
    """Blanks between columns of a terminal."""


class Field(NamedTuple):
    """A fact: ``name: value`` for scripts, and in the row `row` on a terminal as `shown`.

    Fields of the same row stand side by side. Without a name scripts do not get it; with an empty row
    terminals do not show it; without a value neither does. A `trouble` is in a row of its own.
    """

    name: str
    value: object
    row: str | None = None
    """None: as `name`."""
    shown: Content | None = None
    """None: as `value`."""
    multiline: bool = False
    trouble: bool = False


class Fields(NamedTuple):
    """Facts about one thing."""

    fields: Sequence[Field]
    separator: str = ", "
    """Between fields of one row."""


class Line(NamedTuple):
    """A line of its own; None where it is not for terminals, or not for scripts."""

    shown: Content | None
    piped: str | None = None
    fit: Fit = "whole"
    """``whole`` wraps at words."""


class Block(NamedTuple):
    """A text of many lines on a terminal, indented, as it is or as the Markdown that it is."""

    text: str
    markdown: bool = False
    style: str = ""


class Panel(NamedTuple):
    """Fields in a frame on a terminal."""

    title: str
    fields: Fields
    narrow: bool = False


class Node(NamedTuple):
    """A node of a tree: its id, its parent's, its label on a terminal, the cells behind the id."""

    id: str
    parent: str | None
    shown: Content
    piped: Sequence[str]


class Tree(NamedTuple):
    """Nodes, each behind its parent; the first has none."""

    nodes: Sequence[Node]


Part = Table[Any] | Fields | Line | Block | Panel | Tree
