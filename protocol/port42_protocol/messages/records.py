"""A session's records, and its summary."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar, cast

from msgspec import UNSET, Struct, UnsetType, ValidationError, convert, json, structs

from port42_protocol.encoding import encode
from port42_protocol.messages.types import RecordRole, State, Target, Text, ToolKind, prepared


class Reference(Struct, frozen=True, gc=False):
    """Context that is attached to a message.

    `target` is an absolute path (``file``), the id of a session whose transcript is attached (``session``),
    an address whose response to GET is attached (``url``), or the name of the text in `content` (``text``).
    """

    type: Literal["file", "session", "url", "text"]
    target: Target
    content: Text | None = None


class ForkPoint(Struct, frozen=True, gc=False):
    """Where a fork diverges from its original: records through `seq` are the original's."""

    session_id: str
    seq: int


class Parent(Struct, frozen=True, gc=False):
    """The session that a sub-agent's session belongs to, and the record there that it was started after."""

    session_id: str
    seq: int


class Source(Struct, frozen=True, gc=False):
    """The source of an imported session: its `format`, and its id there."""

    format: str
    id: str


class TurnRecord(Struct, frozen=True, kw_only=True, gc=False):
    """Facts about a turn, recorded with its reply.

    `model` is the one that the back end reported, else the requested one, which is `asked_model`. `persona`
    is the first 12 hex digits of the SHA-256 of the persona. `first_ms` is the time from the message being on
    the disk to the first text of the reply, `total_ms` to the end. `left_out` is the number of earlier
    messages that did not fit the model's context. `mode` is the id of the mode that was asked for, where the
    back end took it.
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
    mode: str | UnsetType = UNSET


R = TypeVar("R", bound="Record")


class Record:
    """One line of a session: one of `RECORDS`, told apart by its `role`.

    It has no fields, because msgspec would write a tag of its own first in the JSON, where `seq` has to be
    (docs/decisions/0027). Fields without a value are omitted. `author` is there for what another owner at the
    hub recorded: the role of PostgreSQL that is that owner.
    """

    __slots__ = ()

    seq: int
    role: RecordRole
    timestamp: str
    author: str | UnsetType


class Message(Record):
    """A record with text. `key` is the idempotency key of its request."""

    __slots__ = ()

    content: str
    key: str | UnsetType


class UserMessage(Message, Struct, frozen=True, kw_only=True, gc=False):
    """A message to the agent. `author` is the other owner at the hub who sent it, where one did."""

    seq: int
    role: Literal["user"] = "user"
    content: str
    timestamp: str
    references: tuple[Reference, ...] | UnsetType = UNSET
    key: str | UnsetType = UNSET
    author: str | UnsetType = UNSET


class AssistantMessage(Message, Struct, frozen=True, kw_only=True, gc=False):
    """A reply of the agent to the message with the seq `question`."""

    seq: int
    role: Literal["assistant"] = "assistant"
    content: str
    timestamp: str
    status: Literal["complete", "interrupted"] | UnsetType = UNSET
    question: int | UnsetType = UNSET
    turn: TurnRecord | UnsetType = UNSET
    key: str | UnsetType = UNSET
    author: str | UnsetType = UNSET


class SystemMessage(Message, Struct, frozen=True, kw_only=True, gc=False):
    """A system message."""

    seq: int
    role: Literal["system"] = "system"
    content: str
    timestamp: str
    key: str | UnsetType = UNSET
    author: str | UnsetType = UNSET


class ErrorMessage(Message, Struct, frozen=True, kw_only=True, gc=False):
    """A turn that failed: the `kind` of the failure and the seq of its `question`.

    Later turns get neither the question nor the partial reply as context.
    """

    seq: int
    role: Literal["error"] = "error"
    content: str
    timestamp: str
    kind: str | UnsetType = UNSET
    question: int | UnsetType = UNSET
    key: str | UnsetType = UNSET
    author: str | UnsetType = UNSET


class EventRecord(Record, Struct, frozen=True, kw_only=True, gc=False):
    """A change of a session.

    ``renamed`` has the new `title`, ``tagged`` all current `tags`, ``pinned`` the new state, ``compacted``
    the summary with which the agent replaced what was before, ``usage`` a `turn` with tokens that no message
    has. ``rolled_back``: the agent goes on without the last `prompts` messages of the user, those that were
    taken back before not counted, and without what followed them. ``trashed`` and ``restored`` say where it
    went. A newer daemon may have written other events.
    """

    seq: int
    role: Literal["event"] = "event"
    event: str
    timestamp: str
    title: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    content: str | UnsetType = UNSET
    turn: TurnRecord | UnsetType = UNSET
    author: str | UnsetType = UNSET
    prompts: int | UnsetType = UNSET


class Activity(Record):
    """What the agent did besides speaking. `question` is the seq of the message it belongs to, if known."""

    __slots__ = ()

    question: int | UnsetType


class Location(Struct, frozen=True, omit_defaults=True, gc=False):
    """A file that a tool call was about; `line` counts from 1."""

    path: str
    line: int | None = None


class ToolRecord(Activity, Struct, frozen=True, kw_only=True, gc=False):
    """A tool call that ended. `timestamp` is its end.

    `title` describes it in a line. `input` is JSON or text. Of a long `input` or `output` the head and the
    tail are kept; `input_omitted` and `output_omitted` are the bytes left out between them. ``interrupted``:
    the turn ended before the call did.
    """

    seq: int
    role: Literal["tool"] = "tool"
    timestamp: str
    id: str
    name: str | UnsetType = UNSET
    title: str
    kind: ToolKind = "other"
    state: Literal["done", "failed", "interrupted"]
    input: str | UnsetType = UNSET
    output: str | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    locations: tuple[Location, ...] | UnsetType = UNSET
    input_omitted: int | UnsetType = UNSET
    output_omitted: int | UnsetType = UNSET
    question: int | UnsetType = UNSET
    author: str | UnsetType = UNSET


class ThoughtRecord(Activity, Struct, frozen=True, kw_only=True, gc=False):
    """Reasoning of the model between two other records."""

    seq: int
    role: Literal["thought"] = "thought"
    timestamp: str
    content: str
    omitted: int | UnsetType = UNSET
    question: int | UnsetType = UNSET
    author: str | UnsetType = UNSET


class PlanEntry(Struct, frozen=True, gc=False):
    """One step of a plan."""

    content: str
    state: Literal["pending", "in_progress", "completed"] = "pending"


class PlanRecord(Activity, Struct, frozen=True, kw_only=True, gc=False):
    """The agent's plan. It replaces the one before it."""

    seq: int
    role: Literal["plan"] = "plan"
    timestamp: str
    entries: tuple[PlanEntry, ...]
    question: int | UnsetType = UNSET
    author: str | UnsetType = UNSET


