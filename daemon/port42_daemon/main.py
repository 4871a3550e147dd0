"""The only place where the parts meet: lock, store, rules, dispatcher, server, and their end."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
import time
from collections.abc import Callable

import uvloop

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile, DaemonConfig
from port42_daemon.diagnostics.doctor import Doctor
from port42_daemon.diagnostics.status import Introspection
from port42_daemon.diagnostics.usage import Figures
from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.process import home_lock
from port42_daemon.process.sd_notify import Supervisor
from port42_daemon.rpc.dispatch import Dispatcher
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
from port42_daemon.transfer.export import Exporter
from port42_daemon.transfer.imports import Importer
from port42_daemon.turns.service import Turns
from port42_daemon.turns.turn import TurnContext
from port42_protocol.errors import ConfigRefused
from port42_protocol.messages.daemon import ReloadConfig
from port42_protocol.version import __version__

log = logging.getLogger(__name__)


def run(
    settings: Settings, given: socket.socket | None, supervisor: Supervisor, ready: Callable[[], None]
) -> None:
    """Be the daemon of `settings.home` until SIGTERM or SIGINT; `ready` is called once it listens.

    `given` listens at `settings.socket` already, where systemd or launchd made it. Raises `CannotStart`,
    and `StorageFailed` when the home is of a newer format or cannot be opened.
    """
    with home_lock.home_locked(settings.home, settings.predecessor_wait):
        bring_up_to_date(settings.home)
        config = ConfigFile(settings.home / "config.toml")
        settings = _limited(settings, config.refresh().daemon)
        store, threads = FileStore(settings.home), Threads()
        try:
            store.open()
            with home_lock.address(settings, given) as listener:
                uvloop.run(_serve(settings, store, threads, config, listener, supervisor, ready))
        finally:
            store.close()
            threads.close()
    log.info("👋 port42d stopped")


def _limited(settings: Settings, said: DaemonConfig) -> Settings:
    """The settings with the limits that ``[daemon]`` in config.toml names."""
    named = {name: getattr(said, name) for name in said.__struct_fields__}
    return dataclasses.replace(
        settings, **{name: value for name, value in named.items() if value is not None}
    )


async def _serve(  # noqa: PLR0913, PLR0917  # the one place where the parts meet
    settings: Settings,
    store: FileStore,
    threads: Threads,
    config: ConfigFile,
    listener: socket.socket,
    supervisor: Supervisor,
    ready: Callable[[], None],
) -> None:
    traffic = Traffic()
    events = Events(store, threads)
    catalogue = store.catalogue
    sessions = Sessions(store, catalogue, threads, events)
    agents = Agents(store, catalogue, threads, config, settings.home)
    lineage = Lineage(store, catalogue, threads, sessions, agents, events)
    queues = SessionQueues(supervisor.changed)
    turns = Turns(TurnContext(store, threads, sessions, events), agents, lineage, queues)
    dispatcher = Dispatcher(
        traffic,
        sessions,
        turns,
        agents,
        events,
        Introspection(settings, catalogue, threads, config, traffic, queues, events),
        Listing(catalogue, store.maintenance, threads),
        lineage,
        Trash(store, catalogue, threads, sessions, queues, events),
        Exporter(store, threads, sessions),
        Importer(store, threads, sessions),
        Doctor(settings, store.maintenance, threads, config, agents, turns),
        Figures(catalogue, store.maintenance, threads, agents),
    )
    server = Server(settings, dispatcher, traffic)
    stop = asyncio.Event()
    reloading: set[asyncio.Task[None]] = set()  # the loop itself keeps no more than a weak reference

    def reload() -> None:
        task = loop.create_task(_reload(agents, supervisor))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await turns.recover()
    await server.listen(listener)
    log.info("🌊 port42d %s, pid %d, listens at %s", __version__, os.getpid(), settings.socket)
    if config.error:
        log.warning("⚠ %s; the built-in agents are there all the same", config.error)
    ready()
    await supervisor.tell("READY=1")

    async def alive() -> None:
        """What every request needs: the loop that runs this, and a thread for files."""
        await threads.files(os.getpid)

    async def state() -> str:
        counts = await threads.index(catalogue.counts)
        return _state(sum(counts.values()), queues.under_way, config.error)

    async with supervisor.watching(alive, state):
        await stop.wait()
        log.info("🌙 stopping: no new turns")
        for number in (signal.SIGTERM, signal.SIGINT):
            # Told once is told: a second signal, at the loop's end, would end the process in mid-stop.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        await supervisor.tell("STOPPING=1")
        queues.refuse()
        await server.stop(queues.cancel_all)
        await agents.aclose()


def _state(sessions: int, turns: int, trouble: str | None) -> str:
    """A line for ``systemctl status``."""
    parts = [f"{sessions} session{'s' * (sessions != 1)}, {turns} turn{'s' * (turns != 1)} under way"]
    if trouble is not None:
        parts.append(" ".join(trouble.split()))
    return "; ".join(parts)


async def _reload(agents: Agents, supervisor: Supervisor) -> None:
    """What SIGHUP asks for: config.toml anew, and a word in the log."""
    # systemd 253 and newer, with Type=notify-reload, tells its own reloads apart by the time.
    await supervisor.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        now = await agents.reload_config(ReloadConfig())
        log.info("🔄 config.toml: %d agents, %d back ends", now.agents, now.backends)
    except ConfigRefused as refused:
        log.warning("⚠ %s; what was in force stays in force", refused.message)
    finally:
        supervisor.changed()
        await supervisor.tell("READY=1")
