"""Keeps this machine and the hub at one: connects, syncs, and connects again."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from port42_daemon.agents import Agents
from port42_daemon.config import Config, HubConfig
from port42_daemon.hub.lease import Leases
from port42_daemon.hub.unpushed import Unpushed
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_protocol.errors import HubUnavailable, RpcError
from port42_protocol.messages.doctor_and_stats import Finding
from port42_protocol.messages.hub import HubState, HubSummary

if TYPE_CHECKING:
    from port42_daemon.hub.connection import HubConnection

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
"""Seconds between two attempts to reach a hub that cannot be reached; each is up to a third shorter."""
_REFUSED_PAUSE = 60.0
NO_HUB = "there is no hub: `port42 hub join ADDRESS` names one"
NO_EXTRA = "it needs Port42's extra hub: uv tool install '.[hub]', or pipx install '.[hub]', in its folder"


@dataclass(eq=False)
class Hub:
    """Syncs while `run` runs. Nothing of that is loaded before config.toml has a ``[hub]``."""

    home: Path
    agents: Agents
    sessions: Sessions
    queues: SessionQueues
    state: HubState = field(default="off", init=False)
    problem: str | None = field(default=None, init=False)
    config: HubConfig | None = field(default=None, init=False)
    _connection: HubConnection | None = field(default=None, init=False)
    _work: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _reconfigured: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _applied: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set each time that `run` has read the configuration."""
    _changed_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._unpushed = Unpushed(self.home, self.sessions)
        self.leases = Leases(
            self.ask, self._end_of_session, self.sessions.threads.files, self._owner_to_continue
        )

    # --- its life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be at the hub, whenever config.toml says so and it can be reached, until cancelled."""
        failures = 0
        while True:
            self.config = (await self.agents.refresh()).hub
            self._reconfigured.clear()
            self._applied.set()
            if self.config is None:
                self._set_state("off")
                self.sessions.store.changed = _no_listener
                await self._reconfigured.wait()
                continue
            if not self.config.on:
                self._set_state("paused")
                await self._unpushed.look(self.config)
                await self._reconfigured.wait()
                continue
            self._set_state("connecting" if not failures else self.state, self.problem)
            try:
                await self._connect_and_sync(self.config)
                failures = 0
                continue
            except _Disconnected as reason:
                failures = 1 if reason.was_connected else failures + 1
                self._note_disconnected(reason)
                await self._unpushed.look(self.config)
            pause = _REFUSED_PAUSE if self.state == "refused" else _FIRST_PAUSE * 2 ** min(failures - 1, 10)
            pause = min(pause, _LAST_PAUSE) * random.uniform(2 / 3, 1)  # noqa: S311  # no secret depends on it
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._reconfigured.wait()

    async def _connect_and_sync(self, config: HubConfig) -> None:
        """Connect, and sync until the configuration changes. Raises `_Disconnected` when something fails."""
        if importlib.util.find_spec("psycopg") is None:
            raise _Disconnected("refused", NO_EXTRA, False)
        # Imported here: a daemon without a hub needs none of it.
        from port42_daemon.hub import connection

        connected = False
        try:
            self._connection = connection.HubConnection(
                self.home, self.sessions, self.queues, config, machine_name(config), self._work
            )
            await self._connection.open(os.environ)
            connected = True
            loop = asyncio.get_running_loop()
            self.sessions.store.changed = lambda session_id: self._session_changed(loop, session_id)
            await self._connection.begin()
            self._set_state("connected")
            log.info("🛰 at the hub as %s, from %s", self._connection.owner, machine_name(config))
            renewing = asyncio.create_task(self.leases.run())
            try:
                await self._sync(self._connection)
            finally:
                renewing.cancel()
        except connection.FAILURES as error:
            raise _Disconnected(*connection.explained(error), connected) from None
        except Exception as error:  # one failure must not end it
            log.exception("the hub is used again after an error")
            raise _Disconnected("unreachable", "an internal error, see the log", connected) from error
        finally:
            connection_before, self._connection = self._connection, None
            if connection_before is not None:
                with contextlib.suppress(*connection.FAILURES):
                    await connection_before.close()

    async def _sync(self, connection: HubConnection) -> None:
        """Push and pull as there is something to, until the configuration changes."""
        while True:
            self._work.clear()
            await self.agents.refresh()  # what is pushed is what config.toml permits now
            if self._reconfigured.is_set():
                return
            # First: what is noted behind it wakes this again.
            changed_at, self._changed_at = self._changed_at, None
            for session_id in self._unpushed.take():
                connection.sync.dirty[session_id] = None
            more = await connection.step()
            if changed_at is not None:
                connection.lag_ms = round((time.monotonic() - changed_at) * 1000)
            if not more:
                # Not wait_for, which before 3.12 can lose a cancellation that comes with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(connection.until_heartbeat()):
                        await self._work.wait()

    def _session_changed(self, loop: asyncio.AbstractEventLoop, session_id: str) -> None:
        """Called in whichever thread changed it."""
        self._unpushed.note(session_id)
        if self._changed_at is None:
            self._changed_at = time.monotonic()
            with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon stops
                loop.call_soon_threadsafe(self._work.set)

    def config_read(self, config: Config) -> None:
        if config.hub != self.config:
            self.config_changed()

    def config_changed(self) -> None:
        """config.toml may say something else."""
        self._reconfigured.set()
        self._work.set()

    def turns_changed(self) -> None:
        """A turn may have ended: what waits for that can be brought here."""
        if self.connection is not None and self.connection.is_waiting:
            self._work.set()

    def _set_state(self, state: HubState, problem: str | None = None) -> None:
        self.state, self.problem = state, problem

    def _note_disconnected(self, reason: _Disconnected) -> None:
        """Say once why the hub is not used now."""
        if reason.state != self.state:
            log.warning("⚠ the hub is %s: %s; sessions go on here", reason.state, reason.problem)
        self._set_state(reason.state, reason.problem)

    @property
    def connection(self) -> HubConnection | None:
        """None while this machine is not connected."""
        return self._connection if self.state == "connected" else None

    async def in_force(self, config: HubConfig | None) -> None:
        """Return once config.toml, which says this now, is in force, though the hub may not have answered."""
        self.config_changed()
        while self.config != config:
            self._applied.clear()
            await self._applied.wait()

    async def ask(self, question: Callable[..., Any], *args: Any) -> Any:
        """Run a function of the `Database` in the hub's thread. Raises `HubUnavailable`."""
        if self.config is None:
            raise HubUnavailable(NO_HUB, retryable=False)
        if self.connection is None:
            raise HubUnavailable("the hub is not connected")
        return await self.connection.ask(question, *args)

    # --- for status and doctor --------------------------------------------------------------------

    def summary(self) -> Awaitable[HubSummary] | None:
        """What `status` says of the hub; None where there is none."""
        return None if self.state == "off" else self._summary()

    async def _summary(self) -> HubSummary:
        waiting, connection = await self.waiting(), self.connection
        return HubSummary(
            self.state,
            self.problem,
            waiting,
            connection.sync.to_pull if connection is not None else None,
            connection.lag_ms if connection is not None else None,
        )

    def findings(self) -> list[Finding]:
        """What `check_home` says of the hub; nothing where there is none."""
        if self.state in {"off", "paused"}:
            return []
        where = f"the hub at {address_of(self.config)}"
        if self.state in {"unreachable", "refused"}:
            do = "it is tried again by itself; sessions go on here" if self.state == "unreachable" else None
            return [Finding("problem", "hub", f"{where} is {self.state}: {self.problem}", do)]
        return [Finding("ok", "hub", f"{where}: {self.state}")]

    async def waiting(self) -> int | None:
        """How many sessions are to be pushed, as far as that is known here."""
        if self.connection is not None:
            return len(self.connection.sync.dirty) + len(self._unpushed)
        return None if self.config is None else await self._unpushed.count(self.config)

    # --- for leases -------------------------------------------------------------------------------

    def _end_of_session(self, session_id: str) -> tuple[int, int] | None:
        """Generation and last seq of a session here; blocks."""
        try:
            stored = self.sessions.store.lines(session_id, 2**62, 1)
        except RpcError:
            return None
        return stored.header.generation or 0, stored.footer.last_seq

    def _owner_to_continue(self, session_id: str) -> str | None:
        return None if self.connection is None else self.connection.sync.owner_to_continue(session_id)


class _Disconnected(Exception):
    """The hub is not used now: the state, why, and whether this machine was connected."""

    def __init__(self, state: HubState, problem: str, was_connected: bool) -> None:
        super().__init__(problem)
        self.state, self.problem, self.was_connected = state, problem, was_connected


def machine_name(config: HubConfig) -> str:
    return config.machine or socket.gethostname().partition(".")[0] or "a machine"


def _no_listener(session_id: str) -> None:
    """For `SessionStore.changed` where there is no hub."""


def address_of(config: HubConfig | None) -> str | None:
    if config is None or importlib.util.find_spec("psycopg") is None:
        return None
    from port42_daemon.hub.address import described

    return described(config)
