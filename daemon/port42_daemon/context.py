"""What a model is told of a conversation: as much as its budget holds, oldest left out first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from port42_protocol.messages import Message, Reference

_SAID = {"user", "assistant", "system"}
BYTES_PER_CHAR = 4
"""The most that one character takes in a session's UTF-8 JSON, rare control characters aside."""


@dataclass(frozen=True, slots=True)
class Context:
    """`history` fits the budget; `left_out` counts what did not, of the records looked at."""

    history: tuple[Message, ...]
    left_out: int


def select(records: Sequence[Message], budget: int) -> Context:
    """The newest of `records` that fit `budget` characters, without failed turns and without events.

    The first that does not fit ends it: a hole in a conversation misleads more than a late start.
    """
    said = [record for record in _without_failures(records) if record.role in _SAID and record.content]
    kept: list[Message] = []
    for record in reversed(said):
        budget -= len(spoken(record))
        if budget < 0:
            break
        kept.append(record)
    return Context(tuple(reversed(kept)), len(said) - len(kept))


def _without_failures(records: Sequence[Message]) -> list[Message]:
    """All but failed questions, what was answered of them, and their errors."""
    kept: list[Message] = []
    for record in records:
        if record.role == "error" and record.question is not UNSET:
            while kept and kept[-1].seq >= record.question:
                kept.pop()
        else:
            kept.append(record)
    return kept


def spoken(record: Message) -> str:
    """A record as it is said to a model: its content, then what it refers to."""
    content = record.content if isinstance(record.content, str) else ""
    if not isinstance(record.references, tuple):
        return content
    return "\n\n".join([content, *map(_quoted, record.references)])


def _quoted(reference: Reference) -> str:
    return f"<{reference.type} {reference.target}>\n{reference.content or ''}\n</{reference.type}>"
