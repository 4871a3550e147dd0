"""What the daemon says of itself: `status` and `rpc.discover`."""

from __future__ import annotations

import os
import time

from port42_daemon.config import ConfigFile
from port42_daemon.settings import Settings
from port42_daemon.store.contract import Store
from port42_daemon.threads import Threads
from port42_daemon.turns import Turns
from port42_protocol import PROTOCOL_VERSION, openrpc
from port42_protocol.messages import DaemonStatus, Discover, OpenRpc, Status
from port42_protocol.version import __version__


class Traffic:
    """What is going on now; the server counts, `status` shows."""

    __slots__ = ("connections", "requests")

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0


class Introspection:
    """The methods that are about the daemon, not about sessions."""

    def __init__(  # noqa: PLR0913, PLR0917  # it looks at every part, once
        self,
        settings: Settings,
        store: Store,
        threads: Threads,
        config: ConfigFile,
        traffic: Traffic,
        turns: Turns,
    ) -> None:
        self._settings = settings
        self._store = store
        self._threads = threads
        self._config = config
        self._traffic = traffic
        self._turns = turns
        self._started = time.monotonic()

    async def status(self, _: Status) -> DaemonStatus:
        """As things stand now; counts sessions, so it waits for an index that is being rebuilt."""
        counts = await self._threads.index(self._store.counts)
        return DaemonStatus(
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - self._started, 3),
            home=str(self._settings.home),
            socket=str(self._settings.socket),
            sessions=sum(counts.values()),
            connections=self._traffic.connections,
            requests=self._traffic.requests,
            turns=self._turns.under_way,
            limits=self._settings.limits,
            config_error=self._config.error,
        )

    def discover(self, _: Discover) -> OpenRpc:
        """The OpenRPC document."""
        return openrpc.document()
