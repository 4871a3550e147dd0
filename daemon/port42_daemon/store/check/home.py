"""What is looked at in the home beside the sessions themselves: permissions, the index, the mapping."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from port42_daemon.store.check.backup import Backup
from port42_daemon.store.check.finding import mended, open_to_others, shown
from port42_daemon.store.check.index import IndexCheck
from port42_daemon.store.check.verify import owner
from port42_daemon.store.index.indexer import CatchingUp
from port42_daemon.store.last_sessions import Mapping
from port42_daemon.store.session_file.cache import OpenSessions
from port42_protocol.messages.doctor_and_stats import Finding

_MAPPING = "agent_sessions.json"


class Care:
    """Findings about one home. Its methods block; OSError may leave them."""

    def __init__(
        self,
        home: Path,
        sessions: OpenSessions,
        mapping: Mapping,
        catching_up: CatchingUp,
        index: IndexCheck,
    ) -> None:
        self._home = home
        self._sessions = sessions
        self._mapping = mapping
        self._catching_up = catching_up
        self._index = index

    def check(self, backup: Backup | None) -> list[Finding]:
        """Permissions, the index, the mapping: one finding each at the least."""
        # In this order: the mapping is mended from what the index says.
        return [*self._permissions(backup), *self._index.check(backup), *self._last_sessions(backup)]

    # --- permissions ------------------------------------------------------------------------------

    def _permissions(self, backup: Backup | None) -> list[Finding]:
        open_places, found = [], []
        for path in (self._home, *sorted(self._home.iterdir())):
            try:
                there = path.stat() if path == self._home else path.lstat()
            except FileNotFoundError:
                continue  # a socket or a file written aside
            if stat.S_ISLNK(there.st_mode):
                continue  # what it leads to is its own owner's affair
            if there.st_uid != os.geteuid():
                what = f"{shown(Path(path.name))} belongs to another user (uid {there.st_uid})"
                found.append(Finding("problem", "permissions", what, "have it given to you: chown"))
            elif stat.S_IMODE(there.st_mode) & 0o077:
                open_places.append(path)
        found += open_to_others(open_places, self._home, backup)
        return found or [Finding("ok", "permissions", "nobody else can look into the home")]

    # --- the mapping ------------------------------------------------------------------------------

    def _last_sessions(self, backup: Backup | None) -> list[Finding]:
        known = self._mapping.agents()
        newest = {
            agent: session_id
            for agent, session_id in self._catching_up.newest().items()
            if owner(self._sessions.path(session_id), session_id) == agent
        }
        found = [*self._mapping_file(backup), *self._set_aside(backup)]
        for agent, session_id in sorted(known.items()):
            if (whose := owner(self._sessions.path(session_id), session_id)) != agent:
                found.append(self._wrong(agent, session_id, whose, newest.get(agent), backup))
        without = sorted(newest.keys() - known.keys())
        found += [self._missing(agent, newest[agent], backup) for agent in without]
        return found or [Finding("ok", "mapping", f"the last sessions of {len(known):,} agents are there")]

    def _mapping_file(self, backup: Backup | None) -> Iterator[Finding]:
        if self._mapping.is_written():
            return

        def write(backup: Backup) -> str:
            path = self._home / _MAPPING
            if os.path.lexists(path):
                backup.take(path)
            self._mapping.write_anew()
            return "written anew"

        what = f"{_MAPPING} is not what the daemon wrote"
        do = "`port42 doctor --fix` writes it anew; nothing is lost while the daemon runs"
        yield mended(Finding("problem", "mapping", what, do, mendable=True), backup, write)

    def _set_aside(self, backup: Backup | None) -> Iterator[Finding]:
        for path in sorted(self._home.glob(f"{_MAPPING}.damaged-*")):

            def take(backup: Backup, path: Path = path) -> str:
                return f"moved to {shown(backup.take(path).relative_to(self._home))}"

            what = f"{shown(Path(path.name))} is what {_MAPPING} was before it was rebuilt"
            do = "`port42 doctor --fix` moves it into backups"
            yield mended(Finding("notice", "mapping", what, do, mendable=True), backup, take)

    def _wrong(
        self, agent: str, session_id: str, whose: str | None, newest: str | None, backup: Backup | None
    ) -> Finding:
        following = None if newest == session_id else newest
        instead = f"@{agent} goes on with {following}" if following else f"@{agent} has no session any more"

        def change(backup: Backup) -> str:
            backup.keep(self._home / _MAPPING)
            self._mapping.change(agent, session_id, following)
            return f"now {instead}"

        why = f"is @{whose}'s" if whose else "no longer exists, or cannot be read"
        what = f"{session_id}, the last session of @{agent}, {why}"
        do = f"`port42 doctor --fix`: then {instead}"
        return mended(Finding("problem", "mapping", what, do, mendable=True), backup, change)

    def _missing(self, agent: str, newest: str, backup: Backup | None) -> Finding:
        def put(backup: Backup) -> str:
            backup.keep(self._home / _MAPPING)
            self._mapping.set(agent, newest)
            return f"it is {newest} now"

        what = f"@{agent} has sessions, and none of them is known as its last"
        do = f"`port42 doctor --fix` makes it {newest}, the one used last"
        return mended(Finding("problem", "mapping", what, do, mendable=True), backup, put)
