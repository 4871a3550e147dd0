"""Where blocking work runs: off the event loop, files apart from the index, and both from what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """Three pools, so that questions to the index never hold up a message.

    Eight threads for files: fdatasync waits, it does not compute. One for the index: it answers one
    question at a time. One for questions that may have to wait until the index knows every session.
    """

    def __init__(self) -> None:
        self._files = ThreadPoolExecutor(8, "files")
        self._index = ThreadPoolExecutor(1, "index")
        self._patient = ThreadPoolExecutor(1, "patient")

    def files(self, work: Callable[..., T], *args: object, **named: object) -> Awaitable[T]:
        """Run `work` on a session's file."""
        return self._run(self._files, partial(work, *args, **named))

    def index(self, work: Callable[..., T], *args: object, **named: object) -> Awaitable[T]:
        """Run `work` on the index."""
        return self._run(self._index, partial(work, *args, **named))

    def patient(self, work: Callable[..., T], *args: object, **named: object) -> Awaitable[T]:
        """Run `work` where only its like waits for it."""
        return self._run(self._patient, partial(work, *args, **named))

    def close(self) -> None:
        """Wait until all of it is done."""
        self._files.shutdown()
        self._index.shutdown()
        self._patient.shutdown()

    @staticmethod
    def _run(pool: ThreadPoolExecutor, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(pool, work)
