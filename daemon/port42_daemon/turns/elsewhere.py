"""Turns of a session on other machines: one that is to run here waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from port42_daemon.sessions.queue import QueueEntry, SessionQueues
from port42_protocol.errors import RequestCancelled, SessionBusy

ASK_EVERY = 0.5
"""Seconds between two questions whether another machine's turn has ended."""


class Leases(Protocol):
    """Which machine may run a turn of a session. Who cannot ask the others may."""

    async def take(self, session_id: str, agent: str) -> str | None:
        """None where this machine may: it has the session then as the others left it. Else the name of the
        machine that runs a turn of it.

        To be followed by `give_back`, once for each result that is None.
        """

    def give_back(self, session_id: str) -> None:
        """The turn has ended; the lease ends once the others can have what it recorded."""

    async def holder(self, session_id: str) -> str | None:
        """The name of the other machine that runs a turn of the session now."""


@asynccontextmanager
async def kept_off(
    leases: Leases,
    queues: SessionQueues,
    entry: QueueEntry,
    session_id: str,
    tell: Callable[[str], None] | None,
) -> AsyncIterator[None]:
    """While it is entered, no other machine begins a turn of the session; waits for one that has.

    `entry` is at the head of the session's queue; while it waits, the session may be changed. `tell` is
    called with the name of the machine that is waited for; without it, raises `SessionBusy` instead. Raises
    `RequestCancelled` when the entry is cancelled meanwhile.
    """
    woken = asyncio.Event()
    entry.on_cancel = woken.set
    async with queues.paused(entry):
        waited_for = None
        while (machine := await leases.take(session_id, entry.agent or "")) is not None:
            if tell is None:
                raise SessionBusy(session_id, 0, machine)
            if machine != waited_for:
                tell(machine)
                waited_for = machine
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY):
                    await woken.wait()
            if entry.cancelled:
                raise RequestCancelled
    try:
        yield
    finally:
        leases.give_back(session_id)
