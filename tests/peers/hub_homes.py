"""Homes that meet at a hub: real stores, rules and sync code, one event loop, a real PostgreSQL.

async with HubHome(folder, url, "laptop") as laptop:
    await laptop.say("cli-1", "hello")       # a message, in a new session if there is none of that name
    await laptop.connect()
    await quiet(laptop, desktop)             # push and pull until nothing changes any more
    laptop.records("cli-1")                  # its stored lines
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psycopg

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile, HubConfig
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.hub import schema
from port42_daemon.hub.database import Database
from port42_daemon.hub.local import ALL, LocalSessions
from port42_daemon.hub.progress import Progress
from port42_daemon.hub.sync import Sync
from port42_daemon.sessions.forks import Lineage
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.sessions.trash import Trash
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import StoredLines
from port42_protocol.errors import SessionNotFound
from port42_protocol.messages.forks_and_trash import ForkSession
from port42_protocol.messages.records import Record, decode_record
from port42_protocol.messages.sessions import AppendMessage, CreateSession

AGENT = "ai-muse"


def init(url: str) -> None:
    """Make the hub's tables."""
    with psycopg.connect(url, autocommit=True) as connection:
        schema.migrate(connection)


class HubHome:
    """One machine's home; `config` is what its [hub] says beside the address."""

    def __init__(self, folder: Path, url: str, name: str, **config: Any) -> None:
        self.folder, self.url, self.name = folder, url, name
        self.config = HubConfig(url="postgresql:///", **config)
        self.sync: Sync | None = None
        self.progress: Progress | None = None
        self.database: Database | None = None

    async def __aenter__(self) -> HubHome:
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.store, self.threads = FileStore(self.folder), Threads()
        self.store.open()
        self.events = Events(self.store, self.threads)
        self.sessions = Sessions(self.store, self.store.catalogue, self.threads, self.events)
        self.queues = SessionQueues()
        self.trash = Trash(self.sessions, self.queues)

    def close(self) -> None:
        self.disconnect()
        self.store.close()
        self.threads.close()

    async def connect(self, url: str | None = None) -> Sync:
        """Be at the hub, as after a start of the daemon."""
        self.disconnect()
        self.progress = await self.threads.hub(Progress, self.folder / "hub.db")
        conninfo = {"conninfo": url or self.url}
        self.database = await self.threads.hub(Database, conninfo, self.progress.machine, self.name)
        local = LocalSessions(self.sessions, self.database.owner, self.name, "hub")
        self.sync = Sync(self.sessions, self.queues, self.database, self.progress, self.config, local)
        self.store.changed = self._changed
        await self.sync.begin()
        return self.sync

    def disconnect(self) -> None:
        if self.database is not None:
            self.database.close()
        if self.progress is not None:
            self.progress.close()
        self.database = self.progress = self.sync = None

    def _changed(self, session_id: str) -> None:
        if self.sync is not None:
            self.sync.dirty[session_id] = None

    async def step(self) -> None:
        """Push what there is, pull what there is."""
        assert self.sync is not None
        for _ in itertools.takewhile(lambda _: self.sync and self.sync.dirty, range(1000)):
            await self.sync.push()
        self.sync.shares_due = True  # here nobody listens to notices
        while await self.sync.pull():
            pass
        await self.sync.retry_busy()

    # --- what people do ---------------------------------------------------------------------------

    async def say(self, session_id: str, text: str, agent: str = AGENT) -> int:
        """A message in the session, which begins with it if need be; gives its seq."""
        if self.store.where(session_id) is None:
            await self.sessions.create_session(CreateSession(agent, session_id=session_id))
        appended = await self.sessions.append_message(AppendMessage(agent, session_id, "user", text))
        return appended.seq

    async def fork(self, session_id: str) -> str:
        """A fork of the session; gives its id."""
        agents = Agents(
            self.store, self.store.catalogue, self.threads, ConfigFile(Path("/none")), self.folder
        )
        fork = await Lineage(self.sessions, agents).fork_session(ForkSession(session_id))
        return fork.session_id

    async def share(self, session_id: str, grantee: str, may: str | None) -> bool:
        assert self.database is not None
        return await self.threads.hub(self.database.share, session_id, grantee, may)

    # --- what is there ----------------------------------------------------------------------------

    def stored(self, session_id: str) -> StoredLines | None:
        try:
            return self.store.lines(session_id, 0, ALL)
        except SessionNotFound:
            return None

    def end(self, session_id: str) -> tuple[int, int] | None:
        """Generation and last seq of the session; None where there is no such session."""
        stored = self.stored(session_id)
        return None if stored is None else (stored.header.generation or 0, stored.footer.last_seq)

    def all(self) -> dict[str, StoredLines]:
        """Every session, those in the trash, too."""
        names = [path.name.partition(".")[0] for path in self.folder.glob("*/*.json")]
        found = {name: self.stored(name) for name in names}
        return {name: stored for name, stored in found.items() if stored is not None}

    def stored_records(self, session_id: str) -> list[Record]:
        """Its records, wherever it is."""
        stored = self.stored(session_id)
        return [decode_record(line) for _, line in stored.lines] if stored is not None else []

    def texts(self, session_id: str) -> list[str]:
        """What was said in the session."""
        page = self.store.read(session_id, after_seq=0, limit=10_000, max_bytes=ALL, events=False)
        return [message.content for message in page.records]  # type: ignore[attr-defined]


