"""Statistics: sums for each session and hour, updated as messages are indexed."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from port42_daemon.store.index.schema import insert
from port42_protocol.messages.doctor_and_stats import AgentStats, ModelStats, Statistics, ToolStats
from port42_protocol.messages.records import AssistantMessage, EventRecord, Record, ToolRecord

MOST_DAYS = 3660
MAX_TOKENS = 10**12
"""Of one reply, and of one hour of a session."""
_HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d(?=:)", re.ASCII)
_KINDS = {"user": 0, "assistant": 1, "error": 2}
_ADD_MESSAGES = (
    "DO UPDATE SET user = user + excluded.user, assistant = assistant + excluded.assistant,"
    " failed = failed + excluded.failed"
)
_ADD_TURNS = (
    "DO UPDATE SET turns = turns + excluded.turns,"
    f" input_tokens = min(input_tokens + excluded.input_tokens, {MAX_TOKENS}),"
    f" output_tokens = min(output_tokens + excluded.output_tokens, {MAX_TOKENS})"
)
_ADD_TOOLS = (
    "DO UPDATE SET calls = calls + excluded.calls, failed = failed + excluded.failed,"
    f" total_ms = min(total_ms + excluded.total_ms, {MAX_TOKENS})"
)
_SINCE = "JOIN sessions ON sessions.number = session WHERE hour >= :since AND agent = coalesce(:agent, agent)"
_MESSAGES = (
    "SELECT agent, hour, sum(user), sum(assistant), sum(failed)"  # noqa: S608  # our own text, here and below
    f" FROM activity {_SINCE} GROUP BY agent, hour"
)
_TOKENS = f"SELECT agent, sum(input_tokens), sum(output_tokens) FROM turns {_SINCE} GROUP BY agent"  # noqa: S608
_MODELS = (
    "SELECT backend, nullif(model, ''), sum(turns), sum(input_tokens), sum(output_tokens)"  # noqa: S608
    f" FROM turns {_SINCE} GROUP BY backend, model ORDER BY 3 DESC, backend, model"
)
_TOOLS_OF_AGENTS = f"SELECT agent, sum(calls), sum(failed) FROM tools {_SINCE} GROUP BY agent"  # noqa: S608
_TOOLS = (
    "SELECT name, sum(calls), sum(failed), sum(total_ms)"  # noqa: S608
    f" FROM tools {_SINCE} GROUP BY name ORDER BY 2 DESC, name"
)
_SESSIONS = (
    "SELECT agent, sum(parent IS NULL), sum(size) FROM sessions WHERE last_activity >= :since"
    " AND agent = coalesce(:agent, agent) GROUP BY agent"
)


class Counts(NamedTuple):
    """Sums of records: messages by hour; turns by hour, back end and model; tool calls by hour and name."""

    messages: dict[str, list[int]]
    turns: dict[tuple[str, str, str], list[int]]
    tools: dict[tuple[str, str], list[int]]


def counts(records: Iterable[Record]) -> Counts:
    counts = Counts(defaultdict(_zeros), defaultdict(_zeros), defaultdict(_zeros))
    for record in records:
        hour = _hour(record.timestamp[:14])
        if record.role in _KINDS:
            counts.messages[hour][_KINDS[record.role]] += 1
        if isinstance(record, AssistantMessage | EventRecord) and (turn := record.turn):
            sums = counts.turns[hour, turn.backend, turn.model or ""]
            sums[0] += isinstance(record, AssistantMessage)  # an event `usage` is no turn
            sums[1] += _bounded(turn.input_tokens)
            sums[2] += _bounded(turn.output_tokens)
        if isinstance(record, ToolRecord):
            sums = counts.tools[hour, record.name or record.kind]
            sums[0] += 1
            sums[1] += record.state == "failed"
            sums[2] += _bounded(record.duration_ms or 0)
    return counts


@lru_cache(maxsize=64)
def _hour(beginning: str) -> str:
    """The hour of a time (UTC) from its beginning; "" in an edited file whose time is not one."""
    match = _HOUR.match(beginning)
    return match[0] if match else ""


def _zeros() -> list[int]:
    return [0, 0, 0]


def _bounded(number: int | None) -> int:
    """A reported number, limited so that SQLite's sums stay below 2⁶³."""
    return min(max(number or 0, 0), MAX_TOKENS)


