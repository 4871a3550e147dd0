"""Statistics: sums for each session and hour, updated as messages are indexed."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from port42_protocol.messages.doctor_and_stats import AgentStats, ModelStats, Statistics
from port42_protocol.messages.records import AssistantMessage, Record

MOST_DAYS = 3660
MAX_TOKENS = 10**12
"""Of one reply, and of one hour of a session."""
_HOUR = re.compile(r"\d{4}-\d\d-\d\dT\d\d(?=:)", re.ASCII)
_KINDS = {"user": 0, "assistant": 1, "error": 2}
_ADD_SAID = (
    "INSERT INTO activity VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET user = user + excluded.user,"
    " assistant = assistant + excluded.assistant, failed = failed + excluded.failed"
)
_ADD_TURNS = (
    "INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET turns = turns + excluded.turns,"  # noqa: S608  # our own number
    f" input_tokens = min(input_tokens + excluded.input_tokens, {MAX_TOKENS}),"
    f" output_tokens = min(output_tokens + excluded.output_tokens, {MAX_TOKENS})"
)
_SAID = (
    "SELECT agent, hour, sum(user), sum(assistant), sum(failed) FROM activity"
    " JOIN sessions ON sessions.number = session WHERE hour >= :since AND agent = coalesce(:agent, agent)"
    " GROUP BY agent, hour"
)
_MODELS = (
    "SELECT agent, backend, model, sum(turns), sum(input_tokens), sum(output_tokens) FROM turns"
    " JOIN sessions ON sessions.number = session WHERE hour >= :since AND agent = coalesce(:agent, agent)"
    " GROUP BY agent, backend, model"
)
_SESSIONS = (
    "SELECT agent, count(*), sum(size) FROM sessions WHERE last_activity >= :since"
    " AND agent = coalesce(:agent, agent) GROUP BY agent"
)


# --- written --------------------------------------------------------------------------------------------


def add(database: sqlite3.Connection, number: int, records: Iterable[Record]) -> None:
    """Count `records` of the session of that number in; not what a fork took over from its original."""
    copied = database.execute(
        "SELECT coalesce(json_extract(forked_from, '$.seq'), 0) FROM sessions WHERE number = ?", (number,)
    ).fetchone()[0]
    counts_by_hour: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    turns: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for record in records:
        if record.seq <= copied:
            continue
        hour = _hour(record.timestamp)
        if record.role in _KINDS:
            counts_by_hour[hour][_KINDS[record.role]] += 1
        if isinstance(record, AssistantMessage) and (turn := record.turn):
            sums = turns[hour, turn.backend, turn.model or ""]
            sums[0] += 1
            sums[1] += _bounded(turn.input_tokens)
            sums[2] += _bounded(turn.output_tokens)
    database.executemany(_ADD_SAID, [(number, hour, *counts) for hour, counts in counts_by_hour.items()])
    database.executemany(_ADD_TURNS, [(number, *key, *counts) for key, counts in turns.items()])


def remove(database: sqlite3.Connection, number: int) -> None:
    for table in ("activity", "turns"):
        database.execute(f"DELETE FROM {table} WHERE session = ?", (number,))  # noqa: S608  # our own names


def _bounded(tokens: int | None) -> int:
    """A reported number, limited so that SQLite's sums stay below 2⁶³."""
    return min(max(tokens or 0, 0), MAX_TOKENS)


def _hour(timestamp: str) -> str:
    """Its hour, in UTC; empty for an invalid time, from an edited file."""
    match = _HOUR.match(timestamp)
    return match[0] if match else ""


# --- read -------------------------------------------------------------------------------------------


def statistics(
    database: sqlite3.Connection, agent: str | None, days: int | None, now: datetime, *, complete: bool
) -> Statistics:
    """All of it, or of `agent`, or of the last `days` by the clock of `now`, which has a time zone."""
    first = now.date() - timedelta(days=(days or MOST_DAYS) - 1)
    midnight = datetime.combine(first, datetime.min.time()).astimezone(now.tzinfo).astimezone(UTC)
    given = {"agent": agent, "since": f"{midnight:%Y-%m-%dT%H}" if days else ""}
    when = _When(now)
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, hour, *counts in database.execute(_SAID, given):
        totals[name] = [before + more for before, more in zip(totals[name], counts, strict=True)]
        when.add(name, hour, counts[0] + counts[1])
    models = database.execute(_MODELS, given).fetchall()
    sessions = database.execute(_SESSIONS, given).fetchall()
    since = when.since(first if days else None)
    agents = [
        AgentStats(
            agent=name,
            sessions=count,
            user_messages=totals[name][0],
            assistant_messages=totals[name][1],
            failed_turns=totals[name][2],
            input_tokens=sum(row[4] for row in models if row[0] == name),
            output_tokens=sum(row[5] for row in models if row[0] == name),
            bytes=size,
            days=when.days(since, name),
        )
        for name, count, size in sessions
    ]
    return Statistics(
        since=since.isoformat() if since else None,
        days=when.days(since, None),
        hours=tuple(when.of_the_day[hour] for hour in range(24)),
        agents=tuple(
            sorted(agents, key=lambda agent: (-agent.user_messages - agent.assistant_messages, agent.agent))
        ),
        models=_models(models),
        complete=complete,
    )


def _models(rows: Iterable[tuple[str, str, str, int, int, int]]) -> tuple[ModelStats, ...]:
    """The same model of several agents once, most turns first."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for _, backend, model, *counts in rows:
        key = backend, model
        sums[key] = [before + more for before, more in zip(sums[key], counts, strict=True)]
    stats = [ModelStats(backend, model or None, *counts) for (backend, model), counts in sums.items()]
    return tuple(sorted(stats, key=lambda model: (-model.turns, model.backend, model.model or "")))


class _When:
    """Messages by day and by hour of the day, as the clock of `now` has them."""

    def __init__(self, now: datetime) -> None:
        self._zone, self._today = now.tzinfo, now.date()
        self._by_day: Counter[tuple[str | None, date]] = Counter()
        self._times: dict[str, datetime | None] = {}
        self.of_the_day: Counter[int] = Counter()

    def add(self, agent: str, hour: str, messages: int) -> None:
        """Count them in, where the hour is one."""
        if hour not in self._times:
            try:
                time = datetime.fromisoformat(f"{hour}:00:00+00:00").astimezone(self._zone)
            except (ValueError, OverflowError):
                time = None
            self._times[hour] = time
        time = self._times[hour]
        if time is not None and messages:
            self._by_day[agent, time.date()] += messages
            self._by_day[None, time.date()] += messages
            self.of_the_day[time.hour] += messages

    def since(self, first: date | None) -> date | None:
        """The first day that is shown: `first`, or that of the first message; None when there is none."""
        if first is not None:
            return first
        earliest = self._today - timedelta(days=MOST_DAYS - 1)
        shown = [day for _, day in self._by_day if earliest <= day <= self._today]
        return min(shown, default=None)

    def days(self, since: date | None, agent: str | None) -> tuple[int, ...]:
        """The messages of each day through today, of `agent` or of all."""
        if since is None:
            return ()
        length = (self._today - since).days + 1
        return tuple(self._by_day[agent, since + timedelta(days=number)] for number in range(length))
