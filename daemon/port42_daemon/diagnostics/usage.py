"""`stats` and `disk_usage`: what was said and what takes room, in figures."""

from __future__ import annotations

from port42_daemon.agents import Agents
from port42_daemon.executors import Threads
from port42_daemon.store.interface import Catalogue, Maintenance
from port42_protocol.messages.doctor_and_stats import DiskUsage, Statistics, Stats, Usage


class Figures:
    """Answers from the index and the names of files; no session is read for them."""

    def __init__(
        self, catalogue: Catalogue, maintenance: Maintenance, threads: Threads, agents: Agents
    ) -> None:
        self._catalogue = catalogue
        self._maintenance = maintenance
        self._threads = threads
        self._agents = agents

    async def stats(self, request: Stats) -> Statistics:
        """How much was said. Raises `UnknownAgent`, `StorageFailed`."""
        if request.agent is not None:
            await self._agents.require(request.agent)
        return await self._threads.index(self._catalogue.statistics, request.agent, request.days)

    async def disk_usage(self, request: DiskUsage) -> Usage:
        """Bytes in the home. Raises `UnknownAgent`, `StorageFailed`."""
        if request.agent is not None:
            await self._agents.require(request.agent)
        return await self._threads.index(self._maintenance.usage, request.agent)
