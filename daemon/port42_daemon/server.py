"""The server: who may connect, how many, and how it all ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable

from port42_daemon.connection import Connection
from port42_daemon.dispatch import Dispatcher
from port42_daemon.settings import Settings
from port42_daemon.traffic import Traffic
from port42_protocol.errors import Overloaded

_CUT_OFF = 8.0
"""Seconds that back ends get to stop (INT, TERM and KILL, three seconds apart) and turns to be recorded."""

log = logging.getLogger(__name__)


class Server:
    """Connections on one listening socket."""

    def __init__(self, settings: Settings, dispatcher: Dispatcher, traffic: Traffic) -> None:
        self._settings = settings
        self._dispatcher = dispatcher
        self._traffic = traffic
        self._connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self._left: set[asyncio.Task[None]] = set()
        self._emptied: asyncio.Future[None] | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept on `listener`, which is bound; it is ours from now on, its path is not."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_unix_server(self._welcome, sock=listener, backlog=1024)

    async def stop(self, cut_off: Callable[[], None]) -> None:
        """Refuse new work, let what is under way end within the grace, then let go of everybody.

        `cut_off` makes turns that take longer end early, with what was said so far recorded.
        """
        self._dispatcher.stopping = True
        if self._listening is not None:
            self._listening.close()
        late = await self._wait_for(self._settings.grace)
        if late:
            log.warning("✂ %d requests are cut off", len(late))
            cut_off()
            for task in await self._wait_for(_CUT_OFF):
                task.cancel()
            await self._wait_for(None)
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            # What was answered last is still on its way out; a peer that does not read is not waited for.
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=1)

    async def _wait_for(self, seconds: float | None) -> set[asyncio.Task[None]]:
        """What is still under way after so many seconds, also for those who are gone."""
        under_way = {task for one in self._connections for task in one.under_way} | self._left
        if not under_way:
            return set()
        return (await asyncio.wait(under_way, timeout=seconds))[1]

    def _welcome(self) -> Connection:
        return Connection(self._settings, self._dispatcher, self._traffic, self._admit, self._forget)

    def _admit(self, connection: Connection, transport: asyncio.Transport) -> bool:
        """Whether to talk to a peer: this user's, and not one too many."""
        uid = peer_uid(transport.get_extra_info("socket"))
        if uid != os.geteuid():
            log.warning("⛔ a connection of uid %d was refused", uid)
            transport.abort()
            return False
        if len(self._connections) >= self._settings.connections:
            limit = self._settings.connections
            connection.refuse(Overloaded(f"{limit} connections are open, the most there may be"))
            return False
        self._connections.add(connection)
        self._traffic.connections += 1
        return True

    def _forget(self, connection: Connection) -> None:
        for task in connection.under_way:
            self._left.add(task)
            task.add_done_callback(self._left.discard)
        if connection in self._connections:
            self._connections.discard(connection)
            self._traffic.connections -= 1
            if self._emptied is not None and not self._connections and not self._emptied.done():
                self._emptied.set_result(None)


def peer_uid(peer: socket.socket) -> int:
    """Whose process is at the other end, as the kernel says: unix(7) SO_PEERCRED, macOS unix(4)."""
    if sys.platform == "darwin":
        # struct xucred: version, uid, group count and groups; LOCAL_PEERCRED is 1 at level 0.
        _, uid = struct.unpack_from("=Ii", peer.getsockopt(0, 1, 76))
    else:
        _, uid, _ = struct.unpack("=iii", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
