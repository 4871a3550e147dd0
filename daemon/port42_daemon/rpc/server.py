"""The server: accepts connections, enforces limits, shuts down."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from port42_daemon.process import memory, peer
from port42_daemon.rpc.budget import Budget
from port42_daemon.rpc.connection import Connection
from port42_daemon.rpc.dispatch import Dispatcher
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import Settings
from port42_protocol.counting import count
from port42_protocol.errors import Overloaded, RpcError, ShuttingDown

_CUT_OFF = 8.0
"""Seconds that back ends get to stop (INT, TERM and KILL, three seconds apart) and turns to be recorded."""
_BACKLOG = 1024
"""Connections that wait to be accepted, as in systemd/port42.socket. Beyond them a client that does not block
gets EAGAIN. As many may be open beyond the limit until they are refused."""
_LINGERING = 32  # refused clients that have time to read the error; further ones are closed at once
_TRIM_BYTES = (
    8 * 1024 * 1024
)  # bytes in and out, after which the memory they took is given back to the system
_TRIM_DELAY = 1.0  # seconds from the end of a connection until then: others may follow
_OTHER_FILES = 1536
"""Descriptors that the daemon needs beside those of a server's clients: 384 for itself and its back ends, the
others for the second socket's clients."""
_LAST_READ = 1.0  # seconds that a peer gets to read its last answers

log = logging.getLogger(__name__)


class Server:
    """Connections on one listening socket."""

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        traffic: Traffic,
        holds_home: Callable[[], bool] = lambda: True,
        budget: Budget | None = None,
    ) -> None:
        """`holds_home` is asked at each connection whether the daemon may still serve.

        Servers that share a `budget` share the memory for large answers.
        """
        self._settings = settings
        self._dispatcher = dispatcher
        self._traffic = traffic
        self._holds_home = holds_home
        self._budget = budget or Budget()
        self._lingering = 0
        self._trimmed_at = 0
        self._trim: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self.requests: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._gone = asyncio.Event()

    async def listen(self, listener: socket.socket) -> None:
        """Accept on `listener`, which is bound. Takes the socket over, but leaves its path."""
        # From 3.13 on a loop unlinks the path at the end, also that of a socket which systemd keeps.
        kept: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        _allow_files(self._settings.connections + _BACKLOG + _LINGERING + _OTHER_FILES)
        loop = asyncio.get_running_loop()
        if self._listening is not None:  # at a path that is gone
            self._listening.close()
        connect = partial(Connection, self._settings, self._dispatcher, self._traffic, self._budget, self)
        self._listening = await loop.create_unix_server(connect, sock=listener, backlog=_BACKLOG, **kept)

    async def stop(self, cut_off: Callable[[], None] = lambda: None) -> None:
        """Stop accepting, answer received requests, wait up to the grace for running ones, then close.

        Each connection is closed as soon as no request of it is running. `cut_off` ends turns that take
        longer, with their partial replies recorded.
        """
        self._stopping = True
        if self._listening is not None:
            self._listening.close()
        for connection in list(self._connections):
            connection.retire()
        if late := await self._ended(self._settings.grace):
            log.warning("✂ %s cut off", count(len(late), "request"))
            cut_off()
            for task in await self._ended(_CUT_OFF):
                task.cancel()
            await self._ended(_LAST_READ)
        for connection in list(self._connections):
            connection.close()
        await self._gone_within(_LAST_READ)

    async def _ended(self, seconds: float) -> set[asyncio.Task[None]]:
        """Wait until no request is running, also of closed connections; returns those left after `seconds`.

        A peer that only has to read its answers gets `_LAST_READ`.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._connections or self.requests:
            if self.requests:
                if loop.time() >= until:
                    break
                await asyncio.wait(self.requests, timeout=until - loop.time())
            else:
                await self._gone_within(_LAST_READ)
                if not self.requests:
                    break
        return set(self.requests)

    async def _gone_within(self, seconds: float) -> None:
        self._gone.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), seconds)

    def admit(self, connection: Connection, transport: asyncio.Transport) -> bool:
        """Whether to accept a peer: it is this user's, and the limit is not reached."""
        uid = peer.uid(transport.get_extra_info("socket"))
        if uid != os.geteuid():
            log.warning("⛔ a connection of uid %d was refused", uid)
            transport.abort()
            return False
        if not self._holds_home():
            self._refuse(connection, ShuttingDown())
            return False
        if len(self._connections) >= self._settings.connections:
            limit = self._settings.connections
            self._refuse(connection, Overloaded(f"{limit} connections are open, the most there may be"))
            return False
        self._connections.add(connection)
        self._traffic.connections += 1
        if self._stopping:
            connection.retire()
        return True

    def _refuse(self, connection: Connection, error: RpcError) -> None:
        if self._lingering < _LINGERING:
            self._lingering += 1
            connection.refuse(error)
            connection.when_lost(self._lingered)
        else:
            connection.refuse(error, linger=0)

    def _lingered(self) -> None:
        self._lingering -= 1

    def forget(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._traffic.connections -= 1
            if self._trim is None and self._bytes() - self._trimmed_at > _TRIM_BYTES:
                self._trim = asyncio.get_running_loop().call_later(_TRIM_DELAY, self._give_memory_back)
            if not self._connections:
                self._gone.set()

    def _bytes(self) -> int:
        return self._traffic.bytes_in + self._traffic.bytes_out

    def _give_memory_back(self) -> None:
        self._trim, self._trimmed_at = None, self._bytes()
        memory.give_back()


def _allow_files(wanted: int) -> None:
    """Raise the soft limit of open descriptors to what is needed, as far as the hard one lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
