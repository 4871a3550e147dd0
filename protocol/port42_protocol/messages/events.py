"""Events of turns and sessions. Requests are elsewhere: a command that only receives events imports none."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.messages.records import Location, Record, TurnRecord
from port42_protocol.messages.types import ToolKind, TurnStatus


class Possessed(Struct, frozen=True):
    """The outcome of a turn, which is on the disk: `seq` of the message, `reply_seq` of the reply.

    `reply` has the texts between what the agent did besides, with an empty line between them; `reply_seq` is
    the last one's. ``recorded``: the agent has no back end. ``interrupted``: `reply` is the part received
    until then.
    """

    session_id: str
    seq: int
    status: TurnStatus
    reply: str | None = None
    reply_seq: int | None = None
    turn: TurnRecord | None = None


class PermissionOption(Struct, frozen=True):
    """One option of a permission request; `kind` as in ACP (allow_once, reject_once …)."""

    id: str
    name: str
    kind: str


class _Event(Struct, frozen=True, tag_field="kind"):
    """The fields of every event."""

    session_id: str
    agent: str


class MessageEvent(_Event, frozen=True, kw_only=True, tag="message"):
    """A record was written to the disk."""

    message: Record


class WaitingEvent(_Event, frozen=True, kw_only=True, tag="waiting"):
    """The turn waits in the queue; `position` turns are before it.

    `machine`: the name of the other machine that runs the session's turn.
    """

    position: int
    machine: str | UnsetType = UNSET


class StartedEvent(_Event, frozen=True, kw_only=True, tag="started"):
    """The back end began the turn."""

    backend: str
    model: str | UnsetType = UNSET


class TextEvent(_Event, frozen=True, kw_only=True, tag="text"):
    """A piece of the reply."""

    text: str


class ThoughtEvent(_Event, frozen=True, kw_only=True, tag="thought"):
    """A piece of the model's reasoning."""

    text: str


class ToolEvent(_Event, frozen=True, kw_only=True, tag="tool"):
    """A tool call of the agent, described by `text`, or a change of its `state`."""

    text: str
    tool_id: str
    state: Literal["running", "done", "failed"]
    tool_kind: ToolKind | UnsetType = UNSET


class UsageEvent(_Event, frozen=True, kw_only=True, tag="usage"):
    """Tokens of the turn so far."""

    input_tokens: int
    output_tokens: int


class NoticeEvent(_Event, frozen=True, kw_only=True, tag="notice"):
    """Information about the turn for the user."""

    text: str


class PermissionEvent(_Event, frozen=True, kw_only=True, tag="permission"):
    """The agent requests permission for `text`: `answer_permission` chooses one of the options.

    `tool_id` is the tool call that it is about, if the agent says so. `input` is its arguments, `locations`
    its files, as far as they are known; `input_omitted` bytes are left out of `input`, as in its record.
    """

    text: str
    permission_id: str
    options: tuple[PermissionOption, ...]
    tool_id: str | UnsetType = UNSET
    tool_kind: ToolKind | UnsetType = UNSET
    input: str | UnsetType = UNSET
    input_omitted: int | UnsetType = UNSET
    locations: tuple[Location, ...] | UnsetType = UNSET


class EndedEvent(_Event, frozen=True, kw_only=True, tag="ended"):
    """The turn ended; its record was sent before."""


class OverflowEvent(_Event, frozen=True, kw_only=True, tag="overflow"):
    """This subscription was cancelled because its client reads too slowly."""


class DeletedEvent(_Event, frozen=True, kw_only=True, tag="deleted"):
    """The session was moved to the trash."""


class RestoredEvent(_Event, frozen=True, kw_only=True, tag="restored"):
    """The session was restored from the trash."""


SessionEvent = (
    MessageEvent
    | WaitingEvent
    | StartedEvent
    | TextEvent
    | ThoughtEvent
    | ToolEvent
    | UsageEvent
    | NoticeEvent
    | PermissionEvent
    | EndedEvent
    | OverflowEvent
    | DeletedEvent
    | RestoredEvent
)
"""The params of a `session_event` notification, told apart by `kind`."""
