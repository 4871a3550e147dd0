"""Reading a source again: its records as they are read today, and what was added to the session since."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from msgspec import UNSET, structs

from port42_daemon.store.interface import COMPACTED, ROLLED_BACK, USAGE
from port42_protocol.errors import RpcError
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    EventRecord,
    Message,
    PermissionRecord,
    Record,
    ThoughtRecord,
    ToolRecord,
    replace,
)

_AHEAD = 8
"""How many messages of the source a stored message may have been left out before, as one that was refused."""


def merged(stored: Sequence[Record], source: Sequence[Record], before: int = 0) -> list[Record]:
    """The records of the rewritten session, numbered behind those that are `before` them.

    A stored record that belongs to a turn of Port42 stays in the place of the source's copy of it. What the
    source has no copy of comes behind the record that it followed, or at the end, in its order; of that, only
    what an earlier reading made of a part that the source still has is left out.
    """
    places = _Places(source)
    matched: dict[int, tuple[int, Record]] = {}
    added: dict[int, list[Record]] = {}
    pending: list[Record] = []
    position = 0
    for record in stored:
        index = places.take(record, position)
        if index is None:
            pending.append(record)
            continue
        if pending:
            added.setdefault(position, []).extend(filter(_is_kept, pending))
            pending = []
        matched[index] = record.seq, record if _is_own(record) else _in_the_tool(source[index], record)
        if not isinstance(record, EventRecord):  # of two with one name it may be another
            position = max(position, index + 1)
    if position < len(source):
        pending = list(filter(_is_kept, pending))
    result: list[tuple[int, Record]] = []  # each with the seq that it had in the session, 0 for a new one
    for index, record in enumerate(source):
        result += [(each.seq, each) for each in added.get(index, ())]
        result.append(matched.get(index, (0, record)))
    result += [(each.seq, each) for each in [*added.get(len(source), ()), *pending]]
    seqs = {seq: seq for seq in range(1, before + 1)}
    seqs |= {old: new for new, (old, _) in enumerate(result, before + 1) if old}
    return [renumbered(record, seq, seqs) for seq, (_, record) in enumerate(result, before + 1)]


class _Places:
    """Where records stand in a source; each place is given once."""

    def __init__(self, source: Sequence[Record]) -> None:
        self._messages = [index for index, record in enumerate(source) if isinstance(record, Message)]
        self._source = source
        self._next = 0
        self._others: dict[tuple[str, str], list[int]] = {}
        for index in range(len(source) - 1, -1, -1):
            if not isinstance(source[index], Message):
                self._others.setdefault(identity(source[index]), []).append(index)

    def take(self, record: Record, position: int) -> int | None:
        """The index of the source's copy of a record, None without one; of messages, from `position` on."""
        if not isinstance(record, Message):
            indexes = self._others.get(identity(record))
            return indexes.pop() if indexes else None
        while self._next < len(self._messages) and self._messages[self._next] < position:
            self._next += 1
        for ahead, index in enumerate(self._messages[self._next : self._next + _AHEAD + 1], 1):
            if identity(self._source[index]) == identity(record):
                self._next += ahead
                return index
        return None


def identity(record: Record) -> tuple[str, str]:
    """What stays the same however a source is read: formats without times use the time of the file."""
    match record:
        case Message(content=text) | ThoughtRecord(content=text):
            return record.role, text
        case ToolRecord(id=text):
            return "tool", text
        case EventRecord(event=text):
            return "event", text
    return record.role, ""


def is_of_source(record: Record) -> bool:
    """Whether a reader gives such records: titles, tags and pins are given in Port42."""
    return not isinstance(record, EventRecord) or record.event in {COMPACTED, ROLLED_BACK, USAGE}


def tokens_of(record: Record) -> tuple[int, int]:
    """Those that were sent and received, of the message or the event."""
    turn = record.turn if isinstance(record, AssistantMessage | EventRecord) else None
    return (turn.input_tokens or 0, turn.output_tokens or 0) if turn else (0, 0)


def without_tokens(record: Record, counted: tuple[int, int]) -> Record | None:
    """The record without the tokens that were counted already; None for an event without others."""
    if not isinstance(record, AssistantMessage | EventRecord) or not record.turn:
        return record
    sent, received = (max(have - less, 0) for have, less in zip(tokens_of(record), counted, strict=True))
    if isinstance(record, EventRecord) and not sent and not received:
        return None
    return replace(record, turn=structs.replace(record.turn, input_tokens=sent, output_tokens=received))


def copied(stored: Iterator[Record], records: Iterable[Record]) -> tuple[int, bool]:
    """The seq of the last stored record that one of the next `records` copies, and whether all are copies."""
    seq = 0
    stored = filter(is_of_source, stored)
    with contextlib.suppress(RpcError):  # it is not here
        for record in filter(is_of_source, records):
            original = next(stored, None)
            if original is None or identity(original) != identity(record):
                return seq, False
            seq = original.seq
        return seq, True
    return 0, False


def _is_kept(record: Record) -> bool:
    return _is_own(record) or isinstance(record, Message)


def _is_own(record: Record) -> bool:
    """Whether it was recorded by Port42 itself, in a turn or by a command."""
    if isinstance(record, PermissionRecord) or not is_of_source(record):
        return True
    return any(getattr(record, field, UNSET) is not UNSET for field in ("question", "key"))


def _in_the_tool(source: Record, stored: Record) -> Record:
    """The source's record; a reply is still one that the tool's own session has."""
    if not isinstance(source, AssistantMessage) or not isinstance(stored, AssistantMessage):
        return source
    if not source.turn or not stored.turn or source.turn.native_id:
        return source
    return replace(source, turn=structs.replace(source.turn, native_id=stored.turn.native_id))


def renumbered(record: Record, seq: int, seqs: dict[int, int]) -> Record:
    """The record with this number; `seqs` has the new number of each that it may refer to."""
    question = getattr(record, "question", UNSET)
    if isinstance(question, int) and isinstance(record, Message | Activity):
        return replace(record, seq=seq, question=seqs.get(question, UNSET))
    return replace(record, seq=seq)
