"""What doctor, stats and du say, as text: a stable line for each thing. Pure, as `plain`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from port42_cli.plain_text import one_line

if TYPE_CHECKING:
    from port42_protocol.messages.doctor_and_stats import Statistics, Usage

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


def statistics(found: Statistics) -> Iterator[str]:
    """A line for each agent: name, sessions, questions, replies, failed turns, tokens in and out, bytes; for
    each model: back end, name or nothing, turns, tokens in and out; for each day and hour with messages."""
    for one in found.agents:
        said = (one.user_messages, one.assistant_messages, one.failed_turns)
        numbers = (one.sessions, *said, one.input_tokens, one.output_tokens, one.bytes)
        yield "\t".join((f"@{one.agent}", *map(str, numbers)))
    for each in found.models:
        named = ("model", each.backend, one_line(each.model or ""))
        yield "\t".join((*named, str(each.turns), str(each.input_tokens), str(each.output_tokens)))
    for number, messages in enumerate(found.days):
        if messages and found.since:
            yield f"day\t{date.fromisoformat(found.since) + timedelta(days=number)}\t{messages}"
    for hour, messages in enumerate(found.hours):
        if messages:
            yield f"hour\t{hour:02}\t{messages}"


def usage(found: Usage) -> Iterator[str]:
    """A line for each agent: name, sessions, then the bytes of sessions, trash, leftovers and all of them;
    then one for each thing that is nobody's, and the total."""
    for one in found.agents:
        sizes = (one.session_bytes, one.trash_bytes, one.leftover_bytes, one.total_bytes)
        yield "\t".join((f"@{one.agent}", str(one.sessions), *map(size, sizes)))
    for name, number in shared(found):
        yield f"{name}\t{size(number)}"
    yield f"total\t{size(found.total_bytes)}"


def shared(found: Usage) -> list[tuple[str, int]]:
    """What is nobody's and is there."""
    named = [
        ("index", found.index_bytes),
        ("logs", found.log_bytes),
        ("backups", found.backup_bytes),
        ("other", found.other_bytes),
    ]
    return [(name, number) for name, number in named if number]
