"""The daemon's facts, as a terminal of 80 columns and a script get them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from peers.drawing import drawn, drawn_lines, piped

from port42_cli.views import status as subject
from port42_protocol.messages.daemon import (
    AgentTurns,
    DaemonStatus,
    ErrorCount,
    InternalFailure,
    Limits,
    MethodLatency,
    StalledThread,
    Vitals,
)
from port42_protocol.messages.hub import HubSummary
from port42_protocol.messages.search import IndexStatus
from port42_protocol.methods import METHODS

OLDER = DaemonStatus("0.1.0", 1, 7, 3720.4, "/h", "/s", 3, 1, 2, 0, Limits(1, 1, 1, 1, 1), None)
WORST = replace(
    OLDER,
    started_at="2026-11-23T11:57:00.000Z",
    started_by="autostart",
    python="3.11.7",
    index="ready",
    sessions_by_agent={f"agent-{number}": number for number in range(40)},
    subscriptions=3,
    bytes_in=2**50,
    bytes_out=2**50,
    turns=3,
    turns_by_agent=(AgentTurns("ai-muse", 1, 2),),
    latencies=tuple(
        MethodLatency(name, 12_345_678, 99_999, 24, 999_499, 59_990_000, 7_000_000_000) for name in METHODS
    ),
    errors=(ErrorCount(1001, "no_sessions", 2),),
    internal_errors=(InternalFailure("ab12cd34", "status", "2026-11-23T11:57:00.000Z"),),
    vitals=Vitals(2**25, 2**26, 12, 1, 2**40),
)


def test_facts_that_an_older_daemon_lacks_are_left_out():
    page = drawn(subject.status(OLDER))
    assert "port42d 0.1.0" in page
    assert "pid 7, up 1 h 2 min" in page
    assert "1 connection, 2 requests" in page
    assert " by " not in page
    assert not {"python", "traffic", "process", "METHOD", "config"} & set(page.split())
    assert piped(subject.status(OLDER)) == [
        "version: 0.1.0",
        "pid: 7",
        "socket: /s",
        "home: /h",
        "uptime: 3720 s",
        "sessions: 3",
        "connections: 1",
        "requests: 2",
        "turns: 0",
    ]


def test_scripts_get_a_line_for_each_fact_of_a_newer_daemon():
    facts = replace(
        OLDER,
        sessions=None,
        turns=3,
        config_error="line 2",
        started_by="systemd",
        index="rebuilding",
        sessions_by_agent={"ai-muse": 4},
        turns_by_agent=(AgentTurns("ai-muse", 1, 2),),
        latencies=(MethodLatency("status", 3, 1, 20, 30, 40, 50),),
        errors=(ErrorCount(1001, "no_sessions", 2),),
        internal_errors=(InternalFailure("ab12", None, "2026-11-23T11:57:00.000Z"),),
        vitals=Vitals(None, 4096, None, 9, 77),
    )
    assert piped(subject.status(facts))[5:] == [
        "started by: systemd",
        "index: rebuilding",
        "connections: 1",
        "requests: 2",
        "turns: 3",
        "peak memory: 4096",
        "threads: 9",
        "disk free: 77",
        "session count ai-muse: 4",
        "turns of ai-muse: 1 running, 2 waiting",
        "latency status: 3 calls, 1 error, p50 20, p90 30, p99 40, max 50 µs",
        "error 1001 no_sessions: 2",
        "internal error ab12: no method, 2026-11-23T11:57:00.000Z",
        "config error: line 2",
    ]


def test_the_hub_has_a_line_of_its_own():
    away = HubSummary("unreachable", "connection refused", 3, None, None)
    at_hub = HubSummary("connected", None, 0, 412, 21)
    for hub, shown in (
        (away, "unreachable, port42 hub says why, 3 sessions to push"),
        (at_hub, "connected, 412 sessions to pull, last push took 21 ms"),
    ):
        (line,) = [line for line in drawn_lines(subject.status(replace(OLDER, hub=hub))) if hub.state in line]
        assert shown in " ".join(line.split())
    assert [line for line in piped(subject.status(replace(OLDER, hub=at_hub))) if line.startswith("hub")] == [
        "hub: connected",
        "hub to push: 0",
        "hub to pull: 412",
        "hub lag: 21 ms",
    ]


def test_80_columns_hold_a_line_for_each_method():
    rows = [line for line in drawn_lines(subject.status(WORST, methods=True)) if "12,345,678" in line]
    assert len(rows) == len(METHODS)
    for name, row in zip(METHODS, rows, strict=True):
        assert row.startswith(name)
        assert "24 µs" in row
        assert "117 min" in row
        assert "█" in row


def test_a_screen_of_24_lines_holds_all_but_the_methods():
    many = replace(
        WORST,
        sessions=10**6,
        errors=tuple(ErrorCount(1000 + code, f"kind_of_error_{code}", 10**6) for code in range(20)),
        internal_errors=WORST.internal_errors * 9,
        stalled_threads=(StalledThread("indexer", 70.0),) * 9,
        config_error="line 3: expected a string",
        hub=HubSummary("refused", "its tables are of a newer Port42: update this one", 3, None, None),
    )
    lines = drawn_lines([*subject.status(many), subject.keys(methods=False)])
    assert len(lines) < 24
    assert "12,345,678" not in "".join(lines)


def test_times_are_local_with_their_zone_and_utc_for_scripts(timezone):
    timezone("America/New_York")
    page = " ".join(drawn(subject.status(WORST)).replace("│", " ").split())
    assert "since 2026-11-23 06:57 EST" in page
    assert "ab12cd34 in status, 2026-11-23 06:57 EST" in page
    assert "started at: 2026-11-23T11:57:00.000Z" in piped(subject.status(WORST))


def test_errors_are_shown_when_there_are_any():
    page = drawn(subject.status(WORST))
    assert "2 × no_sessions (1001)" in page
    assert "ab12cd34 in status" in page
    assert "36 agents" not in page
    assert "34 agents more" in " ".join(page.replace("│", " ").split())
    assert "line 3: …" in drawn(subject.status(replace(OLDER, config_error="line 3: …")))


@pytest.mark.parametrize(
    ("index", "sessions", "words"),
    [
        ("rebuilding", None, "the index is rebuilt"),
        ("unusable", None, "the index cannot be used"),
        ("behind", 3, "3; the index is behind"),
        ("ready", None, "being counted"),
        (None, 3, "sessions  3"),
    ],
)
def test_an_index_that_is_not_ready_says_so(index, sessions, words):
    assert words in drawn(subject.status(replace(OLDER, index=index, sessions=sessions)))


def test_without_colour_the_bars_still_tell_the_parts_apart():
    method = MethodLatency("status", 1, 0, 100, 10_000, 1_000_000, 1_000_000)
    view = subject.status(replace(OLDER, latencies=(method,)), methods=True)
    page = drawn(view, color_system="standard", no_color=True, force_terminal=True)
    assert "\x1b[3" not in page
    assert "██▒▒▒▒\x1b[2m░░░░" in page


def test_the_index_is_a_line_for_each_fact():
    assert piped(subject.index(IndexStatus(False, 3, 1, 20, 4, 1_500_000))) == [
        "complete: no",
        "sessions: 3 (1 still to be read)",
        "messages: 20 (4 records still to be read)",
        "size: 1.4 MiB",
    ]
