"""Which of a source's records its session has already, also where a turn of Port42 recorded them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec
from msgspec import UNSET

from port42_daemon.store.interface import COMPACTED, USAGE
from port42_daemon.transfer.merge import tokens_of, without_tokens
from port42_protocol.encoding import encode
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    Message,
    Record,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
    replace,
)
from port42_protocol.times import milliseconds

_SAME_TIME = 10 * 60 * 1000
"""Milliseconds between a message here and in the tool's file."""
_SAME_CALL = 60 * 1000
_STREAM_ID = re.compile(r"item_\d{1,9}")


class Known:
    """Records of a session, each of which stands for one of the source.

    A turn of Port42 that a tool answered is in the tool's file, too, in other pieces: the prompt contains the
    message and what was referenced, a text is a part of the reply, and tokens are counted with it.
    """

    def __init__(self, *, timed: bool = True) -> None:
        """`timed`: whether the source says when each message was written."""
        self._timed = timed
        self._counts: Counter[bytes] = Counter()
        self._user: list[tuple[str, int, bool]] = []
        """Messages of the user, their time, and whether they began a turn."""
        self._texts: dict[type[Record], list[str]] = {AssistantMessage: [], ThoughtRecord: []}
        self._calls: list[tuple[str, int]] = []
        """Tool calls that have an id of Codex's stream, which is not that of its file: name and time."""
        self._turns = False
        self._counted: dict[bytes, tuple[int, int]] = {}
        """Tokens of the events behind the last message, which the source's next one may have."""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._user or self._counts)

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, EventRecord) and record.event == USAGE:
                self._counted[_key(record)] = tokens_of(record)
            elif isinstance(record, Message):
                self._counted.clear()
            answers = getattr(record, "question", UNSET) is not UNSET
            if isinstance(record, UserMessage):
                self._user.append((record.content.strip(), milliseconds(record.timestamp), False))
                continue
            self._counts[_key(record)] += 1
            if isinstance(record, ToolRecord) and _STREAM_ID.fullmatch(record.id):
                self._calls.append((str(record.name), milliseconds(record.timestamp)))
            if answers and self._user:
                self._turns = True
                self._user[-1] = (*self._user[-1][:2], True)
            if answers and isinstance(record, AssistantMessage | ThoughtRecord):
                self._texts[type(record)].append(record.content)

    def take(self, record: Record) -> bool:
        """Whether the session has this record; what stands for it stands for no other."""
        if isinstance(record, UserMessage):
            return self._take_user(record.content.strip(), milliseconds(record.timestamp))
        for key in {_key(record), _digest(record)}:
            if self._counts[key] > 0:
                self._counts[key] -= 1
                self._counted.pop(key, None)
                return True
        if isinstance(record, ToolRecord):
            return self._take_call(str(record.name), milliseconds(record.timestamp))
        if isinstance(record, AssistantMessage | ThoughtRecord):
            return self._take_text(type(record), record.content.strip())
        return self._turns and isinstance(record, EventRecord) and record.event in {USAGE, COMPACTED}

    def without_counted(self, record: Record) -> Record | None:
        """A record that the session lacks, without tokens that it has; None for an event without others."""
        if not self._counted or not any(tokens_of(record)):
            return record
        sent, received = map(sum, zip(*self._counted.values(), strict=True))
        self._counted.clear()
        return without_tokens(record, (sent, received))

    def _take_user(self, content: str, when: int) -> bool:
        """The same words at another time are another message."""
        for number, (text, time, began) in enumerate(self._user):
            same = text == content or (began and text and text in content)
            if same and (not self._timed or abs(time - when) <= _SAME_TIME):
                del self._user[number]
                return True
        return False

    def _take_call(self, name: str, when: int) -> bool:
        for number, (known_name, time) in enumerate(self._calls):
            if known_name == name and abs(time - when) <= _SAME_CALL:
                del self._calls[number]
                return True
        return False

    def _take_text(self, kind: type[Record], content: str) -> bool:
        texts = self._texts[kind]
        for number, text in enumerate(texts):
            if (start := text.find(content)) >= 0:
                texts[number] = text[start + len(content) :]
                return True
        return False


def joined(earlier: Sequence[Record], later: Sequence[Record], *, timed: bool) -> list[Record]:
    """What two generations of a source have, in the order in which it was captured.

    Of a record that both have the later reading counts; what is new in the later one follows the earlier one.
    """
    copies: dict[bytes, list[int]] = {}
    for index, record in enumerate(later):
        copies.setdefault(_digest(record), []).append(index)
    records: list[Record] = []
    taken: set[int] = set()
    is_in_both = False
    for record in earlier:
        indexes = copies.get(_digest(record), [])
        same = next((each for each in indexes if _is_same(record, later[each], timed=timed)), None)
        if same is not None:
            indexes.remove(same)
            taken.add(same)
            records.append(later[same])
        # Tokens that the earlier one ended with belong to what follows in the later one.
        elif not (is_in_both and isinstance(record, EventRecord) and record.event == USAGE):
            records.append(record)
        is_in_both = same is not None
    return records + [record for index, record in enumerate(later) if index not in taken]


def _is_same(record: Record, other: Record, *, timed: bool) -> bool:
    """Of two with one digest. The same words of a person at another time are another message."""
    if not timed or not isinstance(record, UserMessage):
        return True
    return abs(milliseconds(record.timestamp) - milliseconds(other.timestamp)) <= _SAME_TIME


def _key(record: Record) -> bytes:
    """Its digest. A call that was given up is another one than the same call with its result."""
    if isinstance(record, ToolRecord) and record.state == "interrupted" and record.question is UNSET:
        return _digest(record) + b" interrupted"
    return _digest(record)


def _digest(record: Record) -> bytes:
    """Of its content, without position and time, which differ where a tool wrote its file anew."""
    if isinstance(record, ToolRecord):
        parts: object = ("tool", record.id)
    elif isinstance(record, Message):
        parts = (record.role, record.content.strip())
    elif isinstance(record, EventRecord) and record.event == USAGE:
        parts = ("usage", record.timestamp)
    else:
        changes = {"question": UNSET} if hasattr(record, "question") else {}
        parts = msgspec.to_builtins(replace(record, seq=0, timestamp="", **changes))
    return blake2b(encode(parts), digest_size=16).digest()
