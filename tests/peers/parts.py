"""The daemon's parts without its socket: real files, real threads, a real loop; back ends played by tests.

async def work(parts):                    # in `played(tmp_path, work, agent=backend)`
    peer = RecordingPeer()                           # a peer that hears
    await parts.possess("agent", "hello", peer, stream=True)
    peer.events
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from port42_daemon.agents import Agents
from port42_daemon.backends import presets
from port42_daemon.backends.base import Ask, Done, Event, Health, Text, Turn
from port42_daemon.config import ConfigFile
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.sessions.forks import Lineage
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.sessions.trash import Trash
from port42_daemon.store.file_store import FileStore
from port42_daemon.turns.service import Turns
from port42_protocol.messages.events import Possessed
from port42_protocol.messages.records import Record
from port42_protocol.messages.turns import Possess

_WITHIN = 30.0
Play = Callable[[Turn, Ask], AsyncGenerator[Event, None]]


class RecordingPeer:
    """A peer: it hears what is emitted, until it is `slow` or hangs up."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.slow = False
        self.notifications = True
        self._at_end: list[Callable[[], None]] = []
        self._came = asyncio.Event()
        self._read = asyncio.Event()
        self._read.set()
        self.gone = False

    def emit(self, line: bytes, *, at_any_rate: bool = False) -> bool:
        if self.gone or (self.slow and not at_any_rate):
            return False
        said = json.loads(line)
        assert said["method"] == "session_event"
        self.events.append(said["params"])
        self._came.set()
        return True

    async def heard(self, kind: str, count: int = 1) -> None:
        """Wait until so many events of that kind came."""
        while len(self.of(kind)) < count:
            self._came.clear()
            await self._came.wait()

    async def drained(self) -> None:
        await self._read.wait()

    def stop_reading(self) -> None:
        """`drained` waits from now on."""
        self._read.clear()

    def read_on(self) -> None:
        self._read.set()

    def when_lost(self, act: Callable[[], None]) -> Callable[[], None]:
        if self.gone:
            act()
        else:
            self._at_end.append(act)
        return lambda: self._at_end.remove(act) if act in self._at_end else None

    def hang_up(self) -> None:
        self.gone = True
        for act in list(self._at_end):
            act()

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def text(self) -> str:
        return "".join(event["text"] for event in self.of("text"))


class Played:
    """A back end whose turns a test plays; `turns` holds what it was given."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.turns: list[Turn] = []
        self.closed = 0
        self.tool: str | None = None
        self.has_modes = self.takes_mcp_servers = False

    async def probe(self) -> Health:
        return Health("ready", "played")

    def run(self, turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:
        self.turns.append(turn)
        return self._play(turn, ask)

    async def aclose(self) -> None:
        self.closed += 1


def says(*events: Event) -> Played:
    """A back end that yields these, and nothing of its own."""

    async def play(turn: Turn, ask: Ask) -> AsyncGenerator[Event, None]:
        for event in events:
            yield event

    return Played(play)


def answers(*pieces: str) -> Played:
    """A back end that says these pieces and is done."""
    return says(*map(Text, pieces), Done())


def configure(home: Path, names: Any, more: str = "") -> None:
    """A config.toml in which each name is an agent answered by the back end of that name."""
    entries = [
        f'[agents.{name}]\nbackend = "{name}"\n[backends.{name}]\ntype = "command"\ncommand = ["{name}"]\n'
        for name in names
    ]
    (home / "config.toml").write_text("".join(entries) + more)


def played(home: Path, work: Callable[[Parts], Awaitable[Any]], more: str = "", **backends: Played) -> Any:
    """Run `work` with these back ends in force; `more` goes to the end of config.toml."""

    async def run() -> Any:
        store, threads = FileStore(home), Threads()
        store.open()
        try:
            events = Events(store, threads)
            sessions = Sessions(store, store.catalogue, threads, events)
            agents = Agents(store, store.catalogue, threads, ConfigFile(home / "config.toml"), home)
            parts = Parts(store, threads, sessions, events, agents, home)
            async with asyncio.timeout(_WITHIN):
                return await work(parts)
        finally:
            store.close()
            threads.close()

    home.mkdir(mode=0o700, exist_ok=True)
    configure(home, backends, more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            presets, "build", lambda config, programs: backends.get(getattr(config, "command", [""])[0])
        )
        return asyncio.run(run())


class Parts:
    """What `main` would put together, with two shortcuts."""

    def __init__(  # noqa: PLR0917  # as many as there are parts
        self,
        store: FileStore,
        threads: Threads,
        sessions: Sessions,
        events: Events,
        agents: Agents,
        home: Path,
    ) -> None:
        self.store, self.threads, self.sessions, self.events = store, threads, sessions, events
        self.agents, self.home = agents, home
        self.lineage = Lineage(sessions, agents)
        self.queues = SessionQueues()
        self.turns = Turns(sessions, agents, self.lineage, self.queues)
        self.trash = Trash(sessions, self.queues)

    async def possess(self, agent: str, message: str, peer: Any = None, **more: Any) -> Possessed:
        request = Possess(agent, message, **more)
        return await self.turns.possess(request, peer or RecordingPeer(), Cancellation())

    async def records(self, session_id: str) -> list[Record]:
        page = await self.threads.files(
            self.store.read, session_id, after_seq=0, limit=10_000, max_bytes=2**30, events=True
        )
        return page.records
