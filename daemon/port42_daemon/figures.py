"""`disk_usage`: what there is, in figures."""

from __future__ import annotations

from port42_daemon.agents import Agents
from port42_daemon.store.contract import Store
from port42_daemon.threads import Threads
from port42_protocol.messages import DiskUsage, Usage


class Figures:
    """Answers from the index and the names of files; no session is read for them."""

    def __init__(self, store: Store, threads: Threads, agents: Agents) -> None:
        self._store = store
        self._threads = threads
        self._agents = agents

    async def disk_usage(self, asked: DiskUsage) -> Usage:
        """Bytes in the home. Raises `UnknownAgent`, `StorageFailed`."""
        if asked.agent is not None:
            await self._agents.require(asked.agent)
        return await self._threads.index(self._store.usage, asked.agent)
