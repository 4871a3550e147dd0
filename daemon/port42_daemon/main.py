"""The only place where the parts meet: lock, store, rules, dispatcher, server, and their end."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal
import socket
from collections.abc import Callable

import uvloop

from port42_daemon import activation
from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile, DaemonConfig
from port42_daemon.dispatch import Dispatcher
from port42_daemon.doctor import Doctor
from port42_daemon.events import Events
from port42_daemon.figures import Figures
from port42_daemon.finding import Finding
from port42_daemon.marks import Marks
from port42_daemon.server import Server
from port42_daemon.sessions import Sessions
from port42_daemon.settings import Settings
from port42_daemon.status import Introspection, Traffic
from port42_daemon.store.contract import Store
from port42_daemon.store.files import FileStore
from port42_daemon.threads import Threads
from port42_daemon.turn import House
from port42_daemon.turns import Turns
from port42_protocol.errors import ConfigRefused
from port42_protocol.messages import ReloadConfig
from port42_protocol.version import __version__

log = logging.getLogger(__name__)


def run(settings: Settings, ready: Callable[[], None]) -> None:
    """Be the daemon of `settings.home` until SIGTERM or SIGINT; `ready` is called once it listens.

    Raises `CannotStart`, and `StorageFailed` when the sessions cannot be opened.
    """
    with activation.home_locked(settings.home, settings.predecessor_wait):
        config = ConfigFile(settings.home / "config.toml")
        settings = _limited(settings, config.refresh().daemon)
        store, threads = FileStore(settings.home), Threads()
        try:
            store.open()
            with activation.address(settings.socket, settings.home) as listener:
                uvloop.run(_serve(settings, store, threads, config, listener, ready))
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
    store: Store,
    threads: Threads,
    config: ConfigFile,
    listener: socket.socket,
    ready: Callable[[], None],
) -> None:
    traffic = Traffic()
    events = Events(store, threads)
    sessions = Sessions(store, threads, events)
    agents = Agents(store, threads, config, settings.home)
    turns = Turns(House(store, threads, sessions, events), agents)
    introspection = Introspection(settings, store, threads, config, traffic, turns)
    found = (Finding(store, threads), Marks(sessions))
    looked = (
        Doctor(settings, store, threads, config, agents, turns),
        Figures(store, threads, agents),
    )
    dispatcher = Dispatcher(traffic, sessions, turns, agents, events, introspection, *found, *looked)
    server = Server(settings, dispatcher, traffic)
    stop = asyncio.Event()
    reloading: set[asyncio.Task[None]] = set()  # the loop itself keeps no more than a weak reference

    def reload() -> None:
        task = loop.create_task(_reload(agents))
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
    await stop.wait()
    log.info("🌙 stopping: no new work")
    for number in (signal.SIGTERM, signal.SIGINT):
        # Told once is told: a second signal, at the loop's end, would end the process in mid-stop.
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    await server.stop(turns.cut_off)
    await agents.aclose()


async def _reload(agents: Agents) -> None:
    """What SIGHUP asks for: config.toml anew, and a word in the log."""
    try:
        now = await agents.reload_config(ReloadConfig())
        log.info("🔄 config.toml: %d agents, %d back ends", now.agents, now.backends)
    except ConfigRefused as refused:
        log.warning("⚠ %s; what was in force stays in force", refused.message)
