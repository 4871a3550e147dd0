"""What a model is told of a conversation: as much as its budget holds, oldest left out first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET, structs

from port42_protocol.messages.records import Message, Reference, TurnRecord

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

    What a message refers to is part of its content here, as it was when it was answered. The first that
    does not fit ends it: a hole in a conversation misleads more than a late start.
    """
    said = _said(records)
    kept: list[Message] = []
    for record in reversed(said):
        content = spoken(record)
        budget -= len(content)
        if budget < 0:
            break
        kept.append(structs.replace(record, content=content))
    return Context(tuple(reversed(kept)), len(said) - len(kept))


def unheard(records: Sequence[Message]) -> bool:
    """Whether something was said since the last turn, which a back end with its own memory did not hear."""
    answered = [place for place, record in enumerate(records) if isinstance(record.turn, TurnRecord)]
    since = records[answered[-1] + 1 :] if answered else records
    return bool(_said(since))


def _said(records: Sequence[Message]) -> list[Message]:
    """The messages, but for failed questions and what was answered of them."""
    failed = {record.question for record in records if record.role == "error"} - {UNSET}
    return [
        record
        for record in records
        if record.role in _SAID
        and record.content
        and record.seq not in failed
        and record.question not in failed
    ]


def spoken(record: Message) -> str:
    """A record as it is said to a model: its content, then what it refers to."""
    content = record.content if isinstance(record.content, str) else ""
    if not isinstance(record.references, tuple):
        return content
    return "\n\n".join([content, *map(_quoted, record.references)])


def _quoted(reference: Reference) -> str:
    return f"<{reference.type} {reference.target}>\n{reference.content or ''}\n</{reference.type}>"
