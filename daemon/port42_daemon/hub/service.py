"""Keeps this machine and the hub at one, and answers the requests about that."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from port42_daemon.agents import Agents
from port42_daemon.config import HubConfig, holds_password
from port42_daemon.hub.lease import Leases
from port42_daemon.hub.unpushed import Unpushed
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_protocol.errors import HubUnavailable, InvalidParams, RpcError
from port42_protocol.messages.doctor_and_stats import Finding
from port42_protocol.messages.hub import (
    GetHub,
    GetShares,
    HubMachine,
    HubState,
    HubStatus,
    HubSummary,
    HubTables,
    InitHub,
    JoinHub,
    LeaveHub,
    PauseHub,
    ResumeHub,
    SessionShares,
    Share,
    ShareSession,
    UnshareSession,
)

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from port42_daemon.hub.connection import HubConnection

T = TypeVar("T")
log = logging.getLogger(__name__)

_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
"""Seconds between two attempts to reach a hub that cannot be reached; each is up to a third shorter."""
_REFUSED_PAUSE = 60.0
_PUSHED_SOON = 0.05
_ASKED_WITHIN = 2.0
"""Seconds that a status waits for what only the hub knows."""
_NO_HUB = "there is no hub: `port42 hub join ADDRESS` names one"
_NO_EXTRA = "it needs Port42's extra hub: uv tool install '.[hub]', or pipx install '.[hub]', in its folder"


@dataclass(eq=False)
class Hub:
    """Handles the methods of the hub, and syncs while `run` runs.

    Nothing of it is loaded before config.toml has a ``[hub]``.
    """

    home: Path
    agents: Agents
    sessions: Sessions
    queues: SessionQueues
    _state: HubState = field(default="off", init=False)
    _problem: str | None = field(default=None, init=False)
    _config: HubConfig | None = field(default=None, init=False)
    _connection: HubConnection | None = field(default=None, init=False)
    _work: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _reconfigured: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _applied: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set each time that `run` has read the configuration."""
    _changed_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._unpushed = Unpushed(self.home, self.sessions)
        self.leases = Leases(
            self._ask_database, self._end, self.sessions.threads.files, self._owner_to_continue
        )

    # --- its life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be at the hub, whenever config.toml says so and it can be reached, until cancelled."""
        failures = 0
        while True:
            self._reconfigured.clear()
            self._config = (await self.agents.refresh()).hub
            self._applied.set()
            if self._config is None:
                self._enter("off")
                self.sessions.store.changed = _ignored
                await self._reconfigured.wait()
                continue
            if not self._config.on:
                self._enter("paused")
                await self._unpushed.look(self._config)
                await self._reconfigured.wait()
                continue
            self._enter("connecting" if not failures else self._state, self._problem)
            try:
                await self._stay(self._config)
                failures = 0
                continue
            except _Left as left:
                failures = 1 if left.was_connected else failures + 1
                self._leave(left)
                await self._unpushed.look(self._config)
            pause = _REFUSED_PAUSE if self._state == "refused" else _FIRST_PAUSE * 2 ** min(failures - 1, 10)
            pause = min(pause, _LAST_PAUSE) * random.uniform(2 / 3, 1)  # noqa: S311  # no secret depends on it
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._reconfigured.wait()

    async def _stay(self, config: HubConfig) -> None:
        """Connect, and sync until the configuration changes. Raises `_Left` when something fails."""
        if importlib.util.find_spec("psycopg") is None:
            raise _Left("refused", _NO_EXTRA, False)
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
            self._enter("connected")
            log.info("🛰 at the hub as %s, from %s", self._connection.owner, machine_name(config))
            renewing = asyncio.create_task(self.leases.run())
            try:
                await self._sync(self._connection)
            finally:
                renewing.cancel()
        except connection.FAILURES as error:
            raise _Left(*connection.explained(error), connected) from None
        except Exception as error:  # one failure must not end it
            log.exception("the hub is used again after an error")
            raise _Left("unreachable", "an internal error, see the log", connected) from error
        finally:
            connection_before, self._connection = self._connection, None
            if connection_before is not None:
                with contextlib.suppress(*connection.FAILURES):
                    await connection_before.close()

    async def _sync(self, connection: HubConnection) -> None:
        """Push and pull as there is something to, until the configuration changes."""
        while not self._reconfigured.is_set():
            self._work.clear()
            for session_id in self._unpushed.take():
                connection.sync.dirty[session_id] = None
            changed_at, self._changed_at = self._changed_at, None
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

    def config_changed(self) -> None:
        """config.toml may say something else."""
        self._reconfigured.set()
        self._work.set()

    def turns_changed(self) -> None:
        """A turn has ended, perhaps: what waits for that can be brought here."""
        if self._state == "connected" and self._connection is not None and self._connection.is_waiting:
            self._work.set()

    def _enter(self, state: HubState, problem: str | None = None) -> None:
        self._state, self._problem = state, problem

    def _leave(self, left: _Left) -> None:
        """Say once why the hub is not used now."""
        if left.state != self._state:
            log.warning("⚠ the hub is %s: %s; sessions go on here", left.state, left.problem)
        self._enter(left.state, left.problem)

    # --- methods ----------------------------------------------------------------------------------

    async def get_hub(self, _: GetHub) -> HubStatus:
        config = (await self.agents.refresh()).hub
        if config != self._config:
            self.config_changed()
        connection = self._connection
        sync = connection.sync if connection is not None and self._state == "connected" else None
        at_hub = None
        if connection is not None and sync is not None:
            with contextlib.suppress(TimeoutError, HubUnavailable):
                at_hub = await asyncio.wait_for(connection.overview(), _ASKED_WITHIN)
        machines = None
        if connection is not None and at_hub is not None:
            machines = tuple(
                HubMachine(
                    machine.name,
                    machine.version,
                    round(machine.seen, 1),
                    max(0, at_hub.totals.changes - machine.pulled),
                    machine.waiting,
                    machine.machine == connection.machine,
                )
                for machine in at_hub.machines
            )
        return HubStatus(
            state=self._state,
            problem=self._problem,
            address=_described(config),
            owner=connection.owner if connection is not None and sync is not None else None,
            machine=machine_name(config) if config is not None else None,
            waiting=await self._waiting(),
            to_pull=sync.to_pull if sync is not None else 0,
            busy=len(sync.busy) if sync is not None else 0,
            lag_ms=connection.lag_ms if connection is not None else None,
            sessions=at_hub.totals.sessions if at_hub is not None else None,
            bytes=at_hub.totals.bytes if at_hub is not None else None,
            machines=machines,
            forks=tuple(fork.session_id for fork in sync.forks) if sync is not None else (),
        )

    async def init_hub(self, request: InitHub) -> HubTables:
        config = (await self.agents.refresh()).hub
        if request.url is not None or request.service is not None:
            config = _address(request.url, request.service)
        if config is None:
            raise InvalidParams.missing("url", "the hub's address, or a [hub] in config.toml")
        applied = await self._ask(config, lambda module, named: module.init(named))
        self.config_changed()
        return HubTables(tuple(applied))

    async def join_hub(self, request: JoinHub) -> HubStatus:
        """Raises `HubUnavailable` before anything is written."""
        _address(request.url, request.service)
        given = {
            name: value
            for name in HubConfig.__struct_fields__
            if (value := getattr(request, name, None)) is not None
        }
        # A tuple is not TOML's.
        given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        passwords = [name for name in given if name.startswith("password_")]
        if len(passwords) > 1:
            raise InvalidParams.expecting(
                passwords[1], "one of password_env, password_file, password_keyring"
            )
        await self._ask(HubConfig(**given), lambda module, named: module.probe(named))

        def change(document: TOMLDocument) -> None:
            import tomlkit

            table = tomlkit.table()
            table.update(given)
            document["hub"] = table

        await self.agents.change(change)
        log.info("🛰 the hub is %s", _described(self.agents.config.current.hub))
        return await self._changed_to(self.agents.config.current.hub)

    async def pause_hub(self, _: PauseHub) -> HubStatus:
        return await self._switch(on=False)

    async def resume_hub(self, _: ResumeHub) -> HubStatus:
        return await self._switch(on=True)

    async def leave_hub(self, _: LeaveHub) -> HubStatus:
        """Forget the machine there, if the hub can be asked."""
        if self._connection is not None and self._state == "connected":
            with contextlib.suppress(TimeoutError, HubUnavailable):
                await asyncio.wait_for(self._connection.leave(), _ASKED_WITHIN)

        def change(document: TOMLDocument) -> None:
            document.pop("hub", None)

        await self.agents.change(change)
        return await self._changed_to(None)

    async def get_shares(self, request: GetShares) -> SessionShares:
        await self.sessions.owned(request.session_id, request.agent)
        return await self._shares(request.session_id)

    async def share_session(self, request: ShareSession) -> SessionShares:
        """Raises `HubUnavailable` where the hub does not have the session, which it gets first."""
        await self.sessions.owned(request.session_id, request.agent)
        if not await self._share(request.session_id, request.grantee, request.may):
            raise InvalidParams.expecting(
                "grantee", "a role of the hub's PostgreSQL", got=f'"{request.grantee}"'
            )
        log.info("🛰 %s is shared with %s, to %s", request.session_id, request.grantee, request.may)
        return await self._shares(request.session_id)

    async def unshare_session(self, request: UnshareSession) -> SessionShares:
        await self.sessions.owned(request.session_id, request.agent)
        await self._share(request.session_id, request.grantee, None)
        return await self._shares(request.session_id)

    async def summary(self) -> HubSummary | None:
        """What `status` says of the hub; None where there is none."""
        connection, sync = self._connection, None
        if self._state == "off":
            return None
        if connection is not None and self._state == "connected":
            sync = connection.sync
        return HubSummary(
            self._state,
            self._problem,
            await self._waiting(),
            sync.to_pull if sync is not None else None,
            connection.lag_ms if connection is not None else None,
        )

    def findings(self) -> list[Finding]:
        """What `check_home` says of the hub; nothing where there is none."""
        if self._state in {"off", "paused"}:
            return []
        where = f"the hub at {_described(self._config)}"
        if self._state in {"unreachable", "refused"}:
            do = "it is tried again by itself; sessions go on here" if self._state == "unreachable" else None
            return [Finding("problem", "hub", f"{where} is {self._state}: {self._problem}", do)]
        return [Finding("ok", "hub", f"{where}: {self._state}")]

    # --- inside -----------------------------------------------------------------------------------

    async def _waiting(self) -> int | None:
        """How many sessions are to be pushed, as far as that is known here."""
        if self._connection is not None and self._state == "connected":
            return len(self._connection.sync.dirty) + len(self._unpushed)
        return None if self._config is None else await self._unpushed.count(self._config)

    async def _switch(self, *, on: bool) -> HubStatus:
        if (await self.agents.refresh()).hub is None:
            raise HubUnavailable(_NO_HUB, retryable=False)

        def change(document: TOMLDocument) -> None:
            table: Any = document["hub"]
            table["on"] = on

        await self.agents.change(change)
        return await self._changed_to(self.agents.config.current.hub)

    async def _changed_to(self, config: HubConfig | None) -> HubStatus:
        """The status once that is in force, though the hub may not have answered yet."""
        self.config_changed()
        while self._config != config:
            self._applied.clear()
            await self._applied.wait()
        return await self.get_hub(GetHub())

    async def _share(self, session_id: str, grantee: str, may: str | None) -> bool:
        deadline = time.monotonic() + _ASKED_WITHIN
        while True:
            try:
                done: bool = await self._ask_database(
                    lambda database: database.share(session_id, grantee, may)
                )
            except HubUnavailable as error:
                # It may have been begun a moment ago.
                if error.data["retryable"] or self._config is None or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_PUSHED_SOON)
            else:
                return done

    async def _shares(self, session_id: str) -> SessionShares:
        shares = await self._ask_database(lambda database: database.shares(session_id))
        return SessionShares(session_id, tuple(Share(*share) for share in shares))

    async def _ask_database(self, question: Callable[..., Any], *args: Any) -> Any:
        if self._config is None:
            raise HubUnavailable(_NO_HUB, retryable=False)
        if self._connection is None or self._state != "connected":
            raise HubUnavailable("the hub is not connected")
        return await self._connection.ask(question, *args)

    def _end(self, session_id: str) -> tuple[int, int] | None:
        """Generation and last seq of a session here; blocks."""
        try:
            stored = self.sessions.store.lines(session_id, 2**62, 1)
        except RpcError:
            return None
        return stored.header.generation or 0, stored.footer.last_seq

    def _owner_to_continue(self, session_id: str) -> str | None:
        if self._connection is None or self._state != "connected":
            return None
        return self._connection.sync.owner_to_continue(session_id)

    async def _ask(self, config: HubConfig, question: Callable[[Any, dict[str, Any]], T]) -> T:
        """Run `question` about the module `connection` and libpq's parameters, in a thread of its own."""
        if importlib.util.find_spec("psycopg") is None:
            raise HubUnavailable(_NO_EXTRA, retryable=False)
        from port42_daemon.hub import connection

        try:
            named = await connection.parameters(config, os.environ)
            return await asyncio.to_thread(question, connection, named)
        except connection.FAILURES as error:
            state, problem = connection.explained(error)
            raise HubUnavailable(f"the hub is {state}: {problem}", retryable=state == "unreachable") from None


class _Left(Exception):
    """The hub is not used now: the state, why, and whether this machine was connected."""

    def __init__(self, state: HubState, problem: str, was_connected: bool) -> None:
        super().__init__(problem)
        self.state, self.problem, self.was_connected = state, problem, was_connected


def machine_name(config: HubConfig) -> str:
    return config.machine or socket.gethostname().partition(".")[0] or "a machine"


def _ignored(session_id: str) -> None:
    """No hub wants to know."""


def _described(config: HubConfig | None) -> str | None:
    if config is None or importlib.util.find_spec("psycopg") is None:
        return None
    from port42_daemon.hub.address import described

    return described(config)


def _address(url: str | None, service: str | None) -> HubConfig:
    """Raises `InvalidParams`."""
    if (url is None) == (service is None):
        raise InvalidParams.missing("url", "the hub's address, or the name of a service in service")
    if url is not None and holds_password(url):
        expected = (
            "an address without a password, which password_env, password_file or password_keyring names"
        )
        raise InvalidParams.expecting("url", expected)
    return HubConfig(url=url, service=service)
