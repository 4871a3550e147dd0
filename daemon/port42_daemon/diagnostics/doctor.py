"""`check_home`: everything that can be wrong in the home, said in a line each, and repaired where it can be.

The first answer is about all but the files of sessions. Those are gone through in stretches of a moment
each, with a cursor in between, so that ten thousand of them hold nobody up.
"""

from __future__ import annotations

import asyncio
import base64
import re

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile
from port42_daemon.diagnostics import environment
from port42_daemon.executors import Threads
from port42_daemon.settings import Settings
from port42_daemon.store.check.backup import Backup, new_name
from port42_daemon.store.check.sessions import Place, Swept
from port42_daemon.store.interface import Store
from port42_daemon.turns.service import Turns
from port42_protocol.errors import InvalidParams, RpcError
from port42_protocol.messages.doctor_and_stats import CheckHome, Checkup, Finding

_STRETCH = 0.3
"""Seconds of looking at files in one call."""
_CURSOR = re.compile(r"(sessions|trash)\.([A-Za-z0-9_-]{0,140}={0,2})\.(\d{8}T\d{6}-doctor)?", re.ASCII)


class Doctor:
    """Looks at every part, and at what the daemon stands in."""

    def __init__(  # noqa: PLR0913, PLR0917  # it looks at every part, once
        self,
        settings: Settings,
        store: Store,
        threads: Threads,
        config: ConfigFile,
        agents: Agents,
        turns: Turns,
    ) -> None:
        self._settings = settings
        self._store = store
        self._threads = threads
        self._config = config
        self._agents = agents
        self._turns = turns

    async def check_home(self, request: CheckHome) -> Checkup:
        """The next findings. Raises `InvalidParams` for a cursor that is none, and `StorageFailed`."""
        place, name = _place(request.cursor)
        backup = Backup(self._settings.home, name or new_name()) if request.fix else None
        if place is None:
            found = Swept(await self._house(request, backup), [], 0, 0, Place())
        else:
            found = await self._threads.files(
                self._store.sweep, place, _STRETCH, _InTurn(self._turns), backup
            )
        partial = [await self._partial(one, backup) for one in found.partial]
        return Checkup(
            findings=(*found.findings, *(one for one in partial if one)),
            examined=found.examined,
            remaining=found.remaining,
            backup=f"backups/{backup.name}" if backup and backup.used else None,
            next_cursor=_cursor(found.place, backup) if found.place else None,
        )

    async def _house(self, request: CheckHome, backup: Backup | None) -> list[Finding]:
        """Everything but the files of sessions."""
        blocking = self._threads.files
        agents = await self._agents.looked_at({})
        lock, address, disk, care = await asyncio.gather(
            blocking(environment.lock, self._settings.home),
            blocking(environment.address, self._settings),
            blocking(environment.disk, self._settings.home),
            self._threads.patient(self._store.check, backup),
        )
        return [
            lock,
            *address,
            disk,
            *care,
            environment.config(self._config.error, self._config.current),
            *environment.backends(agents),
            *environment.environment(agents, self._config.current, request.environment or ()),
        ]

    async def _partial(self, session_id: str, backup: Backup | None) -> Finding | None:
        """What is said of a turn that was cut off, unless one runs there now."""
        if self._turns.queues.busy(session_id):
            return None
        found = await self._threads.files(self._store.cut_off, session_id, backup)
        if found is not None and found.fixed:
            try:
                await self._turns.recover(session_id)
            except RpcError as error:
                return Finding("problem", found.about, f"{found.what}: {error.message}")
        return found


class _InTurn:
    """Whether a session is in a turn now, asked from another thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __contains__(self, session_id: object) -> bool:
        return isinstance(session_id, str) and self._turns.queues.busy(session_id)


def _cursor(place: Place, backup: Backup | None) -> str:
    key = base64.urlsafe_b64encode(place.key).decode()
    return f"{place.folder}.{key}.{backup.name if backup else ''}"


def _place(cursor: str | None) -> tuple[Place | None, str | None]:
    """Where to go on, and the backup's name. Raises `InvalidParams`."""
    if cursor is None:
        return None, None
    fits = _CURSOR.fullmatch(cursor)
    try:
        if fits:
            return Place(fits[1], base64.urlsafe_b64decode(fits[2])), fits[3]
    except ValueError:
        pass
    expected = "a next_cursor from an earlier answer"
    raise InvalidParams(f"cursor: expected {expected}", field="cursor", expected=expected)
