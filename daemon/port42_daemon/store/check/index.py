"""Whether `index.db` can be read, and says of the sessions what their files say. Derived data: mending it
is making it anew, so nothing of it is kept."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from port42_daemon.store.check.backup import Backup
from port42_daemon.store.check.finding import mended, shown
from port42_daemon.store.check.verify import owner
from port42_daemon.store.index.index import Index
from port42_daemon.store.index.indexer import CatchingUp
from port42_daemon.store.index.tokens import unpack
from port42_daemon.store.session_file.cache import OpenSessions
from port42_protocol.messages.doctor_and_stats import Finding

_LOOKED_THROUGH_WITHIN = 10.0
"""Seconds for all pages of the file; what is not looked at by then is not said to be bad."""
_ANEW_WITHIN = 10.0
_STEPS = 10_000
_MAKES_ANEW = "`port42 doctor --fix` makes it anew from the sessions; until then lists and search may fail"


class IndexCheck:
    """Looks at the index of one home. Its methods block."""

    def __init__(self, path: Path, sessions: OpenSessions, index: Index, catching_up: CatchingUp) -> None:
        self._path = path
        self._sessions = sessions
        self._index = index
        self._catching_up = catching_up

    def check(self, backup: Backup | None) -> list[Finding]:
        """One finding at the least. Raises OSError."""
        if why := self._unreadable():
            found = Finding("problem", "index", f"index.db {why}", _MAKES_ANEW, mendable=True)
            return [mended(found, backup, self._anew)]
        try:
            if stale := self._stale():
                return [self._catch_up(stale, backup)]
            state = self._index.status()
        except sqlite3.Error:
            found = Finding("problem", "index", "index.db cannot be asked", _MAKES_ANEW, mendable=True)
            return [mended(found, backup, self._anew)]
        behind = f", {state.sessions_behind:,} still to be read into it" if state.sessions_behind else ""
        return [Finding("ok", "index", f"{state.sessions:,} sessions, as their files are{behind}")]

    def _unreadable(self) -> str | None:
        """What is wrong with the file itself."""
        if not os.path.lexists(self._path):
            return "is gone"
        if not self._path.is_file() or self._path.is_symlink():
            return "is not a file"
        try:
            # A connection of its own, so that nobody waits who has something to ask.
            database = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        except sqlite3.Error:
            return "cannot be opened"
        try:
            return None if _is_sound(database) else "is damaged"
        except sqlite3.DatabaseError:
            return "cannot be read"
        finally:
            database.close()

    def _stale(self) -> list[str]:
        """The sessions of which it says something else than their files."""
        self._index.counts()  # waits, at a start, until every file was looked at
        known = self._index.files()
        there = {session_id: (size, mtime_ns) for session_id, size, mtime_ns in self._sessions.scan()}
        differing = [one for one in known.keys() | there.keys() if known.get(one) != there.get(one)]
        return [session_id for session_id in sorted(differing) if self._is_stale(session_id)]

    def _is_stale(self, session_id: str) -> bool:
        # Under the lock: whoever appends tells the index before letting go of it.
        with self._sessions.lock(session_id):
            known, there = self._index.file(session_id), self._sessions.signature(session_id)
            if known is None and there is not None:
                # What cannot be read as a session is rightly not in it.
                return owner(self._sessions.path(session_id), session_id) is not None
            return known != there

    def _catch_up(self, stale: list[str], backup: Backup | None) -> Finding:
        def look(_: Backup) -> str:
            self._catching_up.look_at(stale)
            return "read anew"

        more = f" and {len(stale) - 1:,} more" if len(stale) > 1 else ""
        what = f"index.db does not know {stale[0]}{more} as the files are now"
        do = "`port42 doctor --fix` reads them anew; so does the daemon when it lists them"
        return mended(Finding("notice", "index", what, do, mendable=True), backup, look)

    def _anew(self, backup: Backup) -> str:
        if os.path.lexists(self._path) and (self._path.is_symlink() or not self._path.is_file()):
            moved = f", what was there moved to {shown(Path(backup.take(self._path).name))} in backups"
        else:
            moved = ""
        self._catching_up.rebuild()
        begun = self._catching_up.begun_anew.wait(_ANEW_WITHIN)
        return ("made anew" if begun else "being made anew") + moved


def _is_sound(database: sqlite3.Connection) -> bool:
    """Whether SQLite finds nothing wrong in its pages, as far as it comes in time."""
    until = time.monotonic() + _LOOKED_THROUGH_WITHIN
    database.create_function("unpack", 1, unpack, deterministic=True)
    database.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        return bool(database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        if time.monotonic() > until:
            return True
        raise
