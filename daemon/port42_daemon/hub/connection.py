"""Being at the hub: a connection for questions, one for its notices, and what is done between them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import psycopg

from port42_daemon.config import HubConfig
from port42_daemon.hub import schema
from port42_daemon.hub.address import parameters
from port42_daemon.hub.database import SHARES, Database, Machine, Totals, channel
from port42_daemon.hub.lines import ALL, may_leave
from port42_daemon.hub.live import LiveText
from port42_daemon.hub.live import channel as live_channel
from port42_daemon.hub.local import LocalSessions
from port42_daemon.hub.progress import Progress
from port42_daemon.hub.schema import HubRefused
from port42_daemon.hub.sync import Sync
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_protocol.errors import HubUnavailable, RpcError

__all__ = ["FAILURES", "HubConnection", "explained", "init", "parameters", "probe"]

T = TypeVar("T")
FAILURES = (psycopg.Error, sqlite3.Error, OSError, HubRefused, RpcError)
_HEARTBEAT, _REPORT = 30.0, 2.0
"""Seconds between two reports of how far this machine is, where nothing changes and where something does."""
_GATHER = 0.02
"""Seconds that a push waits for more of the same burst."""


class Overview(NamedTuple):
    """What only the hub knows."""

    totals: Totals
    machines: list[Machine]


class HubConnection:
    """From `open` to `close`. Its methods raise one of `FAILURES`.

    `work` is set when there is something to do.
    """

    sync: Sync
    owner: str

    def __init__(  # noqa: PLR0913, PLR0917  # all that it stands on
        self,
        home: Path,
        sessions: Sessions,
        queues: SessionQueues,
        config: HubConfig,
        name: str,
        work: asyncio.Event,
    ) -> None:
        self._home = home
        self._sessions = sessions
        self._queues = queues
        self._config = config
        self._name = name
        self._work = work
        self._run = sessions.threads.hub
        self._progress: Progress | None = None
        self._database: Database | None = None
        self._listening: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._more = True
        self._unreported = False
        self._seen_at = self._looked_at = 0.0
        self.machine = ""
        self.lag_ms: int | None = None

    async def open(self, environ: Mapping[str, str]) -> None:
        named = await parameters(self._config, environ)
        progress = self._progress = await self._run(Progress, self._home / "hub.db")
        database = self._database = await self._run(Database, named, progress.machine, self._name)
        self.machine, self.owner = progress.machine, database.owner
        live = self._live = LiveText(
            self._sessions.events,
            self.machine,
            self.ask,
            self._sessions.threads,
            self._may_send,
            self._last_seq,
        )
        self._sessions.events.observer = live.observe
        self._sending = asyncio.create_task(live.run())
        listener = await psycopg.AsyncConnection.connect(**named, autocommit=True)
        self._listening = asyncio.create_task(self._listen(listener))
        backup = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-hub"
        local = LocalSessions(self._sessions, self.owner, self._name, backup)
        self.sync = Sync(self._sessions, self._queues, database, progress, self._config, local)

    async def begin(self) -> None:
        await self.sync.begin()

    async def _listen(self, listener: psycopg.AsyncConnection[Any]) -> None:
        """Have work done at each notice, until the connection is lost."""
        try:
            for role in await self._run(self.sync.database.roles):
                await listener.execute(f"LISTEN {channel(role)}")
            await listener.execute(f"LISTEN {live_channel(self.owner)}")
            self._notified()  # for what came before
            async for notice in listener.notifies():
                if notice.channel == live_channel(self.owner):
                    await self._live.receive(notice.payload)
                else:
                    self.sync.shares_due |= notice.payload == SHARES
                    self._notified()
        finally:
            await listener.close()
            self._work.set()

    def _notified(self) -> None:
        self._more = True
        self._work.set()

    async def close(self) -> None:
        self._sessions.events.observer = None
        tasks = [task for task in (self._listening, self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._database is not None:
            self._database.abort()
            await self._run(self._database.close)
        if self._progress is not None:
            await self._run(self._progress.close)

    # --- work -------------------------------------------------------------------------------------

    async def step(self) -> bool:
        """Push and pull some; whether there is more to do at once."""
        if self._listening is not None and self._listening.done():
            await self._listening  # raises what ended it
            raise psycopg.OperationalError("the connection for notices was closed")
        if self.sync.dirty:
            await asyncio.sleep(_GATHER)
            await self.sync.push()
        if self._more:
            self._more = False
            self._more = await self.sync.pull() or self._more
            self._unreported = True
        if self.is_waiting:
            await self.sync.retry_busy()
        if self.until_heartbeat() <= 0:
            await self._report()
        return bool(self.sync.dirty) or self._more

    @property
    def is_waiting(self) -> bool:
        """Whether sessions wait for the end of their turns."""
        return any(self._queues.is_free(session_id) for session_id in self.sync.busy)

    def until_heartbeat(self) -> float:
        """Seconds until the hub is told how far this machine is: soon, where it went on since."""
        pause = _REPORT if self._unreported else _HEARTBEAT
        return max(0.0, self._seen_at + pause - time.monotonic())

    async def _report(self) -> None:
        """Say how far this machine is, and now and then look for what no notice told."""
        if time.monotonic() - self._looked_at >= _HEARTBEAT:
            self._more = self.sync.shares_due = True
            self._looked_at = time.monotonic()
        cursor = await self._run(lambda: self.sync.progress.cursor)
        await self._run(self.sync.database.seen, cursor, len(self.sync.dirty))
        self._unreported, self._seen_at = False, time.monotonic()

    # --- questions --------------------------------------------------------------------------------

    async def overview(self) -> Overview:
        """Raises `HubUnavailable`."""
        return await self._ask(self._overview)

    def _overview(self) -> Overview:
        database = self.sync.database
        database.seen(self.sync.progress.cursor, len(self.sync.dirty))
        return Overview(database.totals(), database.machines())

    async def leave(self) -> None:
        """Raises `HubUnavailable`."""
        await self._ask(self.sync.database.leave)

    async def ask(self, question: Callable[..., T], *args: Any) -> T:
        """Run a function of the `Database` in the hub's thread. Raises `HubUnavailable`."""
        return await self._ask(lambda: question(self.sync.database, *args))

    async def _ask(self, question: Callable[[], T]) -> T:
        try:
            return await self._run(question)
        except FAILURES as error:
            state, problem = explained(error)
            raise HubUnavailable(problem, retryable=state == "unreachable") from None

    # --- for live text; these block ---------------------------------------------------------------

    def _may_send(self, session_id: str) -> bool:
        """Whether what a turn of the session says may leave. Pieces of a secret are not recognised."""
        if self._config.redact:
            return False
        try:
            stored = self._sessions.store.lines(session_id, ALL, 1)
            return may_leave(self._config, stored.header, stored.footer, self._sessions.store)
        except RpcError:
            return False

    def _last_seq(self, session_id: str) -> int:
        try:
            return self._sessions.store.lines(session_id, ALL, 1).footer.last_seq
        except RpcError:
            return 0


