"""Answers the requests about the hub."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from port42_daemon.config import HubConfig, holds_password
from port42_daemon.hub.service import NO_EXTRA, NO_HUB, Hub, address_of, machine_name
from port42_protocol.errors import HubUnavailable, InvalidParams
from port42_protocol.messages.hub import (
    GetHub,
    GetShares,
    HubMachine,
    HubStatus,
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

    from port42_daemon.hub.connection import Overview

T = TypeVar("T")
_WHERE = {"url", "service", "password_env", "password_file", "password_keyring", "on"}
"""Of ``[hub]``, what joining replaces as a whole."""
log = logging.getLogger(__name__)

_ASKED_WITHIN = 2.0
"""Seconds that an answer waits for what only the hub knows."""
_ASKED_AGAIN = 0.05


@dataclass
class HubMethods:
    """Handles the methods of the hub."""

    hub: Hub

    def __post_init__(self) -> None:
        self._agents, self._sessions = self.hub.agents, self.hub.sessions

    async def get_hub(self, _: GetHub) -> HubStatus:
        config = (await self._agents.refresh()).hub
        connection, overview = self.hub.connection, None
        if connection is not None:
            with contextlib.suppress(TimeoutError, HubUnavailable):
                overview = await asyncio.wait_for(connection.overview(), _ASKED_WITHIN)
        sync = connection.sync if connection is not None else None
        return HubStatus(
            state=self.hub.state,
            problem=self.hub.problem,
            address=address_of(config),
            owner=connection.owner if connection is not None else None,
            machine=machine_name(config) if config is not None else None,
            waiting=await self.hub.waiting(),
            to_pull=sync.to_pull if sync is not None else 0,
            busy=len(sync.busy) if sync is not None else 0,
            lag_ms=connection.lag_ms if connection is not None else None,
            sessions=overview.totals.sessions if overview is not None else None,
            bytes=overview.totals.bytes if overview is not None else None,
            machines=_machines(overview, connection.machine) if connection and overview else None,
            forks=tuple(fork.session_id for fork in sync.forks) if sync is not None else (),
        )

    async def init_hub(self, request: InitHub) -> HubTables:
        config = (await self._agents.refresh()).hub
        if request.url is not None or request.service is not None:
            config = _address(request.url, request.service)
        if config is None:
            raise InvalidParams.missing("url", "the hub's address, or a [hub] in config.toml")
        applied = await self._ask(config, lambda module, named: module.init(named))
        self.hub.config_changed()
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

            # What may leave this machine stays as it was said: only where the hub is may be new.
            table: Any = document.setdefault("hub", tomlkit.table())
            for name in _WHERE - given.keys():
                table.pop(name, None)
            table.update(given)

        await self._agents.change(change)
        log.info("🛰 the hub is %s", address_of(self._agents.config.current.hub))
        return await self._in_force()

    async def pause_hub(self, _: PauseHub) -> HubStatus:
        return await self._switch(on=False)

    async def resume_hub(self, _: ResumeHub) -> HubStatus:
        return await self._switch(on=True)

    async def leave_hub(self, _: LeaveHub) -> HubStatus:
        """Forget the machine there, if the hub can be asked."""
        if self.hub.connection is not None:
            with contextlib.suppress(TimeoutError, HubUnavailable):
                await asyncio.wait_for(self.hub.connection.leave(), _ASKED_WITHIN)

        def change(document: TOMLDocument) -> None:
            document.pop("hub", None)

        await self._agents.change(change)
        return await self._in_force()

    async def get_shares(self, request: GetShares) -> SessionShares:
        await self._sessions.owned(request.session_id, request.agent)
        return await self._shares(request.session_id)

    async def share_session(self, request: ShareSession) -> SessionShares:
        """Raises `HubUnavailable` where the hub does not have the session, which it gets first."""
        await self._sessions.owned(request.session_id, request.agent)
        if not await self._share(request.session_id, request.grantee, request.may):
            raise InvalidParams.expecting(
                "grantee",
                "a role of the hub's PostgreSQL other than its owner",
                got=f'"{request.grantee}"',
            )
        log.info("🛰 %s is shared with %s, to %s", request.session_id, request.grantee, request.may)
        return await self._shares(request.session_id)

    async def unshare_session(self, request: UnshareSession) -> SessionShares:
        await self._sessions.owned(request.session_id, request.agent)
        if not await self._share(request.session_id, request.grantee, None):
            # A mistyped role would go on seeing it.
            raise InvalidParams.expecting(
                "grantee", "a role that the session is shared with", got=f'"{request.grantee}"'
            )
        return await self._shares(request.session_id)

    async def _switch(self, *, on: bool) -> HubStatus:
        if (await self._agents.refresh()).hub is None:
            raise HubUnavailable(NO_HUB, retryable=False)

        def change(document: TOMLDocument) -> None:
            table: Any = document["hub"]
            table["on"] = on

        await self._agents.change(change)
        return await self._in_force()

    async def _in_force(self) -> HubStatus:
        """The status once what was written to config.toml is in force."""
        await self.hub.in_force(self._agents.config.current.hub)
        return await self.get_hub(GetHub())

    async def _share(self, session_id: str, grantee: str, may: str | None) -> bool:
        deadline = time.monotonic() + _ASKED_WITHIN
        while True:
            try:
                done: bool = await self.hub.ask(lambda database: database.share(session_id, grantee, may))
            except HubUnavailable as error:
                # It may have been begun a moment ago.
                if error.data["retryable"] or self.hub.config is None or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_ASKED_AGAIN)
            else:
                return done

    async def _shares(self, session_id: str) -> SessionShares:
        shares = await self.hub.ask(lambda database: database.shares(session_id))
        return SessionShares(session_id, tuple(Share(*share) for share in shares))

    async def _ask(self, config: HubConfig, question: Callable[[Any, dict[str, Any]], T]) -> T:
        """Run `question` about the module `connection` and libpq's parameters, in a thread of its own."""
        if importlib.util.find_spec("psycopg") is None:
            raise HubUnavailable(NO_EXTRA, retryable=False)
        from port42_daemon.hub import connection

        try:
            named = await connection.parameters(config, os.environ)
            return await asyncio.to_thread(question, connection, named)
        except connection.FAILURES as error:
            state, problem = connection.explained(error)
            raise HubUnavailable(f"the hub is {state}: {problem}", retryable=state == "unreachable") from None


def _machines(overview: Overview, this: str) -> tuple[HubMachine, ...]:
    return tuple(
        HubMachine(
            machine.name,
            machine.version,
            round(machine.seen, 1),
            max(0, overview.totals.changes - machine.pulled),
            machine.waiting,
            machine.machine == this,
        )
        for machine in overview.machines
    )


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
