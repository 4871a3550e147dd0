"""The events of one turn of an agent, and its permission requests, with who answers them."""

from __future__ import annotations

import asyncio
from typing import Any

from port42_daemon.backends.acp import updates
from port42_daemon.backends.acp.connection import fields
from port42_daemon.backends.base import Ask, Decided, Event, Failure, Notice, Permission
from port42_daemon.config import Permissions

CANCELLED = {"outcome": {"outcome": "cancelled"}}
_EVENTS_AHEAD = 1000
"""Events that wait for the turn's reader before the agent is no longer read."""


class Broken(Exception):
    """There is no reply, because of `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class NotAsked(Broken):
    """The agent was gone before the prompt was sent: another one can be asked."""


class TurnEvents:
    """The queue of one turn's `events`, until it is `over`; later events are discarded.

    The reader of `events` marks each with `task_done` once a person has seen it.
    """

    def __init__(self, policy: Permissions, ask: Ask) -> None:
        self._policy = policy
        self._ask = ask
        self._updates = updates.Updates()
        self._asking: set[asyncio.Task[str | None]] = set()
        self.events: asyncio.Queue[Event | NotAsked] = asyncio.Queue(_EVENTS_AHEAD)
        self.over = False

    def stop(self) -> None:
        self.over = True
        while not self.events.empty():
            self.events.get_nowait()

    def stop_asking(self) -> None:
        for asking in self._asking:
            asking.cancel()

    async def update(self, update: dict[str, Any]) -> None:
        for event in () if self.over else self._updates.read(update):
            await self.events.put(event)

    async def permission(self, params: dict[str, Any]) -> dict[str, Any]:
        if self.over:
            return CANCELLED
        # Gemini tells of a call only by asking for it.
        for event in self._updates.begin(fields(params.get("toolCall"))):
            await self.events.put(event)
        request = updates.permission(params, self._updates)
        self._updates.end_piece()
        if self._policy == "ask":
            chosen = await self._ask_user(request)
        else:
            chosen = updates.choice(request, allow=True) if updates.granted(self._policy, request) else None
        if self.over:
            return CANCELLED
        allowed = chosen is not None
        chosen = chosen or updates.choice(request, allow=False)
        if self._policy != "ask":
            await self.events.put(Decided(request, chosen))
        if not allowed:
            # With "ask" the record of the permission says who refused.
            why = "" if self._policy == "ask" else f' (permissions = "{self._policy}")'
            await self.events.put(Notice(f"not permitted: {request.title}{why}"))
        return {"outcome": {"outcome": "selected", "optionId": chosen}} if chosen else CANCELLED

    async def _ask_user(self, request: Permission) -> str | None:
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
