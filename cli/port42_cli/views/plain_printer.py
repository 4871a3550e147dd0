"""Views as lines for scripts: cells separated by tabs, fields as ``name: value``, texts to the letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from port42_cli.views.parts import Fields, Line, Part, Table, Tree


def lines(view: Iterable[Part]) -> Iterator[str]:
    """The lines of a view."""
    for part in view:
        if isinstance(part, Table) and part.piped:
            for row in part.rows:
                cells = (column.piped(row) for column in part.piped)
                yield "\t".join("" if cell is None else str(cell) for cell in cells)
        elif isinstance(part, Fields):
            for field in part.fields:
                if field.name and field.value is not None:
                    yield f"{field.name}: {field.value}"
        elif isinstance(part, Line) and part.piped is not None:
            yield part.piped
        elif isinstance(part, Tree):
            yield from _tree(part)


def _tree(part: Tree) -> Iterator[str]:
    """A line for each node, two spaces further in than its parent's."""
    depths: dict[str, int] = {}
    for node in part.nodes:
        depths[node.id] = 0 if node.parent is None else depths[node.parent] + 1
        yield "\t".join(("  " * depths[node.id] + node.id, *node.piped))
