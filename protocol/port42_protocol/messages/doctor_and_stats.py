"""Requests about the home as a whole: what is wrong in it, what was done in it, how much room it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from port42_protocol.messages.types import AgentName, Cursor
from port42_protocol.request import Request

VariableName = Annotated[
    str, Meta(min_length=1, max_length=256, description="a variable's name of 1 to 256 characters")
]


Period = Annotated[int, Meta(ge=1, le=3660, description="a whole number of days from 1 to 3660")]


class Finding(Struct, frozen=True):
    """One thing that was looked at: `what` there is, in a line, and what to `do` about it.

    A ``problem`` has lost something, or will; a ``notice`` is worth knowing. `mendable`: `fix` repairs it.
    `fixed`: it just did.
    """

    level: Literal["ok", "notice", "problem"]
    about: str
    what: str
    do: str | None = None
    mendable: bool = False
    fixed: bool = False


class Checkup(Struct, frozen=True):
    """What was found so far. `examined` files of sessions by this call, `remaining` after it.

    `backup` is the folder in the home where `fix` keeps what it changes, None while it changed nothing.
    Without `next_cursor` this was all.
    """

    findings: tuple[Finding, ...]
    examined: int
    remaining: int
    backup: str | None
    next_cursor: str | None


class AgentStats(Struct, frozen=True):
    """An agent's part. `days` are its messages a day, as `Statistics.days` has them; `bytes` on the disk."""

    agent: str
    sessions: int
    user_messages: int
    assistant_messages: int
    failed_turns: int
    input_tokens: int
    output_tokens: int
    bytes: int
    days: tuple[int, ...]


class ModelStats(Struct, frozen=True):
    """A model's part: the turns it answered, and the tokens these took as far as it said so."""

    backend: str
    model: str | None
    turns: int
    input_tokens: int
    output_tokens: int


class Statistics(Struct, frozen=True):
    """Agents by their messages, most first; models by their turns.

    `days` are the messages of each day from `since` on (``YYYY-MM-DD``; None where there is none), `hours`
    those of each hour of the day, both as this machine's clock has them. What a fork took over from its
    original counts there only. `complete` is false while some sessions are still to be read.
    """

    since: str | None
    days: tuple[int, ...]
    hours: tuple[int, ...]
    agents: tuple[AgentStats, ...]
    models: tuple[ModelStats, ...]
    complete: bool


class AgentUsage(Struct, frozen=True):
    """An agent's bytes: its sessions', its trash's, and what damage and cut-off turns left beside them."""

    agent: str
    sessions: int
    session_bytes: int
    trash_bytes: int
    leftover_bytes: int
    total_bytes: int


class Usage(Struct, frozen=True):
    """Bytes in the home: agents with the most first, then what is nobody's; `free_bytes` of its disk."""

    agents: tuple[AgentUsage, ...]
    index_bytes: int
    log_bytes: int
    backup_bytes: int
    other_bytes: int
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class CheckHome(Request[Checkup]):
    """Look for what is wrong in the home; with `fix`, repair what can be, a copy of it kept first.

    `environment` names the variables that the caller's shell has, never their values: one that a back end
    needs and the daemon lacks is a finding. The first answer is about all but the sessions' files; with its
    `next_cursor` they come, as many as a moment allows.
    """

    environment: list[VariableName] | None = None
    fix: bool = False
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Stats(Request[Statistics]):
    """How much was said, by and to whom, what it cost and when; of `agent`, or all; of the last `days`."""

    agent: AgentName | None = None
    days: Period | None = None


@dataclass(frozen=True, slots=True)
class DiskUsage(Request[Usage]):
    """What takes how much room in the home: each agent's part, and what is nobody's."""

    agent: AgentName | None = None
