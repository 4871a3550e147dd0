"""Requests and results about agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from port42_protocol.messages.types import AgentName, BackendName, Content, ModelName
from port42_protocol.request import Request


class Mode(Struct, frozen=True):
    """A mode in which a back end can work, such as ``plan``."""

    id: str
    name: str


class Agent(Struct, frozen=True):
    """One agent: its source, its back end, and its sessions.

    `backend` is a name from config.toml, or ``none``, which records messages without replying; `health` is
    one of ``ready``, ``missing``, ``needs_auth``, ``unreachable`` and ``none``, and `detail` explains it.
    `models` and `modes`, where they are known, are those that the back end offered when it last opened a
    session, without the modes that its `permissions` do not permit; `mode` is the id of the one for turns
    that ask for none. `takes_mcp_servers` is there, and true, where turns can bring MCP servers.
    """

    agent: str
    source: Literal["built-in", "config", "sessions"]
    system: str | None
    backend: str
    model: str | None
    health: Literal["ready", "missing", "needs_auth", "unreachable", "none"]
    detail: str
    session_count: int
    last_session: str | None
    models: tuple[str, ...] | UnsetType = UNSET
    modes: tuple[Mode, ...] | UnsetType = UNSET
    mode: str | UnsetType = UNSET
    takes_mcp_servers: bool | UnsetType = UNSET


class AgentList(Struct, frozen=True):
    """`available` names back ends on this machine that can be connected; none is used without that.

    `config_error` says why the current ``config.toml`` is not used, if so.
    """

    agents: tuple[Agent, ...]
    available: tuple[str, ...]
    config_error: str | None


class ModelList(Struct, frozen=True):
    """Models that can be asked for on `backend`; `model` is the one that is asked if none is named.

    Those that config.toml names for the back end, then those that it offers: a model server lists them, an
    ACP agent when it opens a session. `detail` says why what it offers is not known, or is not whole.
    """

    agent: str
    backend: str
    model: str | None
    models: tuple[str, ...]
    detail: str | None


class Removed(Struct, frozen=True):
    """The agent that was removed from config.toml."""

    agent: str


@dataclass(frozen=True, slots=True)
class ListAgents(Request[AgentList]):
    """List all agents: built in, configured, or with sessions."""


@dataclass(frozen=True, slots=True)
class AddAgent(Request[Agent]):
    """Add `agent` to ``config.toml``, with its persona `system`."""

    agent: AgentName
    system: Content | None = None


@dataclass(frozen=True, slots=True)
class GetAgent(Request[Agent]):
    """Get one agent; the health of its back end is checked now."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class ListModels(Request[ModelList]):
    """List the models that the agent's back end has, or another `backend` that could be connected.

    A model server is asked for its list, which is kept for a minute.
    """

    agent: AgentName
    backend: BackendName | None = None


@dataclass(frozen=True, slots=True)
class ConnectAgent(Request[Agent]):
    """Set the agent's back end: one of config.toml's, or a preset, which is added there.

    Without `model`, the model that was named for another back end is removed.
    """

    agent: AgentName
    backend: BackendName
    model: ModelName | None = None


@dataclass(frozen=True, slots=True)
class RemoveAgent(Request[Removed]):
    """Remove `agent` from config.toml. Its sessions stay."""

    agent: AgentName
