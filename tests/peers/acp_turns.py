"""Turns of ACP agents, played on the daemon's own event loop."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import uvloop
from peers.turns import events_of, turn

from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import (
    Event,
    Notice,
    Started,
    Turn,
)
from port42_daemon.config import AcpBackend

KEY = "sk-test-0123456789abcdef"
NAME = Path(sys.executable).name
"""What an agent that is a script is called: by its program's name."""
T = TypeVar("T")


def play(backend: Acp, play: Callable[[Acp], Awaitable[T]]) -> T:
    """What `play` gives, on uvloop; then the back end is closed."""

    async def main() -> T:
        try:
            async with asyncio.timeout(30):
                return await play(backend)
        finally:
            await backend.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def played(backend: Acp | AcpBackend, *turns: Turn) -> list[list[Event]]:
    """The events of each of these turns, one after the other."""
    if isinstance(backend, AcpBackend):
        backend = Acp(backend)

    async def all_of(backend: Acp) -> list[list[Event]]:
        return [await events_of(backend, question) for question in turns or (turn(),)]

    return play(backend, all_of)


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def native_id_of(events: list[Event]) -> str | None:
    return next(event.native_id for event in events if isinstance(event, Started))


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def wait_for_end(pid: int) -> None:
    """Wait for the end of a process that this one need not have started."""
    while runs(pid):  # noqa: ASYNC110 - polling: nothing tells
        await asyncio.sleep(0.02)
