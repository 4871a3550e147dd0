"""The rules over a real store, without a socket: what the in-process tests of this folder share."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from peers.parts import RecordingPeer

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.sessions.forks import Lineage
from port42_daemon.sessions.listing import Listing
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.sessions.trash import Trash
from port42_daemon.store.file_store import FileStore
from port42_daemon.turns.service import Turns


class Rules:
    """The parts of the daemon that rule sessions, and `ask`, which runs one handler to its result."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store, self.threads = FileStore(home), Threads()
        self.store.open()
        self.config = ConfigFile(home / "config.toml")
        self.events = Events(self.store, self.threads)
        catalogue = self.store.catalogue
        self.sessions = Sessions(self.store, catalogue, self.threads, self.events)
        self.listing = Listing(catalogue, self.store.maintenance, self.threads)
        self.agents = Agents(self.store, catalogue, self.threads, self.config, home)
        self.lineage = Lineage(self.sessions, self.agents)
        self.queues = SessionQueues()
        self.turns = Turns(self.sessions, self.agents, self.lineage, self.queues)
        self.trash = Trash(self.sessions, self.queues)

    def ask(self, handler: Any, *asked: Any) -> Any:
        """The results, in order, of asking all of it at once; of one, its result.

        A handler that wants the peer is given one that stays, and one that can be cancelled is not.
        """
        parameters = inspect.signature(handler).parameters
        given: dict[str, Any] = {"peer": RecordingPeer()} if "peer" in parameters else {}
        given |= {"cancellation": Cancellation()} if "cancellation" in parameters else {}

        async def settle() -> list[Any]:
            begun = [handler(request, **given) for request in asked]
            begun = [asyncio.ensure_future(item) if inspect.isawaitable(item) else item for item in begun]
            return [await item if inspect.isawaitable(item) else item for item in begun]

        results = asyncio.run(settle())
        return results[0] if len(results) == 1 else results

    def close(self) -> None:
        self.threads.close()
        self.store.close()


@pytest.fixture
def rules(tmp_path):
    rules = Rules(tmp_path / "home")
    yield rules
    rules.close()
