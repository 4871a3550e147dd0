"""Which sessions are still to be pushed while there is no connection that knows it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from port42_daemon.config import HubConfig
from port42_daemon.sessions.service import Sessions
from port42_protocol.errors import RpcError


class Unpushed:
    """Notes which sessions are changed, and tells how many of them the hub is to get."""

    def __init__(self, home: Path, sessions: Sessions) -> None:
        self._home = home
        self._sessions = sessions
        self._changed: dict[str, None] = {}
        """In the order in which they were noted, each once: a hub may be away for long."""
        self._waiting: set[str] | None = None
        """Those that leave this machine and differ from what the hub has; None where nobody looked."""

    def __len__(self) -> int:
        """How many changes were noted and not taken."""
        return len(self._changed)

    def note(self, session_id: str) -> None:
        """A session was changed. From any thread."""
        self._changed[session_id] = None

    def take(self) -> list[str]:
        """What was noted, once: from now on a connection pushes it."""
        self._waiting = None
        # One by one: another thread may note one meanwhile.
        return [self._changed.popitem()[0] for _ in range(len(self._changed))][::-1]

    async def look(self, config: HubConfig) -> None:
        """Find what the hub lacks, by what hub.db says that it has, and go on from there. Not twice."""
        self._sessions.store.changed = self.note
        if self._waiting is not None:
            return
        threads = self._sessions.threads
        # `count` leaves it None where hub.db or the index cannot be used; both are made anew by others.
        with contextlib.suppress(sqlite3.Error, OSError, RpcError):
            known = await threads.hub(self._known)
            files = await threads.patient(self._sessions.catalogue.files)
            changed = [name for name, file in files.items() if known.get(name) != file]
            self._waiting = await threads.patient(self._leaving, config, changed)

    async def count(self, config: HubConfig) -> int | None:
        """How many sessions are to be pushed; None where that is not known."""
        waiting = self._waiting
        if waiting is None:
            return None
        # They stay noted: it is a connection that takes them.
        if changed := set(self._changed) - waiting:
            waiting |= await self._sessions.threads.files(self._leaving, config, changed)
        return len(waiting)

    def _known(self) -> dict[str, tuple[int, int]]:
        """Size and mtime_ns of each file as it was when the hub had all of it."""
        from port42_daemon.hub.progress import Progress

        with contextlib.closing(Progress(self._home / "hub.db")) as progress:
            return {name: state.signature for name, state in progress.all().items()}

    def _leaving(self, config: HubConfig, session_ids: Iterable[str]) -> set[str]:
        """Those of the own sessions that may leave this machine."""
        from port42_daemon.hub.lines import may_leave

        leaving = set()
        for session_id in session_ids:
            with contextlib.suppress(RpcError):
                header, footer = self._sessions.store.ends(session_id)
                if not header.hub_owner and may_leave(config, header, footer, self._sessions.store):
                    leaving.add(session_id)
        return leaving
