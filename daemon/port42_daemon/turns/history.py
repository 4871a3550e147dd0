"""A session as a model is told of it: messages and what the agent did, within a budget. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.activity import describe
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    Message,
    PlanRecord,
    Record,
    Reference,
    SystemMessage,
    ToolRecord,
    UserMessage,
    replace,
)

BYTES_PER_CHAR = 4
"""The most that one character takes in a session's UTF-8 JSON, rare control characters aside."""
_STEP = {"pending": "[ ]", "in_progress": "[~]", "completed": "[x]"}


class _Entry(Struct):
    """The records of one message to the model: of a reply its texts, and the activities between them."""

    records: list[Record]

    @property
    def texts(self) -> list[str]:
        return [with_references(record) for record in self.records if isinstance(record, Message)]

    def extends(self, record: Record) -> bool:
        """Whether `record` is a part of the same reply."""
        last = self.records[-1]
        if not isinstance(last, AssistantMessage | Activity) or not isinstance(
            record, AssistantMessage | Activity
        ):
            return False
        of_turn = last.question is not UNSET and last.question == record.question
        return of_turn or isinstance(last, Activity) or isinstance(record, Activity)

    def message(self, lines: dict[int, str]) -> Message | None:
        """The message, with the `lines` of its activities, by their seq; None where there is nothing."""
        parts: list[str] = []
        was_line = False
        for record in self.records:
            line = lines.get(record.seq)
            text = with_references(record) if isinstance(record, Message) else line
            if text:
                # Lines of calls stand together, texts have an empty line around them.
                parts += ["\n" if was_line and line else "\n\n", text] if parts else [text]
                was_line = line is not None
        first = self.records[0]
        content = "".join(parts)
        if not content:
            return None
        if isinstance(first, Message):
            return replace(first, content=content)
        return AssistantMessage(seq=first.seq, content=content, timestamp=first.timestamp)


def select(records: Sequence[Record], budget: int) -> tuple[tuple[Message, ...], int]:
    """The newest of `records` that fit `budget` characters, and how many messages do not fit.

    The texts of a turn are one message, with a line for each tool call, and the latest plan, where they were.
    Failed turns, what was rolled back, thoughts and events do not count. References are part of a message's
    content, as when it was answered. Messages come first: the lines, newest first, have what is left of the
    budget. The first message that does not fit ends it: a gap in a conversation misleads more than a late
    start.
    """
    records = _in_effect(records)
    entries = _entries(records)
    kept: list[_Entry] = []
    for entry in reversed(entries):
        size = sum(len(text) + 2 for text in entry.texts) - 2 * bool(entry.texts)
        if size > budget:
            break
        budget -= size
        kept.append(entry)
    lines: dict[int, str] = {}
    of_activities = _lines(records)
    for record in (record for entry in kept for record in reversed(entry.records)):
        if line := of_activities.get(record.seq):
            budget -= len(line) + 2
            if budget < 0:
                break
            lines[record.seq] = line
    messages = [message for entry in reversed(kept) if (message := entry.message(lines)) is not None]
    left_out = sum(len(entry.texts) for entry in entries[: len(entries) - len(kept)])
    return tuple(messages), left_out


def transcript(records: Sequence[Record]) -> Iterable[Message]:
    """All messages, with the lines of what the agent did."""
    lines = _lines(records)
    for entry in _entries(records):
        if (message := entry.message(lines)) is not None:
            yield message


def has_more_since_reply(records: Sequence[Record]) -> bool:
    """Whether there are messages after the last turn's reply, which a back end's own history lacks."""
    answered = [
        index for index, record in enumerate(records) if isinstance(record, AssistantMessage) and record.turn
    ]
    since = records[answered[-1] + 1 :] if answered else records
    return any(entry.texts for entry in _entries(_in_effect(since)))


def _in_effect(records: Iterable[Record]) -> list[Record]:
    """The records but for what was rolled back, and for questions whose turn failed with these turns."""
    kept: list[Record] = []
    for record in records:
        kept.append(record)
        taken_back = (record.prompts or 0) if isinstance(record, EventRecord) else 0
        if taken_back > 0:
            prompts = [at for at, each in enumerate(kept) if isinstance(each, UserMessage)]
            # The first of them may be before the records that were read.
            del kept[prompts[-taken_back] if taken_back <= len(prompts) else 0 :]
    return _without_failed_questions(kept)


def _without_failed_questions(records: Sequence[Record]) -> list[Record]:
    """The records but for questions whose turn failed, and what belongs to these turns."""
    failed = {record.question for record in records if isinstance(record, ErrorMessage)} - {UNSET}
    return [record for record in records if record.seq not in failed and _question(record) not in failed]


def _question(record: Record) -> int | UnsetType:
    return record.question if isinstance(record, AssistantMessage | Activity) else UNSET


def _entries(records: Sequence[Record]) -> list[_Entry]:
    entries: list[_Entry] = []
    for record in records:
        if isinstance(record, UserMessage | AssistantMessage | SystemMessage):
            shown = bool(record.content)
        else:
            shown = isinstance(record, ToolRecord | PlanRecord)
        if shown and entries and entries[-1].extends(record):
            entries[-1].records.append(record)
        elif shown:
            entries.append(_Entry([record]))
    return entries


def _lines(records: Sequence[Record]) -> dict[int, str]:
    """What is told of each tool call, and of the latest plan, by their seqs."""
    lines = {record.seq: f"[tool] {describe(record)}" for record in records if isinstance(record, ToolRecord)}
    plan = next((record for record in reversed(records) if isinstance(record, PlanRecord)), None)
    if plan is not None and plan.entries:
        steps = [f"{_STEP[entry.state]} {entry.content}" for entry in plan.entries]
        lines[plan.seq] = "\n".join(["[plan]", *steps])
    return lines


def with_references(record: Message) -> str:
    """A record as sent to a model: its content, then its references."""
    if isinstance(record, UserMessage) and record.references:
        return "\n\n".join([record.content, *map(_quoted, record.references)])
    return record.content


def _quoted(reference: Reference) -> str:
    return f"<{reference.type} {reference.target}>\n{reference.content or ''}\n</{reference.type}>"
