"""Requests and results about the hub: one PostgreSQL where the sessions of many machines meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.types import AgentName, Folder, SessionId
from port42_protocol.request import Request

HubUrl = Annotated[
    str,
    Meta(
        pattern=r"^postgres(ql)?://[^\s\x00-\x1f\x7f]{1,2000}$(?!\n)",
        description="an address of PostgreSQL: postgresql://USER@HOST/DATABASE",
    ),
]
HubService = Annotated[
    str,
    Meta(
        pattern=r"^[^\s\[\]\x00-\x1f\x7f]{1,64}$(?!\n)",
        description="the name of a service in libpq's service file: up to 64 characters without spaces",
    ),
]
MachineName = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,64}$(?!\n)",
        description="a machine's name: one line of 1 to 64 characters",
    ),
]
Variable = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,255}$(?!\n)", description="the name of a variable"),
]
FilePath = Annotated[
    str,
    Meta(
        pattern=r"^[/~][^\x00\n]{0,4095}$(?!\n)",
        description="an absolute path, or one that begins with ~, of at most 4096 characters",
    ),
]
KeyringEntry = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,256}$(?!\n)",
        description="an entry of the keyring: USER of the service port42, or SERVICE/USER",
    ),
]
RoleName = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,63}$(?!\n)",
        description="the name of a role of PostgreSQL: one line of 1 to 63 characters",
    ),
]


HubState = Literal["off", "paused", "connecting", "connected", "unreachable", "refused"]


class HubMachine(Struct, frozen=True):
    """One of your machines.

    `behind` is how many changes at the hub it lacks, `waiting` how many sessions it had not pushed when it
    was at the hub last, `seen_seconds` ago. `this`: it is the one that answers.
    """

    name: str
    version: str
    seen_seconds: float
    behind: int
    waiting: int
    this: bool


class HubStatus(Struct, frozen=True):
    """How this machine and the hub are to each other.

    `state`: ``off`` (no [hub] in config.toml), ``paused``, ``connecting``, ``connected``, ``unreachable``
    (tried again by itself), ``refused`` (something has to be changed first); `problem` says why. `waiting`
    sessions are to be pushed (null where that is not known: the hub was not reached yet), `to_pull` to be
    brought here, `busy` ones once their turns have ended; `lag_ms` is how long the last push took from its
    first record on. `sessions`, `bytes` (of records) and `machines`
    are the hub's, null while it cannot be asked. `forks` are the latest sessions that were made because a
    session was continued here and elsewhere at once.
    """

    state: HubState
    problem: str | None
    address: str | None
    owner: str | None
    machine: str | None
    waiting: int | None
    to_pull: int
    busy: int
    lag_ms: int | None
    sessions: int | None
    bytes: int | None
    machines: tuple[HubMachine, ...] | None
    forks: tuple[str, ...]


class HubSummary(Struct, frozen=True):
    """The hub in the daemon's status: as in `HubStatus`, null where it is not known now."""

    state: HubState
    problem: str | None
    waiting: int | None
    to_pull: int | None
    lag_ms: int | None


class HubTables(Struct, frozen=True):
    """What was done to the hub's tables: the names of the migrations, none where all was there."""

    applied: tuple[str, ...]


class Share(Struct, frozen=True):
    """A role of the hub's PostgreSQL, another owner or a group of them, and what it may do."""

    grantee: str
    may: Literal["read", "write"]


class SessionShares(Struct, frozen=True):
    """Whom a session is shared with."""

    session_id: str
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class GetHub(Request[HubStatus]):
    """The state of the hub, as this machine sees it."""


@dataclass(frozen=True, slots=True)
class InitHub(Request[HubTables]):
    """Make the hub's tables, or bring them up to date: at that address, or at the one in config.toml."""

    url: HubUrl | None = None
    service: HubService | None = None


@dataclass(frozen=True, slots=True)
class JoinHub(Request[HubStatus]):
    """Write ``[hub]`` into config.toml, once the hub has answered, and bring here what it has.

    One of `url` and `service`. The password is not in the address: at most one of the `password_` fields
    names a variable of the daemon's environment, a file of yours alone, or an entry of the keyring. `machine`
    is this machine's name there; sessions of `agents` and in `folders` are pushed, by default all; with
    `redact`, known secrets are replaced before. Where there is a ``[hub]``, these four stay as they are
    unless given.
    """

    url: HubUrl | None = None
    service: HubService | None = None
    password_env: Variable | None = None
    password_file: FilePath | None = None
    password_keyring: KeyringEntry | None = None
    machine: MachineName | None = None
    agents: tuple[AgentName, ...] | None = None
    folders: tuple[Folder, ...] | None = None
    redact: bool | None = None


@dataclass(frozen=True, slots=True)
class PauseHub(Request[HubStatus]):
    """Push and pull nothing until `resume_hub`, after a restart, too."""


@dataclass(frozen=True, slots=True)
class ResumeHub(Request[HubStatus]):
    """Push and pull again."""


@dataclass(frozen=True, slots=True)
class LeaveHub(Request[HubStatus]):
    """Take ``[hub]`` out of config.toml. The sessions stay here and at the hub."""


@dataclass(frozen=True, slots=True)
class GetShares(Request[SessionShares]):
    """Whom an own session is shared with."""

    session_id: SessionId
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class ShareSession(Request[SessionShares]):
    """Share an own session with a role of the hub's PostgreSQL: another owner, or a group that owners are in.

    It is on their machines within a second. With `may` ``read``, what they say in it becomes a fork of their
    own; with ``write`` it is in the session. Again with another `may`, that is in force.
    """

    session_id: SessionId
    grantee: RoleName
    may: Literal["read", "write"] = "read"
    agent: AgentName | None = None


@dataclass(frozen=True, slots=True)
class UnshareSession(Request[SessionShares]):
    """Share an own session with a role no more. What its members have of it stays on their machines."""

    session_id: SessionId
    grantee: RoleName
    agent: AgentName | None = None
