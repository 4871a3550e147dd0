"""Check and repair of one home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from port42_daemon.store.check.disk_usage import usage
from port42_daemon.store.check.home import HomeCheck
from port42_daemon.store.check.repair import Backup
from port42_daemon.store.check.sessions import SessionsCheck
from port42_daemon.store.index.index import SessionIndex
from port42_daemon.store.interface import CheckedSessions, CheckPosition, Maintenance
from port42_daemon.store.last_sessions import LastSessions
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.errors import storage
from port42_protocol.messages.doctor_and_stats import Finding, Usage


class HomeMaintenance(Maintenance):
    """The maintenance of `home`."""

    def __init__(
        self, home: Path, sessions: OpenSessions, last_sessions: LastSessions, index: SessionIndex
    ) -> None:
        self._home = home
        self._index = index
        self._home_check = HomeCheck(home, sessions, last_sessions, index)
        self._sessions_check = SessionsCheck(home, sessions)

    def check(self, backup: str | None) -> list[Finding]:
        with storage("look at the home"):
            return self._home_check.check(self._backup(backup))

    def check_sessions(
        self, position: CheckPosition, seconds: float, in_turn: Callable[[str], bool], backup: str | None
    ) -> CheckedSessions:
        with storage("look at the sessions"):
            return self._sessions_check.check(position, seconds, in_turn, self._backup(backup))

    def check_partial(self, session_id: str, backup: str | None) -> Finding | None:
        with storage(f"read session {session_id}"):
            return self._sessions_check.check_partial(session_id, self._backup(backup))

    def rebuild_index(self) -> None:
        self._index.rebuild()

    def usage(self, agent: str | None) -> Usage:
        with storage("look at the home"):
            return usage(self._home, self._index.sizes(), agent)

    def _backup(self, name: str | None) -> Backup | None:
        return Backup(self._home, name) if name else None
