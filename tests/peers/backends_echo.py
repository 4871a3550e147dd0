"""The contract suite's cases for `echo`, which nothing can make fail: it needs no program and no server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from port42_daemon.config import EchoBackend


@contextlib.contextmanager
def _of(config: EchoBackend) -> Iterator[EchoBackend]:
    yield config


CASES: dict[str, Callable[[], AbstractContextManager[EchoBackend]]] = {
    "answers": lambda: _of(EchoBackend(pause=0)),
    "slow": lambda: _of(EchoBackend(pause=60)),
}
