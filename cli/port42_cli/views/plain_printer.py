"""Views as lines for scripts: cells separated by tabs, fields as ``name: value``, texts to the letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from port42_cli.views.parts import Fields, Line, Part, Table, Tree


def lines(view: Iterable[Part]) -> Iterator[str]:
    for part in view:
        if isinstance(part, Table) and part.piped:
            yield from map(_cells, map(part.piped, part.rows))
        elif isinstance(part, Fields):
            for field in part.fields:
                if field.name and field.value is not None:
                    yield f"{field.name}: {field.value}"
        elif isinstance(part, Line) and part.piped is not None:
            yield part.piped
        elif isinstance(part, Tree):
            depths: dict[str | None, int] = {None: -1}
            for node in part.nodes:
                depths[node.id] = depths[node.parent] + 1
                yield _cells(("  " * depths[node.id] + node.id, *node.piped))


def _cells(values: Sequence[object]) -> str:
    return "\t".join("" if value is None else str(value) for value in values)
