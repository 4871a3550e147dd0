"""The interface of back ends: a turn goes in, events come out, exactly one `Done`, last.

`tests/contract/test_backends.py` has the contract: a failure is `Done(failure)`, never an exception;
cancelling ends the turn and leaves nothing at work but a warm agent that was told to stop; nothing blocks the
event loop; no secret is in an event, a failure or the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal, Protocol

from msgspec import Struct

from port42_protocol.messages.agents import Mode
from port42_protocol.messages.events import PermissionOption
from port42_protocol.messages.records import Location, Message, PlanEntry
from port42_protocol.messages.turns import McpServer
from port42_protocol.messages.types import ToolKind

FailureKind = Literal["missing", "needs_auth", "network", "rate_limit", "refused", "crashed", "timeout"]
HealthState = Literal["ready", "missing", "needs_auth", "unreachable"]


class Turn(Struct, frozen=True):
    """One question, after the `history` that fits the budget, oldest first.

    `native_id` is the back end's own name for the conversation, from an earlier turn's `Started`; a back
    end that resumes by it ignores `history`, one that cannot falls back on it and says so in a `Notice`.
    `depth` is how many agents asked one another until this turn, which its programs are told. `mode` is the
    id of one of the back end's, for this turn only, as are the client's `mcp_servers`.
    """

    session_id: str
    message: str
    history: tuple[Message, ...] = ()
    system: str | None = None
    model: str | None = None
    cwd: str | None = None
    native_id: str | None = None
    depth: int = 0
    mode: str | None = None
    mcp_servers: tuple[McpServer, ...] = ()


class Started(Struct, frozen=True):
    """The back end took the turn. What it says of itself is recorded with the reply."""

    native_id: str | None = None
    model: str | None = None


class ModeTaken(Struct, frozen=True):
    """The back end works in the mode that the turn asked for."""

    mode: str


class Text(Struct, frozen=True):
    """A piece of the reply."""

    text: str


class Thought(Struct, frozen=True):
    """A piece of reasoning: shown folded, not part of the reply."""

    text: str


class Tool(Struct, frozen=True):
    """A tool call, by `id`; sent again when something of it changes: what is None or empty is as it was.

    `input` is the arguments (object or text), `output` text, or content blocks of ACP, MCP or a model API.
    """

    id: str
    title: str
    state: Literal["running", "done", "failed"]
    name: str | None = None
    kind: ToolKind | None = None
    input: Any = None
    output: Any = None
    locations: tuple[Location, ...] = ()


class Plan(Struct, frozen=True):
    """The agent's plan. It replaces the one before it."""

    entries: tuple[PlanEntry, ...]


class Compacted(Struct, frozen=True):
    """The agent replaced what was said before by `summary`, where it tells that."""

    summary: str | None = None


class Usage(Struct, frozen=True):
    """Tokens of this turn so far. Totals, not differences: the last one counts."""

    input_tokens: int
    output_tokens: int


class Notice(Struct, frozen=True):
    """Something the person should know: history left out, a session that could not be resumed."""

    text: str


class Failure(Struct, frozen=True):
    """Why there is no whole reply; `message` is one line for a person."""

    kind: FailureKind
    message: str


class Done(Struct, frozen=True):
    """The end. Without a failure the text so far is the whole reply."""

    failure: Failure | None = None
    stop_reason: str | None = None


ACTIVITIES = (Tool, Thought, Plan, Compacted)
"""What ends a piece of the reply: text that follows begins another."""


class Permission(Struct, frozen=True):
    """A permission request of an agent, for the tool call `tool_id` where it names one."""

    title: str
    kind: ToolKind
    options: tuple[PermissionOption, ...]
    tool_id: str | None = None


class Decided(Struct, frozen=True):
    """A permission that the back end decided by its configuration; `chosen` is an option's id."""

    permission: Permission
    chosen: str | None


Event = Started | ModeTaken | Text | Thought | Tool | Plan | Compacted | Decided | Usage | Notice | Done


Ask = Callable[[Permission], Awaitable[str | None]]
"""Asks the user; returns the chosen option's id, None when no client can answer."""


class Health(Struct, frozen=True):
    """Whether a turn could be answered now, one line on why or by what, the models and modes that are known.

    `mode` is the id of the one for turns that ask for none.
    """

    state: HealthState
    detail: str
    models: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ()
    mode: str | None = None


class ModelOffer(Struct, frozen=True):
    """The models that a back end can be asked for; `detail` says why they are not known, or not all."""

    models: tuple[str, ...] = ()
    detail: str | None = None


class Backend(Protocol):
    """Runs turns, also of many sessions at once.

    `tool` names the program whose own conversations a turn's `native_id` can continue, as the readers of its
    files call it (``claude``, ``codex`` …). `has_modes` says whether it reads a turn's `mode`,
    `takes_mcp_servers` whether its `mcp_servers`.
    """

    tool: str | None
    has_modes: bool
    takes_mcp_servers: bool

    async def probe(self) -> Health:
        """Check without a request to a model; quick, never raises."""

    async def models(self) -> ModelOffer:
        """Which models there are, if need be by a request to a server; within seconds, never raises."""

    def run(self, turn: Turn, ask: Ask) -> AsyncIterator[Event]: ...

    async def aclose(self) -> None:
        """Stop processes and connections that were kept for later turns."""