def init(named: dict[str, Any]) -> list[str]:
    """Make the tables; gives the names of the migrations. Blocks."""
    with contextlib.closing(psycopg.connect(**named, autocommit=True)) as connection:
        return schema.migrate(connection)


def probe(named: dict[str, Any]) -> None:
    """Raises one of `FAILURES` unless the hub can be used. Blocks."""
    with contextlib.closing(psycopg.connect(**named, autocommit=True)) as connection:
        schema.require(connection)


def explained(error: BaseException) -> tuple[Literal["unreachable", "refused"], str]:
    """What an error means for the hub, and words for a person, without those of the code."""
    if isinstance(error, HubRefused):
        return "refused", str(error)
    if isinstance(error, psycopg.Error):
        words = _words(error)
        if error.sqlstate is None:  # libpq's own, or one of a server that refused to connect
            lost = isinstance(error, psycopg.OperationalError) and not _REFUSALS.search(words)
        else:
            lost = error.sqlstate[:2] in _AWAY
        return "unreachable" if lost else "refused", words
    if isinstance(error, OSError):
        return "unreachable", error.strerror or "the network failed"
    if isinstance(error, RpcError):
        return "unreachable", error.message
    return "unreachable", f"hub.db cannot be used: {error}"


_NO_FILE = os.strerror(errno.ENOENT)
_REFUSALS = re.compile(
    r"authentication|does not exist|pg_hba|not permitted|permission denied|certificate|no password"
)
"""Words of errors after which somebody has to change something."""
_AWAY = {"08", "25", "40", "53", "55", "57", "58", "XX"}
"""Classes of SQLSTATE after which the same may work a while later (PostgreSQL, appendix A)."""


def _words(error: psycopg.Error) -> str:
    """The server's message, or the reason in libpq's, whose lines that begin with white space are hints."""
    reasons = [line for line in str(error).splitlines() if line.strip() and not line[0].isspace()]
    text = error.diag.message_primary or (reasons[-1] if reasons else "the connection was lost")
    begun, _, why = text.rpartition(" failed: ")
    why = why.removeprefix("FATAL:").strip()
    # Of a host the words say enough; those of a file would leave one looking for it.
    return f"no server's socket is there: {why}" if why == _NO_FILE and " on socket " in begun else why
