"""Requests and results about turns and subscriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.events import Possessed
from port42_protocol.messages.records import Reference
from port42_protocol.messages.types import (
    AgentName,
    ClientName,
    Depth,
    Folder,
    Key,
    ModeId,
    ModelName,
    Prompt,
    Seq,
    SessionId,
)
from port42_protocol.request import Request

DEPTH_VARIABLE = "PORT42_DEPTH"
"""Has the `depth` of their turn in the environment of a back end's programs."""


class Cancelled(Struct, frozen=True):
    """Whether a turn was running."""

    cancelled: bool


class Taken(Struct, frozen=True):
    """Whether the permission request was still open."""

    taken: bool


class Subscribed(Struct, frozen=True):
    """The number of this connection's subscriptions."""

    subscriptions: int


class Variable(Struct, frozen=True):
    """A variable of a program's environment, or a header of a request."""

    name: str
    value: str


class McpServer(Struct, frozen=True, kw_only=True):
    """An MCP server: a program, which has a `command`, or an address, which has a `url`."""

    name: str
    type: Literal["stdio", "http", "sse"] = "stdio"
    command: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    url: str | None = None
    headers: tuple[Variable, ...] = ()

    def __post_init__(self) -> None:
        if (self.command is None) == (self.type == "stdio") or (self.url is None) == (self.type != "stdio"):
            raise ValueError("expected a command, or the type http or sse and a url")


@dataclass(frozen=True, slots=True)
class Possess(Request[Possessed]):
    """Send `message` to `agent`, in `session_id` or, without one, in a new session, and run a turn.

    With `stream` this connection gets `session_event` until the result. `if_busy` says what to do while
    another turn of the session is running: ``wait`` for it, return the ``error`` SESSION_BUSY, or continue in
    a ``fork`` of the session as it was before that turn. Without `detach` the turn ends with the connection.
    `depth` is how many agents asked one another until this turn: 0 for a person's. The programs of the turn
    have it in their environment as ``PORT42_DEPTH``; at most 8 turns of a `depth` run at once. `model` is the
    back end's for this turn, instead of the agent's; `mode` the id of one of its modes. A turn fails that
    asks for a mode which its back end lacks, or which the back end's `permissions` do not permit.
    `mcp_servers` are the client's, for this turn; an ACP agent uses them, and nothing of them is kept.
    """

    agent: AgentName
    message: Prompt
    session_id: SessionId | None = None
    client: ClientName = "rpc"
    cwd: Folder | None = None
    references: list[Reference] | None = None
    stream: bool = False
    if_busy: Literal["wait", "error", "fork"] = "wait"
    detach: bool = False
    idempotency_key: Key | None = None
    depth: Depth = 0
    model: ModelName | None = None
    mode: ModeId | None = None
    mcp_servers: list[McpServer] | None = None


@dataclass(frozen=True, slots=True)
class RetryTurn(Request[Possessed]):
    """Run a turn again for the session's last message, when its turn failed.

    `client`, `model` and `mode` are for this turn, as in ``possess``.
    """

    agent: AgentName
    session_id: SessionId
    stream: bool = False
    detach: bool = False
    model: ModelName | None = None
    mode: ModeId | None = None
    client: ClientName = "rpc"


@dataclass(frozen=True, slots=True)
class CancelTurn(Request[Cancelled]):
    """Stop the running turn; the reply received so far is kept."""

    session_id: SessionId


@dataclass(frozen=True, slots=True)
class AnswerPermission(Request[Taken]):
    """Choose one of the options of a ``permission`` event; without one, reject it."""

    session_id: SessionId
    permission_id: Annotated[str, Meta(min_length=1, max_length=64, description="a permission's id")]
    option_id: Annotated[str, Meta(max_length=200, description="an option's id")] | None = None


@dataclass(frozen=True, slots=True)
class Subscribe(Request[Subscribed]):
    """Subscribe to `session_event` of a session, an agent's sessions, or all.

    With `since_seq` (and a session) its later records are sent first; none is missed in between.
    """

    agent: AgentName | None = None
    session_id: SessionId | None = None
    since_seq: Seq | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe(Request[Subscribed]):
    """Cancel the subscription with the same params."""

    agent: AgentName | None = None
    session_id: SessionId | None = None
