"""The daemon's facts as a terminal of 80 columns shows them."""

from __future__ import annotations

import io

import pytest
from msgspec import structs
from rich.console import Console

from port42_cli.views import status_terminal
from port42_protocol.messages.daemon import (
    AgentTurns,
    DaemonStatus,
    ErrorCount,
    InternalFailure,
    Limits,
    MethodLatency,
    Vitals,
)
from port42_protocol.methods import METHODS

OLDER = DaemonStatus("0.1.0", 1, 7, 3720.0, "/h", "/s", 3, 1, 2, 0, Limits(1, 1, 1, 1, 1), None)
WORST = structs.replace(
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


def drawn(daemon, width=80, **options):
    page = io.StringIO()
    Console(file=page, width=width, highlight=False, **options).print(status_terminal.status(daemon))
    return page.getvalue()


def test_an_older_daemon_is_shown_as_far_as_it_tells():
    page = drawn(OLDER)
    assert "port42d 0.1.0" in page
    assert "pid 7, up 1 h 2 min" in page
    assert "1 connection, 2 requests" in page
    assert " by " not in page
    assert not {"python", "traffic", "process", "METHOD", "config"} & set(page.split())


def test_80_columns_hold_a_line_for_each_method():
    lines = drawn(WORST).splitlines()
    rows = [line for line in lines if "12,345,678" in line]
    assert len(rows) == len(METHODS)
    assert max(map(len, lines)) <= 80
    for name, row in zip(METHODS, rows, strict=True):
        assert row.startswith(name)
        assert "24 µs" in row
        assert "117 min" in row
        assert "█" in row


def test_troubles_are_said_and_only_when_there_are_any():
    page = drawn(WORST)
    assert "2 × no_sessions (1001)" in page
    assert "ab12cd34 in status" in page
    assert "36 agents" not in page
    assert "34 agents more" in " ".join(page.replace("│", " ").split())
    assert "line 3: …" in drawn(structs.replace(OLDER, config_error="line 3: …"))


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
    assert words in drawn(structs.replace(OLDER, index=index, sessions=sessions))


def test_without_colour_the_bars_still_tell_the_parts_apart():
    one = MethodLatency("status", 1, 0, 100, 10_000, 1_000_000, 1_000_000)
    page = drawn(structs.replace(OLDER, latencies=(one,)), no_color=True, force_terminal=True)
    assert "\x1b[3" not in page
    assert "██▒▒▒▒\x1b[2m░░░░" in page


def test_what_a_daemon_says_cannot_move_the_cursor():
    assert "\x1b" not in drawn(structs.replace(OLDER, home="/h\x1b[2J", config_error="\x1b]0;x\x07"))
