"""What passed the socket, counted, and how long it took, in constant memory."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.rpc.metrics import Latency, Traffic
from port42_protocol.errors import BackendFailed, InternalError, NoSessions
from port42_protocol.messages.daemon import ErrorCount, MethodLatency

DURATIONS = st.lists(st.integers(0, 2**47 - 1), min_size=1, max_size=200)


@given(DURATIONS)
def test_a_percentile_is_at_most_a_sixteenth_off(durations):
    latency = Latency()
    for duration in durations:
        latency.note(duration)
    ordered = sorted(durations)
    wanted = (1, 50, 90, 99, 100)
    for percent, found in zip(wanted, latency.percentiles(*wanted), strict=True):
        exact = ordered[-(-len(ordered) * percent // 100) - 1]
        assert abs(found - exact) <= exact / 16
    assert (latency.count, latency.longest) == (len(durations), ordered[-1])


@pytest.mark.parametrize("took", [2**47 - 1, 2**47, 2**63, 2**200])
def test_what_takes_for_ever_is_counted_too(took):
    latency = Latency()
    latency.note(took)
    latency.note(took)
    assert (latency.count, latency.longest) == (2, 2**47 - 1)
    assert latency.percentiles(99)[0] == pytest.approx(2**47, rel=1 / 16)


def test_of_nothing_everything_is_nought():
    assert Latency().percentiles(50, 99) == [0, 0]


def test_it_takes_the_same_room_for_one_and_for_many():
    few, many = Latency(), Latency()
    few.note(1)
    for number in range(20_000):
        many.note(number * 1000)
    assert sys.getsizeof(few._buckets) == sys.getsizeof(many._buckets) < 4096


def test_methods_come_in_the_tables_order_with_their_errors():
    traffic = Traffic()
    for took in (1_000, 2_000, 3_000):
        traffic.answered("status", took, None)
    traffic.answered("get_last_session", 4_000, NoSessions("ai-muse"))
    traffic.answered(None, 5_000, NoSessions("ai-muse"))
    last, status = traffic.latencies()
    assert last == MethodLatency("get_last_session", 1, 1, 4, 4, 4, 4)
    assert (status.method, status.count, status.errors, status.max_us) == ("status", 3, 0, 3)
    assert traffic.errors() == (ErrorCount(1001, "no_sessions", 2),)


def test_an_error_is_counted_by_code_and_kind():
    traffic = Traffic()
    for kind in ("network", "needs_auth", "network"):
        traffic.refused(BackendFailed(kind, "no", "cli-1", seq=1))
    assert traffic.errors() == (ErrorCount(1007, "network", 2), ErrorCount(1007, "needs_auth", 1))


def test_the_last_few_internal_errors_are_kept():
    traffic = Traffic()
    for number in range(9):
        traffic.failed("status", InternalError(f"id-{number}"))
    assert [failure.error_id for failure in traffic.failures()] == [f"id-{number}" for number in range(4, 9)]
    assert {failure.method for failure in traffic.failures()} == {"status"}