def add(database: sqlite3.Connection, sessions: Iterable[tuple[int, Counts]]) -> None:
    """Add the sums of parts of sessions, each with its number."""
    messages, turns, tools = [], [], []
    for number, counts in sessions:
        messages += [(number, hour, *sums) for hour, sums in counts.messages.items()]
        turns += [(number, *key, *sums) for key, sums in counts.turns.items()]
        tools += [(number, *key, *sums) for key, sums in counts.tools.items()]
    insert(database, "activity", messages, _ADD_MESSAGES)
    insert(database, "turns", turns, _ADD_TURNS)
    insert(database, "tools", tools, _ADD_TOOLS)


def remove(database: sqlite3.Connection, numbers: str) -> None:
    """Remove the sums of sessions; `numbers` is a JSON array."""
    for table in ("activity", "turns", "tools"):
        database.execute(
            f"DELETE FROM {table} WHERE session IN (SELECT value FROM json_each(?))",  # noqa: S608  # our own names
            (numbers,),
        )


def statistics(
    database: sqlite3.Connection, agent: str | None, days: int | None, now: datetime, *, complete: bool
) -> Statistics:
    """All of it, or of `agent`, or of the last `days` by the clock of `now`, which has a time zone."""
    today = now.date()
    first = today - timedelta(days=(days or MOST_DAYS) - 1)
    midnight = datetime.combine(first, datetime.min.time()).astimezone(now.tzinfo).astimezone(UTC)
    given = {"agent": agent, "since": f"{midnight:%Y-%m-%dT%H}" if days else ""}
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    by_day: Counter[tuple[str | None, date]] = Counter()
    by_hour: Counter[int] = Counter()
    for name, hour, *counts in database.execute(_MESSAGES, given):
        totals[name] = [before + more for before, more in zip(totals[name], counts, strict=True)]
        messages = counts[0] + counts[1]
        if messages and (time := _local(hour, now.tzinfo)):
            by_day[name, time.date()] += messages
            by_day[None, time.date()] += messages
            by_hour[time.hour] += messages
    earliest = min((day for _, day in by_day if first <= day <= today), default=None)
    since = first if days else earliest
    shown = [since + timedelta(days=number) for number in range((today - since).days + 1)] if since else []
    tokens = {name: sums for name, *sums in database.execute(_TOKENS, given)}
    calls = {name: sums for name, *sums in database.execute(_TOOLS_OF_AGENTS, given)}
    agents = []
    for name, sessions, size in database.execute(_SESSIONS, given):
        by_agent = tuple(by_day[name, day] for day in shown)
        sums = (*totals[name], *tokens.get(name, (0, 0)), size, by_agent, *calls.get(name, (0, 0)))
        agents.append(AgentStats(name, sessions, *sums))
    agents.sort(key=lambda agent: (-agent.user_messages - agent.assistant_messages, agent.agent))
    return Statistics(
        since=since.isoformat() if since else None,
        days=tuple(by_day[None, day] for day in shown),
        hours=tuple(by_hour[hour] for hour in range(24)),
        agents=tuple(agents),
        models=tuple(ModelStats(*row) for row in database.execute(_MODELS, given)),
        complete=complete,
        tools=tuple(ToolStats(*row) for row in database.execute(_TOOLS, given)),
        zone=now.tzname(),
    )


def _local(hour: str, zone: tzinfo | None) -> datetime | None:
    """An hour of UTC in `zone`; None where an edited file has no such time."""
    try:
        return datetime.fromisoformat(f"{hour}:00:00+00:00").astimezone(zone)
    except (ValueError, OverflowError):
        return None
