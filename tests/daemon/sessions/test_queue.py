"""The queue of a session: one at a time, in order, counted, told their position, and free to leave."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.parts import RecordingPeer

from port42_daemon.sessions.queue import SessionQueues
from port42_protocol.errors import RequestCancelled, SessionBusy, ShuttingDown, StorageFailed
from port42_protocol.messages.daemon import AgentTurns


def run(work):
    async def within():
        async with asyncio.timeout(30):
            await work(SessionQueues())

    asyncio.run(within())


class Turn:
    """One that waits in the queue of `session`, and holds its place until `over` is set."""

    def __init__(self, queues, name, session="s", **options):
        self.name, self.positions, self.entry = name, [], None
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(self._run(queues, session, options))

    async def _run(self, queues, session, options):
        async with queues.enter(session, self.name, self.positions.append, **options) as self.entry:
            self.begun.set()
            await self.over.wait()


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def test_they_come_in_order_and_are_told_their_position():
    async def work(queues):
        turns = [Turn(queues, name) for name in "abc"]
        await settle()
        assert [turn.begun.is_set() for turn in turns] == [True, False, False]
        assert [turn.positions for turn in turns] == [[], [1], [2]]
        assert (queues.under_way, queues.waiting("s"), queues.busy("s"), queues.busy("t")) == (
            3,
            2,
            True,
            False,
        )
        assert queues.by_agent == (AgentTurns("a", 1, 0), AgentTurns("b", 0, 1), AgentTurns("c", 0, 1))
        turns[0].over.set()
        await settle()
        assert turns[1].begun.is_set()
        assert [turn.positions for turn in turns] == [[], [1], [2, 1]]
        for turn in turns:
            turn.over.set()
        await asyncio.gather(*(turn.task for turn in turns))
        assert not queues.busy("s")

    run(work)


def test_who_leaves_lets_the_others_move_up():
    async def work(queues):
        peer = RecordingPeer()
        first, gone, last = (
            Turn(queues, "a"),
            Turn(queues, "b", cancelled_by=[peer.when_lost]),
            Turn(queues, "c"),
        )
        await settle()
        peer.hang_up()
        with pytest.raises(RequestCancelled):
            await gone.task
        assert last.positions == [2, 1]
        first.over.set()
        await first.task
        await settle()
        assert last.begun.is_set()
        last.over.set()
        await last.task

    run(work)


def test_a_cancel_reaches_the_one_at_the_head_each_time():
    async def work(queues):
        turn, behind = Turn(queues, "a"), Turn(queues, "b")
        await settle()
        calls = []
        turn.entry.on_cancel = lambda: calls.append(1)
        assert queues.cancel_head("s")
        assert queues.cancel_head("s")
        assert calls == [1, 1]
        assert not queues.cancel_head("elsewhere")
        assert not behind.begun.is_set()
        for each in (turn, behind):
            each.over.set()
        await asyncio.gather(turn.task, behind.task)

    run(work)


def test_at_the_end_nobody_enters_and_who_waits_is_sent_away():
    async def work(queues):
        first, waiting = Turn(queues, "a"), Turn(queues, "b")
        await settle()
        queues.cancel_all()
        with pytest.raises(ShuttingDown):
            await waiting.task
        with pytest.raises(ShuttingDown):
            await Turn(queues, "c").task
        assert first.entry.cancelled
        first.over.set()
        await first.task

    run(work)


def test_to_have_a_session_to_oneself():
    async def work(queues):
        async with queues.exclusive("s"):
            with pytest.raises(SessionBusy):
                async with queues.exclusive("s"):
                    raise AssertionError
            turn = Turn(queues, "a")
            with pytest.raises(SessionBusy):
                await Turn(queues, "b", refuse_if_busy=True).task
            await settle()
            assert not turn.begun.is_set()
            assert queues.by_agent == (AgentTurns("a", 0, 1),)
        await turn.begun.wait()
        turn.over.set()
        await turn.task

    run(work)


def test_what_is_to_be_done_first_is_done_until_it_succeeds():
    async def work(queues):
        results, calls = [StorageFailed("full"), StorageFailed("full"), None], []

        async def record():
            calls.append(1)
            if (problem := results.pop(0)) is not None:
                raise problem

        queues.do_first("s", record)
        with pytest.raises(StorageFailed):
            await Turn(queues, "a").task
        async with queues.exclusive("s"):  # which does not need it
            pass
        for _ in range(2):
            turn = Turn(queues, "a")
            turn.over.set()
            await turn.task
        assert len(calls) == 3

    run(work)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("st"), st.sampled_from(["end", "leave", "wait"])), max_size=12))
def test_whatever_they_do_one_at_a_time_has_the_session_and_none_is_left(steps):
    async def work(queues):
        inside = {"s": 0, "t": 0}

        async def turn(session, how):
            peer = RecordingPeer()
            async with AsyncExitStack() as stack:
                stack.callback(peer.hang_up)
                if how == "leave":
                    asyncio.get_running_loop().call_soon(peer.hang_up)
                await stack.enter_async_context(queues.enter(session, "a", cancelled_by=[peer.when_lost]))
                inside[session] += 1
                assert inside[session] == 1
                if how == "wait":
                    await settle()
                inside[session] -= 1

        done = await asyncio.gather(*(turn(*step) for step in steps), return_exceptions=True)
        assert {type(result) for result in done} <= {type(None), RequestCancelled}
        assert queues.under_way == 0

    run(work)


def test_exclusive_access_is_no_turn_for_whoever_does_not_wait_for_one():
    async def work():
        queues = SessionQueues()
        async with queues.exclusive("s"):
            assert queues.busy("s")
            assert not queues.has_turns("s")
            entering = asyncio.create_task(enter_and_leave(queues))
            await asyncio.sleep(0)
            assert not entering.done()
            assert queues.has_turns("s")
        await entering

    async def enter_and_leave(queues):
        async with queues.enter("s", "agent", refuse_if_busy=True):
            pass

    asyncio.run(work())
