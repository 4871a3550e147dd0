"""Where blocking work runs: off the event loop, files apart from the index."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """Two pools, so that questions which wait for the index never hold up a message.

    Eight threads for files: fdatasync waits, it does not compute. One for the index: it has one
    connection.
    """

    def __init__(self) -> None:
        self._files = ThreadPoolExecutor(8, "files")
        self._index = ThreadPoolExecutor(1, "index")

    def files(self, work: Callable[..., T], *args: object, **named: object) -> Awaitable[T]:
        """Run `work` on a session's file."""
        return self._run(self._files, partial(work, *args, **named))

    def index(self, work: Callable[..., T], *args: object, **named: object) -> Awaitable[T]:
        """Run `work` on the index."""
        return self._run(self._index, partial(work, *args, **named))

    def close(self) -> None:
        """Wait until all of it is done."""
        self._files.shutdown()
        self._index.shutdown()

    @staticmethod
    def _run(pool: ThreadPoolExecutor, work: Callable[[], T]) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(pool, work)
