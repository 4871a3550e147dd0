"""What is heard while a turn runs, and how it went. No request is defined here: a command that only listens
does not pay for one."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.messages.records import Record, TurnRecord
from port42_protocol.messages.types import TurnStatus


class Possessed(Struct, frozen=True):
    """How a turn went: `seq` is the question's, `reply_seq` the reply's. All of it is on the disk.

    ``recorded``: no back end answers for the agent. ``interrupted``: `reply` is what there was until then.
    """

    session_id: str
    seq: int
    status: TurnStatus
    reply: str | None = None
    reply_seq: int | None = None
    turn: TurnRecord | None = None


class PermissionOption(Struct, frozen=True):
    """One answer to a request for permission; `kind` as in ACP (allow_once, reject_once …)."""

    id: str
    name: str
    kind: str


class _Event(Struct, frozen=True, tag_field="kind"):
    """What every event has."""

    session_id: str
    agent: str


class MessageEvent(_Event, frozen=True, kw_only=True, tag="message"):
    """A record that is on the disk."""

    message: Record


class WaitingEvent(_Event, frozen=True, kw_only=True, tag="waiting"):
    """`position` turns are before this one."""

    position: int


class StartedEvent(_Event, frozen=True, kw_only=True, tag="started"):
    """A back end took the turn."""

    backend: str
    model: str | UnsetType = UNSET


class TextEvent(_Event, frozen=True, kw_only=True, tag="text"):
    """A piece of the reply."""

    text: str


class ThoughtEvent(_Event, frozen=True, kw_only=True, tag="thought"):
    """A piece of what the model thinks before it replies."""

    text: str


class ToolEvent(_Event, frozen=True, kw_only=True, tag="tool"):
    """A tool that the agent uses, described by `text`, or a change of its `state`."""

    text: str
    tool_id: str
    state: Literal["running", "done", "failed"]


class UsageEvent(_Event, frozen=True, kw_only=True, tag="usage"):
    """Tokens of the turn so far."""

    input_tokens: int
    output_tokens: int


class NoticeEvent(_Event, frozen=True, kw_only=True, tag="notice"):
    """Something about the turn that is worth knowing."""

    text: str


class PermissionEvent(_Event, frozen=True, kw_only=True, tag="permission"):
    """The agent asks for leave to do `text`: `answer_permission` chooses one of the options."""

    text: str
    permission_id: str
    options: tuple[PermissionOption, ...]


class EndedEvent(_Event, frozen=True, kw_only=True, tag="ended"):
    """The turn is over; its record was sent before."""


class OverflowEvent(_Event, frozen=True, kw_only=True, tag="overflow"):
    """This subscription was dropped because its reader is too slow."""


class DeletedEvent(_Event, frozen=True, kw_only=True, tag="deleted"):
    """The session is in the trash."""


class RestoredEvent(_Event, frozen=True, kw_only=True, tag="restored"):
    """The session is back from the trash."""


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
