"""Durations in constant memory: percentiles as near as promised, whatever is noted."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.rpc.latency import Latency

DURATIONS = st.lists(st.integers(0, 2**47 - 1), min_size=1, max_size=200)


@given(DURATIONS)
def test_a_percentile_is_at_most_a_sixteenth_off(durations):
    latency = Latency()
    for one in durations:
        latency.note(one)
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
