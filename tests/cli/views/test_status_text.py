"""The daemon's facts as lines, and the words for sizes and times."""

from __future__ import annotations

import pytest

from port42_cli.views import status_text
from port42_protocol.messages.daemon import (
    AgentTurns,
    DaemonStatus,
    ErrorCount,
    InternalFailure,
    Limits,
    MethodLatency,
    Vitals,
)

OLDER = DaemonStatus("0.1.0", 1, 7, 2.4, "/h", "/s", 3, 1, 1, 0, Limits(1, 1, 1, 1, 1), None)


def test_what_an_older_daemon_does_not_say_is_left_out():
    assert list(status_text.status(OLDER)) == [
        "version: 0.1.0",
        "pid: 7",
        "socket: /s",
        "home: /h",
        "uptime: 2 s",
        "sessions: 3",
        "connections: 1",
        "requests: 1",
        "turns: 0",
    ]


def test_everything_that_a_newer_one_says_is_a_line():
    limits = Limits(1, 1, 1, 1, 1)
    facts = DaemonStatus(
        *("0.1.0", 1, 7, 2.4, "/h", "/s", None, 1, 1, 3, limits, "line 2"),
        started_by="systemd",
        index="rebuilding",
        sessions_by_agent={"ai-muse": 4},
        turns_by_agent=(AgentTurns("ai-muse", 1, 2),),
        latencies=(MethodLatency("status", 3, 1, 20, 30, 40, 50),),
        errors=(ErrorCount(1001, "no_sessions", 2),),
        internal_errors=(InternalFailure("ab12", None, "2026-11-23T11:57:00.000Z"),),
        vitals=Vitals(None, 4096, None, 9, 77),
    )
    lines = list(status_text.status(facts))
    assert lines[5:] == [
        "started by: systemd",
        "index: rebuilding",
        "connections: 1",
        "requests: 1",
        "turns: 3",
        "peak memory: 4096",
        "threads: 9",
        "disk free: 77",
        "session count ai-muse: 4",
        "turns of ai-muse: 1 running, 2 waiting",
        "latency status: 3 calls, 1 errors, p50 20, p90 30, p99 40, max 50 µs",
        "error 1001 no_sessions: 2",
        "internal error ab12: no method, 2026-11-23T11:57:00.000Z",
        "config error: line 2",
    ]


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (38_588_416, "36.8 MiB"), (2**60, "1048576.0 TiB")],
)
def test_a_size_is_short(number, shown):
    assert status_text.size(number) == shown


@pytest.mark.parametrize(
    ("took", "shown"),
    [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_234, "1.23 ms"),
        (999_499, "999 ms"),
        (999_900, "1 s"),
        (5_242_880, "5.24 s"),
        (119_990_000, "120 s"),
        (3_600_000_000, "60 min"),
    ],
)
def test_a_latency_is_short(took, shown):
    assert status_text.latency(took) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3600, "1 h 0 min"), (100_000, "1 d 3 h")],
)
def test_an_uptime_is_short(seconds, shown):
    assert status_text.duration(seconds) == shown
