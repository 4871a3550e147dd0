"""What the daemon says of itself: `status` and `rpc.discover`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress

from port42_daemon.config import ConfigFile
from port42_daemon.diagnostics import process_stats
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import now
from port42_daemon.settings import Settings
from port42_daemon.store.interface import Catalogue
from port42_protocol import PROTOCOL_VERSION, openrpc
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.daemon import DaemonStatus, Discover, OpenRpc, Status
from port42_protocol.version import __version__

_PATIENCE = 0.02
"""Seconds for which the sessions' number is waited for; counting ten thousand takes a tenth of it."""


class Introspection:
    """The methods that are about the daemon, not about sessions."""

    def __init__(  # noqa: PLR0913, PLR0917  # it looks at every part, once
        self,
        settings: Settings,
        catalogue: Catalogue,
        threads: Threads,
        config: ConfigFile,
        traffic: Traffic,
        queues: SessionQueues,
        events: Events,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._threads = threads
        self._config = config
        self._traffic = traffic
        self._queues = queues
        self._events = events
        self._started, self._started_at = time.monotonic(), now()
        self._counted: dict[str, int] | None = None
        self._counting: asyncio.Task[None] | None = None

    async def status(self, _: Status) -> DaemonStatus:
        """As things stand now. Waits for nothing, and so for no index that is being rebuilt."""
        counted = await self._count()
        return DaemonStatus(
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._started, 3),
            home=str(self._settings.home),
            socket=str(self._settings.socket),
            sessions=None if counted is None else sum(counted.values()),
            connections=self._traffic.connections,
            requests=self._traffic.requests,
            turns=self._queues.under_way,
            limits=self._settings.limits,
            config_error=self._config.error,
            started_at=self._started_at,
            started_by=self._settings.started_by,
            python=sys.version.partition(" ")[0],
            index=self._catalogue.state,
            sessions_by_agent=counted,
            subscriptions=self._events.subscriptions,
            bytes_in=self._traffic.bytes_in,
            bytes_out=self._traffic.bytes_out,
            turns_by_agent=self._queues.by_agent,
            latencies=self._traffic.latencies(),
            errors=self._traffic.errors(),
            internal_errors=self._traffic.failures(),
            vitals=process_stats.take(self._settings.home),
        )

    def discover(self, _: Discover) -> OpenRpc:
        """The OpenRPC document."""
        return openrpc.document()

    async def _count(self) -> dict[str, int] | None:
        """Each agent's sessions, or how many they were when last counted, if ever.

        Whoever asks while the index is busy shares one count, so that they do not queue up behind it.
        """
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_anew())
        await asyncio.wait([self._counting], timeout=_PATIENCE)
        return self._counted

    async def _count_anew(self) -> None:
        with suppress(StorageFailed):  # `index` says so
            self._counted = await self._threads.index(self._catalogue.counts)
