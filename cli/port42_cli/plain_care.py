"""What doctor and du say, as text: a stable line for each thing. Pure, as `plain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from port42_cli.plain import one_line

if TYPE_CHECKING:
    from port42_protocol import messages as m

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(number: int) -> str:
    """Bytes as a person reads them: ``812 B``, ``1.4 MiB``."""
    scaled = float(number)
    for unit in _UNITS:
        if scaled < 1024 or unit == _UNITS[-1]:
            break
        scaled /= 1024
    return f"{number} B" if unit == "B" else f"{scaled:.1f} {unit}"


def findings(found: Sequence[dict[str, Any]], backup: str | None) -> Iterator[str]:
    """A line for each: level (or ``fixed``), about what, what there is, what to do or nothing."""
    for one in found:
        level = "fixed" if one["fixed"] else one["level"]
        yield "\t".join((level, one["about"], one_line(one["what"]), one_line(one["do"] or "")))
    if backup:
        yield f"backup\thome\tkept in {backup}\t"


def usage(found: m.Usage) -> Iterator[str]:
    """A line for each agent: name, sessions, then the bytes of sessions, trash, leftovers and all of them;
    then one for each thing that is nobody's, and the total."""
    for one in found.agents:
        sizes = (one.session_bytes, one.trash_bytes, one.leftover_bytes, one.total_bytes)
        yield "\t".join((f"@{one.agent}", str(one.sessions), *map(size, sizes)))
    for name, number in shared(found):
        yield f"{name}\t{size(number)}"
    yield f"total\t{size(found.total_bytes)}"


def shared(found: m.Usage) -> list[tuple[str, int]]:
    """What is nobody's and is there."""
    named = [
        ("index", found.index_bytes),
        ("logs", found.log_bytes),
        ("backups", found.backup_bytes),
        ("other", found.other_bytes),
    ]
    return [(name, number) for name, number in named if number]