class PermissionRecord(Activity, Struct, frozen=True, kw_only=True, gc=False):
    """A permission that the agent requested.

    `chosen` is the name of the option, null when none was; `by` is what chose: the client's name, ``config``
    (the back end's `permissions`), ``nobody`` (no client could answer), or ``cancel``.
    """

    seq: int
    role: Literal["permission"] = "permission"
    timestamp: str
    title: str
    kind: ToolKind = "other"
    options: tuple[str, ...] = ()
    chosen: str | None = None
    by: str
    question: int | UnsetType = UNSET
    author: str | UnsetType = UNSET


MESSAGES: dict[str, type[UserMessage | AssistantMessage | SystemMessage | ErrorMessage]] = {
    "user": UserMessage,
    "assistant": AssistantMessage,
    "system": SystemMessage,
    "error": ErrorMessage,
}
"""The type of a message by its role."""

ACTIVITIES: dict[str, type[ToolRecord | ThoughtRecord | PlanRecord | PermissionRecord]] = {
    "tool": ToolRecord,
    "thought": ThoughtRecord,
    "plan": PlanRecord,
    "permission": PermissionRecord,
}
"""The type of an activity by its role."""

RECORDS: dict[str, Any] = {**MESSAGES, "event": EventRecord, **ACTIVITIES}
"""The type of a record by its role."""


class _Head(Struct):
    """What tells a record's type: `event` is an activity's role in a session's file."""

    role: RecordRole
    event: str = ""


_OWN_LINE = re.compile(rb'\{"seq":\d{1,16},"role":"(\w+)"(?:,"event":"(\w+)")?')
_decoders = {role.encode(): json.Decoder(kind) for role, kind in RECORDS.items()}
_STORED_AS_EVENTS = frozenset(role.encode() for role in ACTIVITIES)


def encode_stored(record: Record) -> bytes:
    """A record's JSON in a session's file.

    Activities are there as events, which an older daemon keeps and passes over (docs/decisions/0034).
    """
    line = encode(record)
    if isinstance(record, Activity):
        return line.replace(b'"role":"', b'"role":"event","event":"', 1)
    return line


def decode_record(line: bytes) -> Record:
    """A record from its JSON, stored or not.

    Raises `msgspec.DecodeError`, UnicodeDecodeError or RecursionError.
    """
    # The daemon writes `role` at a fixed position; other lines are parsed twice.
    match = _OWN_LINE.match(line)
    role, event = match.groups() if match else (b"", None)
    if event in _STORED_AS_EVENTS:
        try:
            own = line.replace(b'"role":"event","event":"', b'"role":"', 1)
            return cast("Record", _decoders[event].decode(own))
        except ValidationError:
            pass  # an older daemon has repaired it
    decoder = _decoders.get(role)
    record = decoder.decode(line) if decoder else None
    if record is None or (isinstance(record, EventRecord) and record.event in ACTIVITIES):
        return convert_record(json.decode(line))
    return cast("Record", record)


def convert_record(value: object) -> Record:
    """A record from plain values. Raises `msgspec.ValidationError`."""
    head = convert(value, prepared(_Head))
    if head.role == "event" and head.event in ACTIVITIES and isinstance(value, dict):
        try:
            return cast("Record", convert(value | {"role": head.event}, ACTIVITIES[head.event]))
        except ValidationError:
            # An older daemon that repairs a file keeps of an event the fields that it knows.
            return convert(value, EventRecord)
    return cast("Record", convert(value, RECORDS[head.role]))


def replace(record: R, **changes: Any) -> R:
    """A copy with some fields changed."""
    return structs.replace(cast("Any", record), **changes)  # type: ignore[no-any-return]


def dec_hook(kind: type, value: object) -> Record:
    """msgspec's hook for the type `Record`."""
    if kind is Record:
        return convert_record(value)
    raise NotImplementedError(kind)  # how a hook of msgspec declines a type


class Summary(Struct, frozen=True, gc=False):
    """A session in a list. `message_count` counts user and assistant messages.

    A pinned session is exempt from `prune_sessions`; `forked_from` names a fork's original; `parent` is
    there for the session of a sub-agent.
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
    parent: Parent | UnsetType = UNSET
