"""Status, statistics and disk usage of the daemon."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile
from port42_daemon.diagnostics.process_stats import ProcessStats
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import now
from port42_daemon.settings import Settings
from port42_daemon.store.interface import Catalogue, Maintenance
from port42_protocol import PROTOCOL_VERSION, openrpc
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.daemon import DaemonStatus, Discover, OpenRpc, StalledThread, Status
from port42_protocol.messages.doctor_and_stats import DiskUsage, Statistics, Stats, Usage
from port42_protocol.version import __version__

_MAX_WAIT = 0.02
"""Seconds that `status` waits for the number of sessions; counting ten thousand takes a tenth of it."""


def stalled_threads(threads: Threads, catalogue: Catalogue) -> tuple[StalledThread, ...]:
    """The threads of the daemon that do not get on with their work."""
    indexer = () if catalogue.is_reading else (StalledThread("indexer", None),)
    return (*threads.stalled(), *indexer)


class Introspection:
    """`status`, `rpc.discover`, `stats` and `disk_usage`: no session is read for any of them."""

    def __init__(  # noqa: PLR0913, PLR0917  # it asks every part, once
        self,
        settings: Settings,
        catalogue: Catalogue,
        maintenance: Maintenance,
        threads: Threads,
        config: ConfigFile,
        agents: Agents,
        traffic: Traffic,
        queues: SessionQueues,
        events: Events,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._maintenance = maintenance
        self._threads = threads
        self._config = config
        self._agents = agents
        self._traffic = traffic
        self._queues = queues
        self._events = events
        self._process = ProcessStats(settings.home)
        self._started, self._started_at = time.monotonic(), now()
        self._counted: dict[str, int] | None = None
        self._counting: asyncio.Task[None] | None = None

    async def status(self, _: Status) -> DaemonStatus:
        """As things stand now. Waits for nothing, and so for no index that is being rebuilt."""
        counts = self._catalogue.known_counts()
        if counts is None:
            counts = await self._count()
        return DaemonStatus(
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._started, 3),
            home=str(self._settings.home),
            socket=str(self._settings.socket),
            sessions=None if counts is None else sum(counts.values()),
            connections=self._traffic.connections,
            requests=self._traffic.requests,
            turns=self._queues.under_way,
            limits=self._settings.limits,
            config_error=self._config.error,
            started_at=self._started_at,
            started_by=self._settings.started_by,
            python=sys.version.partition(" ")[0],
            index=self._catalogue.state,
            sessions_by_agent=counts,
            subscriptions=self._events.subscriptions,
            bytes_in=self._traffic.bytes_in,
            bytes_out=self._traffic.bytes_out,
            turns_by_agent=self._queues.by_agent,
            latencies=self._traffic.latencies(),
            errors=self._traffic.errors(),
            internal_errors=self._traffic.failures(),
            vitals=self._process.recent(),
            stalled_threads=stalled_threads(self._threads, self._catalogue),
        )

    def discover(self, _: Discover) -> OpenRpc:
        return openrpc.document()

    async def stats(self, request: Stats) -> Statistics:
        """Raises `UnknownAgent`, `StorageFailed`."""
        if request.agent is not None:
            await self._agents.require(request.agent)
        return await self._threads.index(self._catalogue.statistics, request.agent, request.days)

    async def disk_usage(self, request: DiskUsage) -> Usage:
        """Raises `UnknownAgent`, `StorageFailed`."""
        if request.agent is not None:
            await self._agents.require(request.agent)
        return await self._threads.index(self._maintenance.usage, request.agent)

    async def _count(self) -> dict[str, int] | None:
        """Each agent's sessions, or how many they were when last counted, if ever.

        Whoever asks while the index is busy shares one count, so that they do not queue up behind it.
        """
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_anew())
        await asyncio.wait([self._counting], timeout=_MAX_WAIT)
        return self._counted

    async def _count_anew(self) -> None:
        with suppress(StorageFailed):  # `index` says so
            self._counted = await self._threads.index(self._catalogue.counts)
