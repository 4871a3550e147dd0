"""One ACP turn: its events in order, permission requests decided by policy or by the user, its end."""

from __future__ import annotations

import asyncio
from typing import Any

from port42_daemon.backends.acp import updates
from port42_daemon.backends.base import Ask, Event, Notice, Permission
from port42_daemon.config import Permissions

CANCELLED = {"outcome": {"outcome": "cancelled"}}
_EVENTS_AHEAD = 1000
"""Events that wait for the turn's reader before the agent is no longer read."""


class TurnEvents:
    """The queue of one turn's `events`, until it is `over`; later events are discarded.

    The reader of `events` marks each with `task_done` once a person has seen it.
    """

    def __init__(self, policy: Permissions, ask: Ask) -> None:
        self._policy = policy
        self._ask = ask
        self._updates = updates.Updates()
        self._asking: set[asyncio.Task[str | None]] = set()
        self.events: asyncio.Queue[Event | Exception] = asyncio.Queue(_EVENTS_AHEAD)
        self.over = False

    def stop(self) -> None:
        self.over = True
        while not self.events.empty():
            self.events.get_nowait()

    def stop_asking(self) -> None:
        for asking in self._asking:
            asking.cancel()

    async def update(self, update: dict[str, Any]) -> None:
        event = None if self.over else self._updates.read(update)
        if event is not None:
            await self.events.put(event)

    async def permission(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.over:
            return CANCELLED
        request = updates.permission(params, self._updates)
        if self._policy == "ask":
            chosen = await self._put_to_person(request)
        else:
            chosen = updates.choice(request, allow=True) if updates.granted(self._policy, request) else None
        if self.over:
            return CANCELLED
        if chosen is None:
            why = "no client answered" if self._policy == "ask" else f'permissions = "{self._policy}"'
            await self.events.put(Notice(f"not permitted: {request.title} ({why})"))
            chosen = updates.choice(request, allow=False)
        return {"outcome": {"outcome": "selected", "optionId": chosen}} if chosen else CANCELLED

    async def _put_to_person(self, request: Permission) -> str | None:
        """The option that the user chose; None without an answer, or when the turn was cancelled."""
        asking = asyncio.create_task(self._shown(request))
        self._asking.add(asking)
        try:
            await asyncio.wait([asking])
        finally:
            self._asking.discard(asking)
            asking.cancel()
        chosen = None if asking.cancelled() else asking.result()
        return chosen if any(option.id == chosen for option in request.options) else None

    async def _shown(self, request: Permission) -> str | None:
        # After what the agent said before it: a question is about what one has read.
        await self.events.join()
        return await self._ask(request)
