"""What views are made of: each part says what a person sees and what a script gets.

Texts are as the daemon gave them: `rich_printer` and `plain_printer`, which print parts, make them safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

R = TypeVar("R")

Span = tuple[str, str]  # text and its style, as rich names it
Content = str | Sequence[Span]
BREAK: Span = ("\n", "")  # a line break inside a cell, where newlines in texts are shown as ␊
Fit = Literal["whole", "ellipsis", "fold", "crop"]  # for a text that is too wide


class Column(NamedTuple, Generic[R]):
    """A column for people."""

    heading: str
    cell: Callable[[R], Content]
    style: str = ""
    right: bool = False
    fit: Fit = "whole"
    expendable: int = 0
    """On a terminal that is too narrow, the column with the highest is left out first; 0 always stays."""


def number(heading: str, value: Callable[[R], int], *, expendable: int = 0) -> Column[R]:
    return Column(heading, lambda row: f"{value(row):,}", right=True, expendable=expendable)


class Table(NamedTuple, Generic[R]):
    """Rows: with columns, `gap` blanks apart, for people; as `piped` cells between tabs for scripts."""

    rows: Sequence[R]
    columns: Sequence[Column[R]] = ()
    piped: Callable[[R], Sequence[object]] | None = None
    headings: bool = True
    gap: int = 2


class Field(NamedTuple):
    """A fact: ``name: value`` for scripts; on a terminal `shown` (or `value`) in the row `row` (or `name`).

    Fields of one row stand side by side, but for a `trouble`. Scripts get none without a name, terminals
    none with an empty row; without a value neither does.
    """

    name: str
    value: object
    row: str | None = None
    shown: Content | None = None
    multiline: bool = False
    trouble: bool = False


class Fields(NamedTuple):
    """Facts about one thing; with a title in a frame on terminals, as wide as they are or as the facts."""

    fields: Sequence[Field]
    title: str = ""
    narrow: bool = False


class Line(NamedTuple):
    """A line of its own for people (``whole``: wrapped at words), for scripts, or for both.

    `shown` is a function where scripts should not pay for what people are shown.
    """

    shown: Content | Callable[[], Content] | None
    piped: str | None = None
    fit: Fit = "whole"


class Block(NamedTuple):
    """A text of many lines for people, indented; as it is, or as the Markdown that it is."""

    text: str
    markdown: bool = False
    style: str = ""


class Node(NamedTuple):
    """A node of a tree: its label for people, and for scripts the cells behind the id."""

    id: str
    parent: str | None
    shown: Content
    piped: Sequence[str]


class Tree(NamedTuple):
    """Nodes, each behind its parent; the first has none."""

    nodes: Sequence[Node]


Part = Table[Any] | Fields | Line | Block | Tree
