"""Status, statistics and disk usage of the daemon, and the figures of its process."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.settings import Settings
from port42_daemon.store.interface import Catalogue, Maintenance
from port42_protocol import PROTOCOL_VERSION, __version__, openrpc
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.daemon import DaemonStatus, Discover, OpenRpc, StalledThread, Status, Vitals
from port42_protocol.messages.doctor_and_stats import DiskUsage, Statistics, Stats, Usage
from port42_protocol.messages.hub import HubSummary
from port42_protocol.times import now

_MAX_WAIT = 0.02
"""Seconds that `status` waits for the number of sessions; ten times what ten thousand sessions take."""

_FIGURE = re.compile(rb"\n(VmRSS|VmHWM|Threads):\s*(\d+)")


def stalled_threads(threads: Threads, catalogue: Catalogue) -> tuple[StalledThread, ...]:
    indexer = () if catalogue.is_reading else (StalledThread("indexer", None),)
    return (*threads.stalled(), *indexer)


@dataclass
class Introspection:
    """`status`, `rpc.discover`, `stats` and `disk_usage`: no session is read for any of them."""

    settings: Settings
    catalogue: Catalogue
    maintenance: Maintenance
    threads: Threads
    config: ConfigFile
    agents: Agents
    traffic: Traffic
    queues: SessionQueues
    events: Events
    read_socket: Callable[[], str | None]
    hub: Callable[[], Awaitable[HubSummary] | None]
    _started: float = field(default_factory=time.monotonic, init=False)
    _started_at: str = field(default_factory=now, init=False)
    _counted: dict[str, int] | None = field(default=None, init=False)
    _counting: asyncio.Task[None] | None = field(default=None, init=False)

    def status(self, _: Status) -> DaemonStatus | Awaitable[DaemonStatus]:
        """Answered at once where nothing is to be counted. Does not wait for an index that is rebuilt."""
        counts, hub = self.catalogue.known_counts, self.hub()
        if counts is not None and hub is None:
            # What is answered at once is not counted as under way.
            return self._status(counts, None, self.traffic.requests + 1)
        return self._counted_status(counts, hub)

    async def _counted_status(
        self, counts: dict[str, int] | None, hub: Awaitable[HubSummary] | None
    ) -> DaemonStatus:
        if counts is None:
            counts = await self._count()
        summary = None if hub is None else await hub
        return self._status(counts, summary, self.traffic.requests)

    def _status(self, counts: dict[str, int] | None, hub: HubSummary | None, requests: int) -> DaemonStatus:
        return DaemonStatus(
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._started, 3),
            home=str(self.settings.home),
            socket=str(self.settings.socket),
            sessions=None if counts is None else sum(counts.values()),
            connections=self.traffic.connections,
            requests=requests,
            turns=self.queues.under_way,
            limits=self.settings.limits,
            config_error=self.config.error,
            started_at=self._started_at,
            started_by=self.settings.started_by,
            python=sys.version.partition(" ")[0],
            index=self.catalogue.state,
            sessions_by_agent=counts,
            subscriptions=self.events.subscriptions,
            bytes_in=self.traffic.bytes_in,
            bytes_out=self.traffic.bytes_out,
            turns_by_agent=self.queues.by_agent,
            latencies=self.traffic.latencies(),
            errors=self.traffic.errors(),
            internal_errors=self.traffic.failures(),
            vitals=vitals(self.settings.home),
            stalled_threads=stalled_threads(self.threads, self.catalogue),
            read_socket=self.read_socket(),
            hub=hub,
        )

    async def discover(self, _: Discover) -> OpenRpc:
        return await self.threads.files(openrpc.document)

    async def stats(self, request: Stats) -> Statistics:
        if request.agent is not None:
            await self.agents.require(request.agent)
        return await self.threads.index(self.catalogue.statistics, request.agent, request.days)

    async def disk_usage(self, request: DiskUsage) -> Usage:
        if request.agent is not None:
            await self.agents.require(request.agent)
        return await self.threads.patient(self.maintenance.usage, request.agent)

    async def _count(self) -> dict[str, int] | None:
        """Each agent's sessions, from the last count if the index is busy. Callers share one count."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_anew())
        await asyncio.wait([self._counting], timeout=_MAX_WAIT)
        return self._counted

    async def _count_anew(self) -> None:
        with suppress(StorageFailed):  # `index` says so
            self._counted = await self.threads.index(self.catalogue.counts)


def vitals(home: Path) -> Vitals:
    """Memory, open files and threads of this process, and what is free on its home's disk. Takes 50 µs.

    None for what this system does not tell.
    """
    resident, peak, threads = _memory_and_threads()
    open_files = disk_free = None
    with suppress(OSError):
        open_files = len(os.listdir("/dev/fd")) - 1  # noqa: PTH208  # one of them is the listing itself
    with suppress(OSError):
        disk_free = shutil.disk_usage(home).free
    return Vitals(resident, peak, open_files, threads, disk_free)


def _memory_and_threads() -> tuple[int | None, int, int]:
    """Resident and peak bytes, and threads: proc(5), or what getrusage(2) and Python know elsewhere."""
    try:
        text = Path("/proc/self/status").read_bytes()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None, peak if sys.platform == "darwin" else peak * 1024, threading.active_count()
    figures = {name: int(figure) for name, figure in _FIGURE.findall(text)}
    return figures[b"VmRSS"] * 1024, figures[b"VmHWM"] * 1024, figures[b"Threads"]
