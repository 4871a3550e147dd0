"""The messages of a conversation that fit a model's budget, the oldest omitted first. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from port42_protocol.messages.records import (
    AssistantMessage,
    ErrorMessage,
    Message,
    Record,
    Reference,
    SystemMessage,
    UserMessage,
    replace,
)

BYTES_PER_CHAR = 4
"""The most that one character takes in a session's UTF-8 JSON, rare control characters aside."""


def select(records: Sequence[Record], budget: int) -> tuple[tuple[Message, ...], int]:
    """The newest of `records` that fit `budget` characters, and how many do not fit.

    Failed turns and events do not count. References are part of a message's content, as when it was answered.
    The first message that does not fit ends it: a gap in a conversation misleads more than a late start.
    """
    messages = _messages(records)
    kept: list[Message] = []
    for record in reversed(messages):
        content = with_references(record)
        budget -= len(content)
        if budget < 0:
            break
        kept.append(replace(record, content=content))
    return tuple(reversed(kept)), len(messages) - len(kept)


def has_more_since_reply(records: Sequence[Record]) -> bool:
    """Whether there are messages after the last turn's reply, which a back end's own history lacks."""
    answered = [
        index for index, record in enumerate(records) if isinstance(record, AssistantMessage) and record.turn
    ]
    since = records[answered[-1] + 1 :] if answered else records
    return bool(_messages(since))


def _messages(records: Sequence[Record]) -> list[UserMessage | AssistantMessage | SystemMessage]:
    """The messages, but for failed questions and what was answered of them."""
    failed = {record.question for record in records if isinstance(record, ErrorMessage)} - {UNSET}
    return [
        record
        for record in records
        if isinstance(record, UserMessage | AssistantMessage | SystemMessage)
        and record.content
        and record.seq not in failed
        and not (isinstance(record, AssistantMessage) and record.question in failed)
    ]


def with_references(record: Message) -> str:
    """A record as sent to a model: its content, then its references."""
    if isinstance(record, UserMessage) and record.references:
        return "\n\n".join([record.content, *map(_quoted, record.references)])
    return record.content


def _quoted(reference: Reference) -> str:
    return f"<{reference.type} {reference.target}>\n{reference.content or ''}\n</{reference.type}>"