class Wire:
    """A way to the server that can be cut: after so many more bytes both ends lose it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._server = urlsplit(url)
        self._left: int | None = None
        self._ends: list[asyncio.StreamWriter] = []
        self._carrying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._folder.mkdir(mode=0o700)
        self._listening = await asyncio.start_unix_server(self._carry_both, self._folder / ".s.PGSQL.5432")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        self._lose()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    @property
    def url(self) -> str:
        """Where the database is reached by way of this."""
        folder = quote(str(self._folder), safe="")
        return self._server._replace(query=f"host={folder}").geturl()

    def cut_after(self, count: int) -> None:
        self._left = count

    async def _carry_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        folder = parse_qs(self._server.query)["host"][0]
        there = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        self._ends += [writer, there[1]]
        for source, target in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(self._carry(source, target))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(4096):
                if self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                target.write(data)
                await target.drain()
                if self._left is not None and self._left <= 0:
                    self._lose()
        target.close()

    def _lose(self) -> None:
        self._left = None
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()


async def quiet(*homes: HubHome) -> None:
    """Sync until a round of all homes changes nothing at the hub."""
    before = -1
    for _ in range(100):
        for home in homes:
            await home.step()
        database = homes[0].database
        assert database is not None
        changes = await homes[0].threads.hub(database.totals)
        undone = sum(len(home.sync.dirty) + len(home.sync.busy) for home in homes if home.sync is not None)
        if changes.changes == before and not undone:
            return
        before = changes.changes
    raise AssertionError("the homes do not come to an end")


async def begin(home: HubHome, *others: HubHome) -> None:
    """A session `cli-1` of `home` whose one message, "one", is at all of them."""
    await home.say("cli-1", "one")
    await quiet(home, *others)


async def all_quiet(*homes: HubHome) -> None:
    """As `quiet` for homes of several owners: what one changes is not counted with the other's changes."""
    for _ in range(2):
        for home in homes:
            await quiet(home)


def at_hub(url: str) -> Mapping[str, tuple[bool, list[tuple[int, str]]]]:
    """Of each session that is not purged whether it is trashed, and its lines."""
    with psycopg.connect(url) as connection:
        sessions = connection.execute(
            "SELECT session_id, trashed FROM port42.sessions WHERE purged_at IS NULL"
        ).fetchall()
        lines = connection.execute(
            "SELECT session_id, seq, line FROM port42.records ORDER BY session_id, seq"
        ).fetchall()
    return {
        name: (trashed, [(seq, line) for owner, seq, line in lines if owner == name])
        for name, trashed in sessions
    }
