"""Requests about agents, and what is known of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.types import AgentName, BackendName, Content
from port42_protocol.request import Request


class Agent(Struct, frozen=True):
    """One agent: where it is known from, what answers for it, and its sessions.

    `backend` is a name from config.toml, or ``none``, which records and never answers; `health` is one of
    ``ready``, ``missing``, ``needs_auth``, ``unreachable`` and ``none``, and `detail` says why or by what.
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


class AgentList(Struct, frozen=True):
    """`available` names back ends that could be connected: found on this machine, never used by themselves.

    `config_error` says why ``config.toml`` is not in force as it stands, if so.
    """

    agents: tuple[Agent, ...]
    available: tuple[str, ...]
    config_error: str | None


class Removed(Struct, frozen=True):
    """The agent that config.toml no longer has."""

    agent: str


@dataclass(frozen=True, slots=True)
class ListAgents(Request[AgentList]):
    """Every agent that is built in, configured, or has a session."""


@dataclass(frozen=True, slots=True)
class AddAgent(Request[Agent]):
    """Write `agent` into ``config.toml``, with its persona `system`."""

    agent: AgentName
    system: Content | None = None


@dataclass(frozen=True, slots=True)
class GetAgent(Request[Agent]):
    """One agent; its back end is looked at now."""

    agent: AgentName


@dataclass(frozen=True, slots=True)
class ConnectAgent(Request[Agent]):
    """Let `backend` answer for `agent`: one of config.toml's, or a known one, which is written there."""

    agent: AgentName
    backend: BackendName
    model: Annotated[str, Meta(min_length=1, max_length=200, description="a model's name")] | None = None


@dataclass(frozen=True, slots=True)
class RemoveAgent(Request[Removed]):
    """Take `agent` out of config.toml. Its sessions stay."""

    agent: AgentName
