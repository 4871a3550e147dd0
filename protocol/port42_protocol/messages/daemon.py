"""Requests about the daemon itself, its settings and its protocol, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Status:
    """What the daemon is and has."""


@dataclass(frozen=True, slots=True)
class Discover:
    """The OpenRPC document of this very table."""


@dataclass(frozen=True, slots=True)
class ReloadConfig:
    """Read config.toml again now."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the daemon takes (bytes, items, connections)."""

    request_bytes: int
    page_bytes: int
    nesting: int
    batch: int
    connections: int


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The daemon itself; `uptime_seconds` since it was ready, `requests` and `turns` under way now."""

    version: str
    protocol_version: int
    pid: int
    uptime_seconds: float
    home: str
    socket: str
    sessions: int
    connections: int
    requests: int
    turns: int
    limits: Limits
    config_error: str | None


@dataclass(frozen=True, slots=True)
class OpenRpc:
    """An OpenRPC 1.3 document (spec.open-rpc.org)."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]
    components: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What is in force now: how many agents and back ends config.toml has."""

    agents: int
    backends: int
