"""What an append's CPU time is made of: its parts measured alone, in this process, over the same disk."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from benchmarks import cpu, scene
from benchmarks.appending import AGENT, LINE, MESSAGE
from port42_daemon.executors import Threads
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header


def show(calls: int) -> None:
    """Print microseconds of CPU time, user and system together, for each part and for the whole."""
    whole = cpu.measure(calls, only="append_message")["append_message"][0].total
    request = cpu.measure(calls, only="get_last")["get_last_session"][0].total
    with scene.folder() as home:
        parts = {
            "a request answered on the event loop (get_last_session)": request,
            "a function that does nothing, run in a thread": uvloop.run(_per_call(_hop(Threads()), calls)),
            "append and fdatasync of one line": _raw(home / "raw", calls),
            "the store's append and fdatasync, without the index": _store(home / "alone", calls, 0),
            "the store's append with the index's thread": _store(home / "store", calls, 1),
        }
    print(f"CPU time of an append and of its parts alone ({calls:,} calls), in µs")
    for name, spent in parts.items():
        print(f"  {name:60}{spent:8.0f}")
    print(f"  {'append_message, in the daemon':60}{whole:8.0f}")


def _hop(threads: Threads) -> Callable[[], Awaitable[object]]:
    return lambda: threads.files(os.getpid)


async def _per_call(call: Callable[[], Awaitable[object]], calls: int) -> float:
    await call()
    began = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - began) / calls * 1_000_000


def _raw(path: Path, calls: int) -> float:
    with path.open("ab", buffering=0) as file:
        began = time.process_time()
        for _ in range(calls):
            file.write(LINE)
            os.fdatasync(file.fileno())
        return (time.process_time() - began) / calls * 1_000_000


def _store(home: Path, calls: int, settle: int) -> float:
    """With `settle` until the index's thread has taken the text in, else only this thread's time."""
    clock = time.process_time if settle else time.thread_time
    store = FileStore(home)
    store.open()
    try:
        store.create(Header(id="cli-1", agent=AGENT, created_at=MESSAGE.timestamp, client="cli"))
        began = clock()
        for _ in range(calls):
            with store.writing("cli-1") as session:
                session.append((MESSAGE,), use=True)
        while settle and store.catalogue.status().records_behind:
            time.sleep(0.05)  # another thread's work, which nothing tells of
        return (clock() - began) / calls * 1_000_000
    finally:
        store.close()
