"""Thread pools for blocking work: for files, for the index, and for queries that may wait."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any, NamedTuple, TypeVar
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


class _Job(NamedTuple):
    future: asyncio.Future[Any]
    work: Callable[..., Any]
    args: tuple[Any, ...]
    named: dict[str, Any]


class _Pool:
    """Threads that are started when work would have to wait, and take it in the order in which it came.

    Not a ThreadPoolExecutor: its Future beside asyncio's, each with a lock, costs an append as much CPU as
    all of the store (benchmarks/README.md). Each thread waits at a queue of its own: where several wait at
    one, each `put` wakes two of them. All but `_serve` and `_next` is called on the event loop.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._threads: dict[SimpleQueue[_Job | None], threading.Thread] = {}
        """Each by the queue at which it waits."""
        self._idle: list[SimpleQueue[_Job | None]] = []
        """The queues of those that have nothing to do; the last one is the next to be used."""
        self._backlog: deque[_Job] = deque()
        """Work for which no thread is idle."""
        self._since: dict[str, float] = {}
        """When each thread that works began with what it does, by the monotonic clock."""

    def __call__(self, work: Callable[..., T], *args: object, **named: object) -> asyncio.Future[T]:
        """Run `work` in a thread; the future has its result or its error."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._idle and len(self._threads) < self._most:
            self._add_thread()
        job = _Job(future, work, args, named)
        if self._idle:
            self._idle.pop().put(job)
        else:
            self._backlog.append(job)
        return future

    def _add_thread(self) -> None:
        """Where the system allows no more threads, those that there are do the work. Raises `Overloaded`."""
        queue: SimpleQueue[_Job | None] = SimpleQueue()
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, args=(queue,), name=name)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            if not self._threads:
                raise Overloaded("the system allows the daemon no further thread") from None
        else:
            self._threads[queue] = thread
            self._idle.append(queue)

    def close(self) -> None:
        """Once the loop has ended. Work that waits is done, though nobody awaits it any more."""
        while (job := self._next()) is not None:
            next(iter(self._threads)).put(job)
        for queue in self._threads:
            queue.put(None)
        for thread in self._threads.values():
            thread.join()

    def stalled(self) -> list[StalledThread]:
        now = monotonic()
        busy = [StalledThread(name, round(now - since, 1)) for name, since in self._since.copy().items()]
        ended = [
            StalledThread(thread.name, None) for thread in self._threads.values() if not thread.is_alive()
        ]
        return [*ended, *(thread for thread in busy if thread.seconds and thread.seconds > STALLED)]

    def _serve(self, queue: SimpleQueue[_Job | None]) -> None:
        name = threading.current_thread().name
        while (job := queue.get()) is not None:
            while job is not None:
                self._since[name] = monotonic()
                result, error = None, None
                if not job.future.cancelled():
                    try:
                        result = job.work(*job.args, **job.named)
                    except BaseException as raised:  # raised to the coroutine that awaits it
                        error = raised
                self._since.pop(name, None)
                done, job = job.future, self._next()
                idle = queue if job is None else None
                # The loop is closed: no coroutine awaits it any more.
                with contextlib.suppress(RuntimeError):
                    done.get_loop().call_soon_threadsafe(self._finish, done, result, error, idle)
                del done, result, error

    def _next(self) -> _Job | None:
        """The next job of the backlog. In any thread."""
        try:
            return self._backlog.popleft()
        except IndexError:
            return None

    def _finish(
        self,
        future: asyncio.Future[Any],
        result: object,
        error: BaseException | None,
        idle: SimpleQueue[_Job | None] | None,
    ) -> None:
        if idle is not None:
            job = self._next()  # which came since the thread looked
            if job is None:
                self._idle.append(idle)
            else:
                idle.put(job)
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            # A Future takes no StopIteration.
            future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)
