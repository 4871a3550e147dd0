"""Checks and repairs permissions, the index and the mapping of a home; `sessions` checks every session file.

Repairs use the code of a start: the index reads the files again, the mapping is rebuilt.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from port42_daemon.store.check.disk_usage import usage
from port42_daemon.store.check.repair import Backup, foreign, moved, open_to_others, repaired, shown
from port42_daemon.store.check.sessions import SessionsCheck
from port42_daemon.store.check.verify import owner
from port42_daemon.store.index.index import SessionIndex
from port42_daemon.store.interface import CheckedSessions, CheckPosition, Maintenance
from port42_daemon.store.last_sessions import LastSessions
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.errors import storage
from port42_daemon.store.trash import Trash
from port42_protocol.counting import count
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.doctor_and_stats import Finding, Usage

_MAPPING = "agent_sessions.json"
_FOLDERS = {"trash": "no session can be deleted", "backups": "nothing can be repaired"}
_REBUILD_SECONDS = 10.0
"""How long a repair waits until the new index takes the place of the old one."""


class HomeMaintenance(Maintenance):
    """Check and repair of one home."""

    def __init__(
        self, home: Path, sessions: OpenSessions, trash: Trash, mapping: LastSessions, index: SessionIndex
    ) -> None:
        self._home = home
        self._sessions = sessions
        self._trash = trash
        self._mapping = mapping
        self._index = index
        self._sessions_check = SessionsCheck(home, sessions)

    def check(self, backup: str | None) -> list[Finding]:
        kept = self._backup(backup)
        with storage("look at the home"):
            # In this order: the mapping is rebuilt from what the index says.
            permissions = list(self._permissions(kept))
            permissions = permissions or [
                Finding("ok", "permissions", "no other user can look into the home")
            ]
            index, mapping = self._check_index(kept), list(self._check_mapping(kept))
        agents = count(len(self._mapping.agents()), "agent")
        mapping = mapping or [Finding("ok", "mapping", f"the last sessions of {agents} are there")]
        return [*permissions, index, *mapping]

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

    def _permissions(self, backup: Backup | None) -> Iterator[Finding]:
        open_paths = []
        for path in (self._home, *sorted(self._home.iterdir())):
            try:
                status = path.stat() if path == self._home else path.lstat()
            except FileNotFoundError:
                continue  # a socket or a temporary file
            if path.name in _FOLDERS and not stat.S_ISDIR(status.st_mode):
                what = f"{path.name} is not a folder: {_FOLDERS[path.name]}"
                yield Finding("problem", "permissions", what, "move it out of the home")
            if path.name == "daemon.log" and not os.path.isfile(path):  # noqa: PTH113 - no error for a link to itself
                what = "daemon.log is not a file: what the daemon logs is lost"
                yield Finding("problem", "permissions", what, "move it, then: port42 daemon restart")
            if stat.S_ISLNK(status.st_mode):
                continue  # what it leads to is its own owner's affair
            if status.st_uid != os.geteuid():
                yield foreign(path.name, status.st_uid)
            elif stat.S_IMODE(status.st_mode) & 0o077:
                open_paths.append(path)
        yield from open_to_others(open_paths, self._home, backup)

    def _check_index(self, backup: Backup | None) -> Finding:
        try:
            status = self._index.status(
                read=False
            )  # waits until the index is open, and every file was looked at
            if problem := self._index.problem():
                return self._index_problem(f"index.db {problem}", backup)
            differing = self._index.differing()
        except StorageFailed as error:
            return Finding("problem", "index", error.message, "look at the disk, and at the daemon's log")
        if differing:
            more = f" and {len(differing) - 1:,} more" if len(differing) > 1 else ""
            what = f"index.db does not know {differing[0]}{more} as the files are now"
            do = "`port42 doctor --fix` reads them again; so does the daemon when it lists them"
            finding = Finding("notice", "index", what, do)
            return repaired(finding, backup, lambda _: self._read_again(differing))
        stale = f", {status.sessions_behind:,} still to be read into it" if status.sessions_behind else ""
        return Finding("ok", "index", f"{count(status.sessions, 'session')}, as on the disk{stale}")

    def _index_problem(self, what: str, backup: Backup | None) -> Finding:
        if self._index.state == "unusable":
            do = "make room on the disk, or end what else uses the file; it is used again by itself"
            return Finding("problem", "index", what, do)
        finding = Finding("problem", "index", what, "`port42 doctor --fix` rebuilds it from the sessions")
        return repaired(finding, backup, self._rebuild_index)

    def _rebuild_index(self, _: Backup) -> str:
        return "rebuilt" if self._index.rebuild(_REBUILD_SECONDS) else "being rebuilt"

    def _read_again(self, session_ids: list[str]) -> str:
        self._index.update(session_ids)
        return "read again"

    def _check_mapping(self, backup: Backup | None) -> Iterator[Finding]:
        mapping = self._mapping.agents()
        if not self._mapping.is_written():
            what = f"{_MAPPING} is not what the daemon wrote"
            do = "`port42 doctor --fix` writes it again; nothing is lost while the daemon runs"
            yield repaired(Finding("problem", "mapping", what, do), backup, self._write_mapping)
        for path in sorted(self._home.glob(f"{_MAPPING}.damaged-*")):
            what = f"{shown(Path(path.name))} is what {_MAPPING} was before it was rebuilt"
            yield moved(Finding("notice", "mapping", what), path, backup)
        try:
            newest = self._index.newest()
        except StorageFailed as error:
            yield Finding("problem", "mapping", error.message)
            return
        newest = {agent: newest[agent] for agent in newest if self._owner(newest[agent]) == agent}
        for agent in sorted(mapping.keys() | newest.keys()):
            session_id = mapping.get(agent)
            level: Literal["notice", "problem"] = "problem"
            if session_id is None:
                what = f"@{agent} has sessions, and none of them is known as its last"
            elif (whose := self._owner(session_id)) == agent:
                continue
            elif whose is None and self._trash.has(session_id):
                # A crash came between its deletion and the change of the mapping, or it is being deleted:
                # whoever asks for the last session is given the one used before.
                level, what = "notice", f"{session_id}, the last session of @{agent}, is in the trash"
            else:
                why = f"is @{whose}'s" if whose else "no longer exists, or cannot be read"
                what = f"{session_id}, the last session of @{agent}, {why}"
            yield self._wrong_last(
                Finding(level, "mapping", what), agent, session_id, newest.get(agent), backup
            )

    def _owner(self, session_id: str) -> str | None:
        return owner(self._sessions.path(session_id), session_id)

    def _wrong_last(
        self, finding: Finding, agent: str, wrong: str | None, newest: str | None, backup: Backup | None
    ) -> Finding:
        right = None if newest == wrong else newest
        do = f"`port42 doctor --fix` makes it {right}, the one used last"
        if right is None:
            do = f"`port42 doctor --fix`: then @{agent} has no session any more"

        def change(backup: Backup) -> str:
            backup.keep(self._home / _MAPPING)
            self._mapping.set(agent, right, wrong)
            return f"it is {right} now" if right else f"@{agent} has no session now"

        return repaired(replace(finding, do=do), backup, change)

    def _write_mapping(self, backup: Backup) -> str:
        path = self._home / _MAPPING
        if os.path.lexists(path):
            backup.move(path)
        self._mapping.write_anew()
        return "written again"
