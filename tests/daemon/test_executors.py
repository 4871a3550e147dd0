"""Blocking work off the loop: files are not held up by a question to the index."""

from __future__ import annotations

import asyncio
import threading

import pytest

from port42_daemon.executors import Threads


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
