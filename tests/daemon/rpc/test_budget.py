"""The memory that clients share: never more than there is, in turn, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.rpc import budget
from port42_daemon.rpc.budget import TOTAL, Budget

MIB = 1024 * 1024


@given(st.lists(st.integers(1, 2 * TOTAL), min_size=1, max_size=20))
def test_never_more_is_taken_than_there_is_and_in_turn(weights):
    async def run() -> None:
        shared, used, served = Budget(), 0, []

        async def work(number: int, weight: int) -> None:
            nonlocal used
            await shared.take(weight)
            used += weight
            served.append(number)
            # What is more than all there is may be taken by one alone.
            assert used <= TOTAL or used == weight
            await asyncio.sleep(0)
            used -= weight
            shared.give_back(weight)

        await asyncio.wait_for(
            asyncio.gather(*(work(number, weight) for number, weight in enumerate(weights))), 10
        )
        assert served == sorted(served)

    asyncio.run(run())


def test_who_gives_up_waiting_leaves_its_place_to_the_next():
    async def run() -> None:
        shared = Budget()
        await shared.take(TOTAL)
        first, second = (asyncio.create_task(shared.take(MIB)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        shared.give_back(TOTAL)
        await asyncio.wait_for(second, 10)
        shared.give_back(MIB)
        await asyncio.wait_for(shared.take(TOTAL), 10)

    asyncio.run(run())


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(budget, "_UNREAD_SECONDS", 0.01)


def test_while_somebody_waits_those_who_do_not_read_are_cut_off_the_longest_first(impatient):
    async def run() -> None:
        shared, cut = Budget(), []

        def holder(name: str):
            def cut_off() -> None:
                cut.append(name)
                shared.read_again(cut_off)
                shared.give_back(TOTAL // 2)

            return cut_off

        for name in ("old", "new"):
            await shared.take(TOTAL // 2)
            shared.stopped_reading(holder(name))
            await asyncio.sleep(0.002)
        await asyncio.wait_for(shared.take(MIB), 10)
        assert cut == ["old"]
        await asyncio.wait_for(shared.take(TOTAL // 2), 10)
        assert cut == ["old", "new"]

    asyncio.run(run())


def test_who_stops_reading_after_the_others_began_to_wait_is_cut_off_too(impatient):
    async def run() -> None:
        shared = Budget()

        def cut_off() -> None:
            shared.read_again(cut_off)
            shared.give_back(TOTAL)

        await shared.take(TOTAL)
        waiting = asyncio.create_task(shared.take(MIB))
        passed = asyncio.Event()
        await asyncio.sleep(0)
        # Behind the look that the waiting one has asked for, and that finds nobody to cut off.
        asyncio.get_running_loop().call_later(0.02, passed.set)
        await passed.wait()
        shared.stopped_reading(cut_off)
        await asyncio.wait_for(waiting, 10)

    asyncio.run(run())


def test_who_reads_again_is_not_cut_off(impatient):
    async def run() -> None:
        shared = Budget()
        cut_off = pytest.fail
        await shared.take(TOTAL)
        shared.stopped_reading(cut_off)
        waiting = asyncio.create_task(shared.take(MIB))
        await asyncio.sleep(0)
        shared.read_again(cut_off)
        shared.give_back(TOTAL)
        await asyncio.wait_for(waiting, 10)

    asyncio.run(run())
