"""Composes the daemon (lock, store, rules, dispatcher, server), and runs it from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import uvloop

from port42_daemon import durable
from port42_daemon.agents import Agents
from port42_daemon.backends import presets
from port42_daemon.config import Config, ConfigFile
from port42_daemon.diagnostics.doctor import Doctor
from port42_daemon.diagnostics.status import Introspection
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.hub.methods import HubMethods
from port42_daemon.hub.service import Hub
from port42_daemon.process import memory
from port42_daemon.process.address import Address
from port42_daemon.process.home_lock import CannotStart, HomeLock
from port42_daemon.process.sd_notify import Supervisor
from port42_daemon.rpc.budget import Budget
from port42_daemon.rpc.dispatch import Dispatcher
from port42_daemon.rpc.hello import Handshake
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.rpc.server import Server
from port42_daemon.sessions.forks import Lineage
from port42_daemon.sessions.listing import Listing
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.sessions.trash import Trash
from port42_daemon.settings import Settings
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.migrations import bring_up_to_date
from port42_daemon.transfer.capture.methods import CaptureMethods
from port42_daemon.transfer.capture.restoring import Restoring
from port42_daemon.transfer.capture.service import Capture
from port42_daemon.transfer.export import Exporter
from port42_daemon.transfer.imports import Importer
from port42_daemon.turns.service import Turns
from port42_protocol import __version__
from port42_protocol.counting import count
from port42_protocol.errors import ConfigRefused, StorageFailed
from port42_protocol.messages.daemon import ReloadConfig

READERS = 32
"""Connections to the socket for reading at once."""

log = logging.getLogger(__name__)


def run(
    settings: Settings, given: socket.socket | None, supervisor: Supervisor, ready: Callable[[], None]
) -> None:
    """Be the daemon of `settings.home` until SIGTERM or SIGINT; `ready` is called once it listens.

    `given` listens at `settings.socket` already, where systemd or launchd made it. Raises `CannotStart`,
    and `StorageFailed` when the home is of a newer format or cannot be opened.
    """
    memory.keep_in_one_heap()
    with (
        HomeLock(settings.home, settings.predecessor_wait) as lock,
        durable.temporary_files_in(settings.home / "temporary"),
    ):
        bring_up_to_date(settings.home)
        config = ConfigFile(settings.home / "config.toml")
        limits = config.refresh().daemon
        named = {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}
        settings = msgspec.structs.replace(settings, **named)
        store, threads = FileStore(settings.home, memory.give_back), Threads()
        try:
            store.open()
            with Address(settings, given) as address:
                daemon = Daemon(settings, store, threads, config, supervisor, lock, address)
                uvloop.run(daemon.serve(ready))
        finally:
            try:
                if lock.is_held():  # else what is at the home's path now is not ours to write
                    store.close()
            finally:
                threads.close()  # or they would keep the process, also where the disk refused the last write
    log.info("👋 port42d stopped")


@dataclass(eq=False)
class Daemon:
    """The parts, each given those that it stands on, and their life from the first to the last request."""

    settings: Settings
    store: FileStore
    threads: Threads
    config: ConfigFile
    supervisor: Supervisor
    lock: HomeLock
    address: Address

    def __post_init__(self) -> None:
        settings, store, threads, config = self.settings, self.store, self.threads, self.config
        catalogue, maintenance = store.catalogue, store.maintenance
        traffic, events = Traffic(), Events(store, threads)
        sessions = self._sessions = Sessions(store, catalogue, threads, events)
        agents = self._agents = Agents(store, catalogue, threads, config, settings.home, settings.umask)
        queues = self._queues = SessionQueues(self._turns_changed)
        lineage = Lineage(sessions, agents)
        hub = self._hub = Hub(settings.home, agents, sessions, queues)
        turns = self._turns = Turns(sessions, agents, lineage, queues, hub.leases)
        self._capture = Capture(settings.home, agents, sessions, queues)
        capture = CaptureMethods(self._capture)
        agents.config_read = self._config_read
        handlers = (
            sessions,
            turns,
            agents,
            events,
            Introspection(
                settings,
                catalogue,
                maintenance,
                threads,
                config,
                agents,
                traffic,
                queues,
                events,
                self._read_socket,
                hub.summary,
            ),
            Listing(catalogue, maintenance, threads),
            lineage,
            Trash(sessions, queues, self._capture.session_restored, self._capture.discard_originals),
            Exporter(store, threads, sessions),
            Importer(
                sessions, queues, config, self._capture.kept_sources, self._capture.progress, settings.home
            ),
            capture,
            Restoring(self._capture.originals, sessions),
            HubMethods(hub),
            Doctor(settings, self.lock, catalogue, maintenance, threads, config, agents, turns, capture, hub),
        )
        budget = Budget()
        dispatcher = Dispatcher(traffic, *handlers, Handshake(settings))
        self._server = Server(settings, dispatcher, traffic, self._holds_home, budget)
        # With a limit of its own: whoever is given this socket alone cannot take the other one's connections.
        reading = msgspec.structs.replace(settings, connections=min(READERS, settings.connections))
        dispatcher = Dispatcher(traffic, *handlers, Handshake(reading, read_only=True), read_only=True)
        self._read_server = Server(reading, dispatcher, traffic, self._holds_home, budget)
        self._stop = asyncio.Event()
        # The loop itself keeps no more than a weak reference.
        self._reloading: set[asyncio.Task[None]] = set()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Answer until a signal says to stop, and let what is under way end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        await self.threads.files(self._agents.programs.end_leftovers)
        presets.load(self.config.current)
        await self._turns.recover()
        await self._server.listen(self.address.listener)
        if self.address.reader is not None:
            await self._read_server.listen(self.address.reader.listener)
        log.info("🌊 port42d %s, pid %d, listens at %s", __version__, os.getpid(), self.settings.socket)
        if self.config.error:
            log.warning("⚠ %s; no agent answers until that is mended", self.config.error)
        memory.exempt_from_collection()
        ready()
        await self.supervisor.tell("READY=1")
        # Afterwards, because these 20 ms need not delay readiness.
        self._loading = self.threads.files(presets.load)
        capturing = asyncio.create_task(self._capture.run())
        syncing = asyncio.create_task(self._hub.run())
        if not self.store.last_sessions_complete:
            self._completing = asyncio.create_task(self._sessions.complete_last_sessions())
        async with self.supervisor.watching(self._answers, self._state):
            await self._stop.wait()
            log.info("🌙 stopping: no new turns")
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                # Ignore repeats: a second signal would end the process in mid-shutdown.
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
            capturing.cancel()
            await self.supervisor.tell("STOPPING=1")
            self._queues.refuse()
            if not self.lock.is_held():
                self._queues.cancel_all()  # nothing can be recorded any more
            await asyncio.gather(self._server.stop(self._queues.cancel_all), self._read_server.stop())
            await self._agents.aclose()
            # At the end: until then it pushes what is recorded.
            await self._hub.leases.aclose()
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)

    def _read_socket(self) -> str | None:
        return None if self.address.reader is None else str(self.address.reader.path)

    def _turns_changed(self) -> None:
        self.supervisor.changed()
        self._capture.turns_changed()
        self._hub.turns_changed()

    def _config_read(self, read: Config) -> None:
        self._capture.config_changed()
        self._hub.config_read(read)

    async def _answers(self) -> None:
        """Return when what every request needs works: the loop that runs this, and a thread for files."""
        await self.threads.files(os.getpid)

    async def _state(self) -> str:
        """A line for ``systemctl status``."""
        line = f"{count(self._queues.under_way, 'turn')} under way"
        with contextlib.suppress(StorageFailed):  # the index says so elsewhere
            sessions = sum((await self.threads.index(self.store.catalogue.counts)).values())
            line = f"{count(sessions, 'session')}, {line}"
        return line if self.config.error is None else f"{line}; {' '.join(self.config.error.split())}"

    def _holds_home(self) -> bool:
        """Asked at each connection: without its home a daemon stops, and the next command starts another."""
        if self.lock.is_held():
            return True
        if not self._stop.is_set():
            log.error("the home was moved or removed, or another daemon has it: stopping")
            self._stop.set()
        return False

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _reload(self) -> None:
        """On SIGHUP: bind a removed socket again, reload config.toml."""
        # systemd 253 and newer, with Type=notify-reload, tells its own reloads apart by the time.
        await self.supervisor.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            # First: who is answered by the other socket may expect this one.
            if self.address.rebind_reader() and self.address.reader is not None:
                await self._read_server.listen(self.address.reader.listener)
            if self.address.rebind():
                await self._server.listen(self.address.listener)
            now = await self._agents.reload_config(ReloadConfig())
            self._capture.config_changed()
            self._hub.config_changed()
            agents, backends = count(now.agents, "agent"), count(now.backends, "back end")
            log.info("🔄 config.toml: %s, %s", agents, backends)
        except ConfigRefused as refused:
            log.warning("⚠ %s; the last valid version is still used", refused.message)
        except (CannotStart, OSError) as error:
            log.error("cannot listen at %s: %s", self.settings.socket, error)
        finally:
            self.supervisor.changed()
            await self.supervisor.tell("READY=1")
