"""What an append's CPU time is made of: its parts measured alone, in this process, over the same disk."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from unittest import mock

import uvloop

from benchmarks import cpu, scene
from benchmarks.appending import AGENT, LINE, MESSAGE
from port42_daemon import durable
from port42_daemon.executors import Threads
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header


def show(calls: int) -> None:
    """Print microseconds of CPU time, user and system together, for each part and for the whole."""
    whole = cpu.measure(calls, only="append_message")["append_message"][0].total
    request = cpu.measure(calls, only="get_last")["get_last_session"][0].total
    with scene.folder() as home, contextlib.closing(Threads()) as threads:
        parts = {
            "a request answered on the event loop (get_last_session)": request,
            "a function that does nothing, run in a thread": uvloop.run(
                _per_call(lambda: threads.files(os.getpid), calls)
            ),
            "append and fdatasync of one line": _raw(home / "raw", calls),
            "the store's append without fdatasync, one after the other": _unsynced(home / "warm", calls, 0),
            "the same, each after a pause of 1 ms": _unsynced(home / "cold", calls, 0.001),
            "the store's append and fdatasync, without the index": _store(home / "alone", calls, 0),
            "the store's append with the index's thread": _store(home / "store", calls, 1),
        }
    print(f"CPU time of an append and of its parts alone ({calls:,} calls), in µs")
    for name, spent in parts.items():
        print(f"  {name:60}{spent:8.0f}")
    print(f"  {'append_message, in the daemon':60}{whole:8.0f}")


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


def _unsynced(home: Path, calls: int, pause: float) -> float:
    """The median of this thread's time in the store: what its code costs where nothing waits for a disk."""
    with _opened(home) as store, mock.patch.object(durable, "sync", _leave):
        spent = []
        for _ in range(calls):
            if pause:
                time.sleep(pause)
            began = time.thread_time()
            _append(store)
            spent.append(time.thread_time() - began)
    return statistics.median(spent) * 1_000_000


def _leave(_: int) -> None:
    """What is written reaches the disk whenever the kernel likes."""


def _store(home: Path, calls: int, settle: int) -> float:
    """With `settle` until the index's thread has taken the text in, else only this thread's time."""
    clock = time.process_time if settle else time.thread_time
    with _opened(home) as store:
        began = clock()
        for _ in range(calls):
            _append(store)
        while settle and store.catalogue.status().records_behind:
            time.sleep(0.05)  # another thread's work, which nothing tells of
        return (clock() - began) / calls * 1_000_000


@contextlib.contextmanager
def _opened(home: Path) -> Iterator[FileStore]:
    """A store with a session to append to."""
    store = FileStore(home)
    store.open()
    with contextlib.closing(store):
        store.create(Header(id="cli-1", agent=AGENT, created_at=MESSAGE.timestamp, client="cli"))
        yield store


def _append(store: FileStore) -> None:
    with store.writing("cli-1") as session:
        session.append((MESSAGE,), use=True)
