"""Blocking work off the loop: files are not held up by a question to the index."""

from __future__ import annotations

import asyncio
import threading

import pytest

from port42_daemon import executors
from port42_daemon.executors import Threads
from port42_protocol.errors import Overloaded


def test_files_go_on_while_the_index_is_waited_for():
    threads, gate = Threads(), threading.Event()

    async def run() -> None:
        waiting = asyncio.ensure_future(threads.index(gate.wait))
        assert await threads.files(lambda a, b: a + b, 1, b=2) == 3
        assert not waiting.done()
        gate.set()
        assert await waiting is True

    asyncio.run(run())
    threads.close()


def test_work_runs_beside_the_loop_and_its_error_comes_back():
    threads = Threads()

    async def run() -> None:
        assert await threads.files(threading.get_ident) != threading.get_ident()
        with pytest.raises(KeyError):
            await threads.files({}.__getitem__, "x")

    asyncio.run(run())
    threads.close()


def test_closing_waits_for_what_is_under_way():
    threads, gate, done = Threads(), threading.Event(), []

    async def run() -> None:
        threads.files(lambda: (gate.wait(), done.append(1)))

    asyncio.run(run())
    threading.Timer(0.05, gate.set).start()
    threads.close()
    assert done == [1]


def test_what_waits_for_a_thread_is_done_in_its_order_also_after_the_loop():
    threads, gate, done = Threads(), threading.Event(), []

    async def run() -> None:
        threads.index(gate.wait)
        for number in range(5):
            threads.index(done.append, number)

    asyncio.run(run())
    gate.set()
    threads.close()
    assert done == [0, 1, 2, 3, 4]


def test_of_idle_threads_the_one_that_worked_last_goes_on():
    """Another would be woken for nothing, and find nothing of the work in its core's cache."""
    threads, all_began = Threads(), threading.Barrier(8)

    async def run() -> None:
        await asyncio.gather(*(threads.files(all_began.wait, 30) for _ in range(8)))
        assert len({await threads.files(threading.get_ident) for _ in range(50)}) == 1

    asyncio.run(run())
    threads.close()


def test_a_thread_that_does_not_get_on_is_named_as_long_as_it_does_not(monkeypatch):
    monkeypatch.setattr(executors, "STALLED", 0.0)
    threads, gate, begun = Threads(), threading.Event(), threading.Event()

    async def run() -> None:
        waiting = asyncio.ensure_future(threads.files(lambda: (begun.set(), gate.wait())))
        await asyncio.to_thread(begun.wait)
        await asyncio.sleep(0.1)  # a tenth of a second is what is shown
        (stalled,) = threads.stalled()
        assert stalled.name == "files-0"
        assert stalled.seconds > 0
        gate.set()
        await waiting
        assert threads.stalled() == []

    asyncio.run(run())
    threads.close()


@pytest.mark.parametrize("error", [MemoryError, RecursionError, OverflowError, ZeroDivisionError])
def test_no_exception_ends_a_thread(error):
    threads = Threads()

    def fail() -> None:
        raise error

    async def run() -> None:
        for _ in range(3):
            with pytest.raises(error):
                await threads.index(fail)
        assert await threads.index(lambda: 42) == 42

    asyncio.run(run())
    threads.close()


def test_where_the_system_allows_no_further_thread_those_that_there_are_do_the_work(monkeypatch):
    threads, start = Threads(), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Overloaded, match="no further thread"):
            await threads.files(int)
        monkeypatch.setattr(threading.Thread, "start", start)
        assert await threads.files(int, "1") == 1
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert await asyncio.gather(*(threads.files(int, str(number)) for number in range(20))) == [
            *range(20)
        ]
        assert threads.stalled() == []

    asyncio.run(run())
    threads.close()
