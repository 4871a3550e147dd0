"""Requests and results about the home as a whole: check and repair, statistics, disk usage."""

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
    """The result of one check: `what` was found, in a line, and what to `do` about it.

    A ``problem`` loses data or will; a ``notice`` is for information. `mendable`: `fix` can repair it.
    `fixed`: this call did.
    """

    level: Literal["ok", "notice", "problem"]
    about: str
    what: str
    do: str | None = None
    mendable: bool = False
    fixed: bool = False


class Checkup(Struct, frozen=True):
    """Findings of this call, which `examined` so many session files; `remaining` are left.

    `backup` is the folder in the home with copies of what `fix` changed, null if it changed nothing.
    `next_cursor` is null on the last page.
    """

    findings: tuple[Finding, ...]
    examined: int
    remaining: int
    backup: str | None
    next_cursor: str | None


class AgentStats(Struct, frozen=True):
    """Statistics of an agent. `days` are its messages for each of `Statistics.days`; `bytes` on the disk.

    `sessions` leaves out those of sub-agents; all else includes them.
    """

    agent: str
    sessions: int
    user_messages: int
    assistant_messages: int
    failed_turns: int
    input_tokens: int
    output_tokens: int
    bytes: int
    days: tuple[int, ...]
    tool_calls: int = 0
    failed_tool_calls: int = 0


class ModelStats(Struct, frozen=True):
    """Statistics of a model: its turns, and their tokens where the back end reported them."""

    backend: str
    model: str | None
    turns: int
    input_tokens: int
    output_tokens: int


class ToolStats(Struct, frozen=True):
    """Statistics of a tool: its calls, and the time they took. `name` is its kind where it has no name."""

    name: str
    calls: int
    failed: int
    total_ms: int


class Statistics(Struct, frozen=True):
    """Agents by number of messages, models by number of turns, tools by number of calls, all descending.

    `days` are the messages of each day from `since` on (``YYYY-MM-DD``; null without messages), `hours` those
    of each hour of the day, both in the time zone of the daemon's machine, of which `zone` is the name now
    (``CET``). Messages that a fork copied count in its original only. `complete` is false while some
    sessions are not indexed.
    """

    since: str | None
    days: tuple[int, ...]
    hours: tuple[int, ...]
    agents: tuple[AgentStats, ...]
    models: tuple[ModelStats, ...]
    complete: bool
    tools: tuple[ToolStats, ...] = ()
    zone: str | None = None


class AgentUsage(Struct, frozen=True):
    """An agent's disk usage in bytes: sessions, trash, and files left by damage and interrupted turns."""

    agent: str
    sessions: int
    session_bytes: int
    trash_bytes: int
    leftover_bytes: int
    total_bytes: int


class Usage(Struct, frozen=True):
    """Disk usage of the home in bytes, agents in descending order; `free_bytes` of its disk.

    `original_bytes` are those of the files of captured tools that are kept.
    """

    agents: tuple[AgentUsage, ...]
    index_bytes: int
    log_bytes: int
    backup_bytes: int
    other_bytes: int
    total_bytes: int
    free_bytes: int
    original_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CheckHome(Request[Checkup]):
    """Check the home; with `fix`, repair what can be repaired, after making a copy.

    `environment` names the variables of the caller's shell, not their values: one that a back end needs and
    the daemon lacks is a finding. The first page has all findings except those about session files; the
    following pages check as many of these as fit into a short time.
    """

    environment: list[VariableName] | None = None
    fix: bool = False
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Stats(Request[Statistics]):
    """Get numbers of messages, turns and tokens, of `agent` or all, of the last `days`."""

    agent: AgentName | None = None
    days: Period | None = None


@dataclass(frozen=True, slots=True)
class DiskUsage(Request[Usage]):
    """Get the disk usage of the home by agent, and of everything that belongs to no agent."""

    agent: AgentName | None = None
