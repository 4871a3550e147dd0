"""Thread pools for blocking work: for files, for the index, and for queries that may wait."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from port42_protocol.errors import Overloaded
from port42_protocol.messages.daemon import StalledThread

T = TypeVar("T")

_SWITCH_SECONDS = 0.001
"""How long a thread that computes keeps others from going on; Python's default is 5 ms.

Each call that waits for the disk gives up the interpreter, and gets it back behind a thread that computes.
"""
STALLED = 30.0  # seconds after which a job counts as stalled, by a disk that hangs for example


class Threads:
    """Five pools, so that questions to the index never hold up a message.

    Eight threads for files: fdatasync waits, it does not compute. One for the index: it answers one
    question at a time. One for questions that may have to wait until the index knows every session, or that
    look at each file of the home; one for the files of other tools; one for the hub, which waits for the
    network.
    """

    def __init__(self) -> None:
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._orders: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()
        self.files = _Pool("files", 8)
        self.index = _Pool("index", 1)
        self.patient = _Pool("patient", 1)
        self.capture = _Pool("capture", 1)
        self.hub = _Pool("hub", 1)

    def order(self, *about: str) -> asyncio.Lock:
        """A fair lock: waiters for the same key get it in order. Records are written and published under it.

        The store's own locks keep threads apart but let any of them go next; messages that one client sends
        in a row must be recorded in that order.
        """
        return self._orders.setdefault(about, asyncio.Lock())

    def stalled(self) -> list[StalledThread]:
        """Threads at one piece of work for more than `STALLED` seconds; the patient one may be."""
        return [*self.files.stalled(), *self.index.stalled()]

    def close(self) -> None:
        for pool in (self.files, self.index, self.patient, self.capture, self.hub):
            pool.close()


class _Pool:
    """Threads that are started when work would have to wait, and take it in the order in which it came.

    Not a ThreadPoolExecutor: its Future beside asyncio's, each with a lock, costs an append as much CPU as
    all of the store (benchmarks/README.md).
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._work: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...], Any] | None]
        self._work = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._since: dict[str, float] = {}
        """When each thread that works began with what it does, by the monotonic clock."""
        self._waiting = 0  # work that no thread has finished; counted on the event loop

    def __call__(self, work: Callable[..., T], *args: object, **named: object) -> asyncio.Future[T]:
        """Run `work` in a thread; the future has its result or its error."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        if self._waiting > len(self._threads) < self._most:
            self._add_thread()
        self._work.put((future, work, args, named))
        return future

    def _add_thread(self) -> None:
        """Where the system allows no more threads, those that there are do the work. Raises `Overloaded`."""
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}")
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            if not self._threads:
                self._waiting -= 1
                raise Overloaded("the system allows the daemon no further thread") from None
        else:
            self._threads.append(thread)

    def close(self) -> None:
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def stalled(self) -> list[StalledThread]:
        now = monotonic()
        busy = [StalledThread(name, round(now - since, 1)) for name, since in self._since.copy().items()]
        ended = [StalledThread(thread.name, None) for thread in self._threads if not thread.is_alive()]
        return [*ended, *(thread for thread in busy if thread.seconds and thread.seconds > STALLED)]

    def _serve(self) -> None:
        name = threading.current_thread().name
        while (item := self._work.get()) is not None:
            future, work, args, named = item
            self._since[name] = monotonic()
            result, error = None, None
            if not future.cancelled():
                try:
                    result = work(*args, **named)
                except BaseException as raised:  # raised to the coroutine that awaits it
                    error = raised
            self._since.pop(name, None)
            # The loop is closed: no coroutine awaits it any more.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(self._finish, future, result, error)
            del item, future, work, args, named, result, error

    def _finish(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        self._waiting -= 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            # A Future takes no StopIteration.
            future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)
