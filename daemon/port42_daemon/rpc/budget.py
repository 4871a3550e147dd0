"""A memory budget for large responses of all clients, from their creation until they are read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

TOTAL = 64 * 1024 * 1024
"""Bytes, as `Pending.weight` counts them: an answer is in memory two or three times while it is made."""
PER_CLIENT = 16 * 1024 * 1024  # bytes of one client, after which its next request waits
_UNREAD_SECONDS = 5.0
"""Seconds without reading after which a client loses its connection, when others wait for its share."""


class Budget:
    """Allocates `TOTAL`, first come, first served. Runs on the event loop only."""

    def __init__(self) -> None:
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._holders: dict[Callable[[], None], float] = {}
        """Disconnects a client that does not read its responses; when it stopped reading."""

    async def take(self, weight: int) -> None:
        if not self._waiting and self._fits(weight):
            self._used += weight
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append((weight, turn))
        loop.call_later(_UNREAD_SECONDS, self._disconnect_longest)
        await turn

    def give_back(self, weight: int) -> None:
        self._used -= weight
        while self._waiting and self._fits(self._waiting[0][0]):
            weight, turn = self._waiting.popleft()
            if not turn.done():  # it was cancelled
                self._used += weight
                turn.set_result(None)

    def stopped_reading(self, disconnect: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._holders.setdefault(disconnect, loop.time())
        if self._waiting:  # since before there was anybody to disconnect
            loop.call_later(_UNREAD_SECONDS, self._disconnect_longest)

    def read_again(self, disconnect: Callable[[], None]) -> None:
        self._holders.pop(disconnect, None)

    def _fits(self, weight: int) -> bool:
        return self._used + weight <= TOTAL or not self._used

    def _disconnect_longest(self) -> None:
        """Disconnect the client that has read nothing for longest, if others wait."""
        loop = asyncio.get_running_loop()
        if not self._waiting or not self._holders:
            return
        disconnect, since = min(self._holders.items(), key=lambda holder: holder[1])
        if (left := since + _UNREAD_SECONDS - loop.time()) > 0:
            loop.call_later(left, self._disconnect_longest)
            return
        disconnect()
        loop.call_later(0, self._disconnect_longest)
