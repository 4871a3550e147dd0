"""`check_home`: checks of the home, and repairs where that is possible.

The first page is about everything except session files. Each further call checks some of these, for a limited
time, so that ten thousand files do not block the daemon.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from port42_daemon.agents import Agents
from port42_daemon.config import ConfigFile
from port42_daemon.diagnostics import environment
from port42_daemon.diagnostics.status import stalled_threads
from port42_daemon.executors import Threads
from port42_daemon.hub.service import Hub
from port42_daemon.process.home_lock import HomeLock
from port42_daemon.rpc import cursors
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.settings import Settings
from port42_daemon.store.interface import (
    Catalogue,
    CheckedSessions,
    CheckPosition,
    Maintenance,
    new_backup,
)
from port42_daemon.transfer.capture.methods import CaptureMethods
from port42_daemon.turns.service import Turns
from port42_protocol.errors import RpcError
from port42_protocol.messages.doctor_and_stats import CheckHome, Checkup, Finding

_CHECK_SECONDS = 0.3
"""For session files in one call."""
_KEY = re.compile(r"(?:[0-9a-f]{2}){0,100}", re.ASCII)
_BACKUP = re.compile(r"(?:\d{8}T\d{6}-doctor)?", re.ASCII)


@dataclass
class Doctor:
    """Handles `check_home`."""

    settings: Settings
    lock: HomeLock
    catalogue: Catalogue
    maintenance: Maintenance
    threads: Threads
    config: ConfigFile
    agents: Agents
    turns: Turns
    capture: CaptureMethods
    hub: Hub

    async def check_home(self, request: CheckHome, cancellation: Cancellation) -> Checkup:
        """The next findings. Raises `InvalidParams` for a wrong cursor, and `StorageFailed`.

        Cancelled, it ends after what it is doing; what was repaired stays.
        """
        position, backup = _parse_cursor(request.cursor)
        backup = (backup or new_backup()) if request.fix else None
        if position is None:
            findings = await self._check_all_but_sessions(request, backup)
            checked = CheckedSessions(findings, [], 0, 0, CheckPosition())
        else:
            checked = await self.threads.files(
                self.maintenance.check_sessions, position, _CHECK_SECONDS, self.turns.queues.busy, backup
            )
        partial = []
        for session_id in checked.partial:
            cancellation.check()
            partial.append(await self._check_partial(session_id, backup))
        cancellation.check()
        onward = checked.position
        # The folder of a backup is made when the first file is put there.
        used = backup is not None and (self.settings.home / "backups" / backup).exists()
        return Checkup(
            findings=(*checked.findings, *(finding for finding in partial if finding)),
            examined=checked.examined,
            remaining=checked.remaining,
            backup=f"backups/{backup}" if used else None,
            next_cursor=cursors.cursor(onward.folder, onward.key.hex(), backup or "") if onward else None,
        )

    async def _check_all_but_sessions(self, request: CheckHome, backup: str | None) -> list[Finding]:
        agents = await self.agents.described({})
        lock, address, disk, home = await asyncio.gather(
            self.threads.files(environment.lock, self.lock),
            self.threads.files(environment.address, self.settings),
            self.threads.files(environment.disk, self.settings.home),
            self.threads.patient(self.maintenance.check, backup),
        )
        return [
            lock,
            *address,
            disk,
            *home,
            environment.config(self.config.error, self.config.current, ever_valid=self.config.ever_good),
            *environment.backends(agents),
            self._check_threads(),
            *await self.capture.findings(),
            *self.hub.findings(),
            *environment.environment(agents, self.config.current, request.environment or ()),
        ]

    def _check_threads(self) -> Finding:
        stalled = stalled_threads(self.threads, self.catalogue)
        if not stalled:
            return Finding("ok", "threads", "every thread of the daemon gets on with its work")
        which = ", ".join(
            f"{thread.name} has " + (f"waited {thread.seconds:.0f} s" if thread.seconds else "ended")
            for thread in stalled
        )
        return Finding("problem", "threads", f"a thread does not get on: {which}", "`port42 daemon restart`")

    async def _check_partial(self, session_id: str, backup: str | None) -> Finding | None:
        """The finding about an unfinished turn, unless a turn is running; with a backup it is recorded."""
        if self.turns.queues.busy(session_id):
            return None
        finding = await self.threads.files(self.maintenance.check_partial, session_id, backup)
        if finding is not None and finding.fixed:
            try:
                await self.turns.recover(session_id)
            except RpcError as error:
                return Finding("problem", finding.about, f"{finding.what}: {error.message}")
        return finding


def _parse_cursor(cursor: str | None) -> tuple[CheckPosition | None, str | None]:
    """The position to go on from, and the backup's name. Raises `InvalidParams`."""
    if cursor is None:
        return None, None
    folder, key, backup = cursors.parse(cursor, 3)
    if folder not in {"sessions", "trash"} or not _KEY.fullmatch(key) or not _BACKUP.fullmatch(backup):
        raise cursors.refused()
    return CheckPosition(folder, bytes.fromhex(key)), backup or None
