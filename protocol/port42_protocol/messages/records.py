"""What a session is kept as: its messages, what answered them, and the summary of it."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar, cast

from msgspec import UNSET, Struct, UnsetType, convert, json, structs

from port42_protocol.messages.types import RecordRole, State, Target, Text


class Reference(Struct, frozen=True):
    """Something to read beside a message.

    ``file``: `target` is an absolute path; ``session``: an id, its transcript; ``url``: what it answers to
    a GET; ``text``: `content` is it, and `target` what to call it (``stdin``).
    """

    type: Literal["file", "session", "url", "text"]
    target: Target
    content: Text | None = None


class ForkPoint(Struct, frozen=True):
    """Where a fork left its original: everything through `seq` is the original's."""

    session_id: str
    seq: int


class Source(Struct, frozen=True):
    """Where an imported session came from: the `format` it was read as, and its id there."""

    format: str
    id: str


class TurnRecord(Struct, frozen=True, kw_only=True):
    """What answered, recorded with the reply.

    `model` is what the back end said it used, else what it was asked for, which is `asked_model`.
    `persona` is the first 12 hex digits of the SHA-256 of the persona. `first_ms` is the time from the
    question being on the disk to the first text, `total_ms` to the end. `left_out` counts earlier messages
    that did not fit the model's budget.
    """

    backend: str
    model: str | None = None
    asked_model: str | None = None
    persona: str | None = None
    native_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_ms: int | None = None
    total_ms: int = 0
    left_out: int = 0


R = TypeVar("R", bound="Record")


class Record:
    """One line of a session: one of `RECORDS`, told apart by its `role`.

    A class without fields of its own, because a tag that msgspec writes by itself stands first in the
    JSON, where `seq` has to be (docs/decisions/0027). Fields that have no value are left out.
    """

    __slots__ = ()

    seq: int
    role: RecordRole
    timestamp: str


class Message(Record):
    """A record that somebody wrote. `key` is the idempotency key it came with."""

    __slots__ = ()

    content: str
    key: str | UnsetType


class UserMessage(Message, Struct, frozen=True, kw_only=True):
    """What an agent was asked or told."""

    seq: int
    role: Literal["user"] = "user"
    content: str
    timestamp: str
    references: tuple[Reference, ...] | UnsetType = UNSET
    key: str | UnsetType = UNSET


class AssistantMessage(Message, Struct, frozen=True, kw_only=True):
    """What an agent replied. `question` is the seq of the message that it replies to."""

    seq: int
    role: Literal["assistant"] = "assistant"
    content: str
    timestamp: str
    status: Literal["complete", "interrupted"] | UnsetType = UNSET
    question: int | UnsetType = UNSET
    turn: TurnRecord | UnsetType = UNSET
    key: str | UnsetType = UNSET


class SystemMessage(Message, Struct, frozen=True, kw_only=True):
    """An instruction that somebody put into the session."""

    seq: int
    role: Literal["system"] = "system"
    content: str
    timestamp: str
    key: str | UnsetType = UNSET


class ErrorMessage(Message, Struct, frozen=True, kw_only=True):
    """A turn that failed: the `kind` of the failure and the seq of its `question`.

    Later turns see neither of them, nor what was answered of the question.
    """

    seq: int
    role: Literal["error"] = "error"
    content: str
    timestamp: str
    kind: str | UnsetType = UNSET
    question: int | UnsetType = UNSET
    key: str | UnsetType = UNSET


class EventRecord(Record, Struct, frozen=True, kw_only=True):
    """What changed about a session.

    ``renamed`` has the new `title`, ``tagged`` all the `tags` there are now, ``pinned`` whether it is. A
    newer daemon may have written an `event` of another name.
    """

    seq: int
    role: Literal["event"] = "event"
    event: str
    timestamp: str
    title: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET


MESSAGES: dict[str, type[UserMessage | AssistantMessage | SystemMessage | ErrorMessage]] = {
    "user": UserMessage,
    "assistant": AssistantMessage,
    "system": SystemMessage,
    "error": ErrorMessage,
}
"""The type of a message by its role."""

RECORDS: dict[str, Any] = {**MESSAGES, "event": EventRecord}
"""The type of a record by its role."""


class _Head(Struct):
    """What every record has, whatever order its fields are in."""

    role: RecordRole


_OWN_LINE = re.compile(rb'\{"seq":\d{1,16},"role":"(\w+)"')
_head = json.Decoder(_Head)
_decoders = {role.encode(): json.Decoder(kind) for role, kind in RECORDS.items()}


def decode_record(line: bytes) -> Record:
    """A record from its JSON. Raises `msgspec.DecodeError`, UnicodeDecodeError or RecursionError."""
    # The daemon's own lines name the role at once; others are read twice.
    match = _OWN_LINE.match(line)
    decoder = _decoders.get(match[1]) if match else None
    if decoder is None:
        decoder = _decoders[_head.decode(line).role.encode()]
    return cast("Record", decoder.decode(line))


def convert_record(value: object) -> Record:
    """A record from plain values. Raises `msgspec.ValidationError`."""
    return cast("Record", convert(value, RECORDS[convert(value, _Head).role]))


def replace(record: R, **changes: Any) -> R:
    """A copy with other values in some fields."""
    return structs.replace(cast("Any", record), **changes)  # type: ignore[no-any-return]


def dec_hook(kind: type, value: object) -> Record:
    """What msgspec calls for a field of the type `Record`."""
    if kind is Record:
        return convert_record(value)
    raise NotImplementedError(kind)


class Summary(Struct, frozen=True):
    """What a list shows of a session. `message_count` counts user and assistant messages.

    A pinned session is exempt from `prune_sessions`; `forked_from` says whose fork it is.
    """

    session_id: str
    agent: str
    title: str | None
    state: State
    created_at: str
    last_activity: str
    message_count: int
    cwd: str | None
    tags: tuple[str, ...] = ()
    pinned: bool = False
    forked_from: ForkPoint | None = None
