"""The files of sessions and trash gone through, a stretch at a time: what is damaged, left over or foreign.

It reads without locks; what looks damaged is looked at again under its session's lock, for an append
may have been under way. With a backup it repairs what it finds.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Container
from pathlib import Path

import msgspec

from port42_daemon.store import trash_names
from port42_daemon.store.check.backup import Backup
from port42_daemon.store.check.finding import mended, open_to_others, shown
from port42_daemon.store.check.verify import Newer, NotOurs, inspect
from port42_daemon.store.session_file import checkpoint
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.document import Damaged
from port42_daemon.store.session_file.salvage import recover
from port42_protocol.messages.doctor_and_stats import Finding

FOLDERS = ("sessions", "trash")
_MOST_FINDINGS = 500
_KEY_BYTES = 100
_SETTLED = 60.0
"""Seconds after which a file that is being written aside is taken for one that was left."""

_ID = r"(?P<id>[A-Za-z0-9][A-Za-z0-9_-]{0,63})"
_SESSION = {
    "sessions": re.compile(_ID + r"\.json", re.ASCII),
    "trash": trash_names.NAME,
}
_PARTIAL = re.compile(_ID + re.escape(checkpoint.SUFFIX), re.ASCII)
_SET_ASIDE = re.compile(_ID + r"\.json\.damaged-.*", re.ASCII)
_MOVES = "`port42 doctor --fix` moves it into backups"
_MAKES_WHOLE = "`port42 doctor --fix` makes it whole from what can be read of it"


class Place(msgspec.Struct, frozen=True):
    """How far a sweep is: behind the names in `folder` that begin with `key` (bytes, at most 100)."""

    folder: str = FOLDERS[0]
    key: bytes = b""


class Swept(msgspec.Struct, frozen=True):
    """One stretch: what was found, the sessions with a `.partial`, how many files were and are left to be
    looked at, and where to go on; None at the end."""

    findings: list[Finding]
    partial: list[str]
    examined: int
    remaining: int
    place: Place | None


class Sweep:
    """Goes through the folders of `home`. `made_whole` is told, under its lock, of each session mended."""

    def __init__(self, home: Path, sessions: OpenSessions, made_whole: Callable[[str], None]) -> None:
        self._home = home
        self._sessions = sessions
        self._made_whole = made_whole

    def stretch(self, place: Place, seconds: float, in_turn: Container[str], backup: Backup | None) -> Swept:
        """Look at files behind `place` for so many seconds; at one of them at the least. Raises OSError."""
        until = time.monotonic() + seconds
        left = [
            (folder, name)
            for folder in FOLDERS[FOLDERS.index(place.folder) :]
            for name in _names(self._home / folder, place.key if folder == place.folder else b"")
        ]
        look = _Look(self._home, self._sessions, self._made_whole, in_turn, backup)
        done, following = 0, None
        for folder, name in left:
            here = Place(folder, name[:_KEY_BYTES])
            # Names that begin alike stay together: a place could not tell them apart.
            if done and here != place and (time.monotonic() > until or len(look.findings) >= _MOST_FINDINGS):
                following = place
                break
            look.at(self._home / folder / os.fsdecode(name))
            place, done = here, done + 1
        findings = look.findings + open_to_others(look.open, self._home, backup)
        return Swept(findings, look.partial, done, len(left) - done, following)

    def partial(self, session_id: str, backup: Backup | None) -> Finding | None:
        """What is to be said of a `.partial` that no turn is writing; None when it is gone by now.

        With a backup it is kept there; the caller records it.
        """
        path = self._sessions.path(session_id).with_suffix(checkpoint.SUFFIX)
        if not path.exists():
            return None
        found = Finding(
            level="notice",
            about="sessions",
            what=f"session {session_id} has a turn that was cut off and is not recorded",
            do="`port42 doctor --fix` records what there is of it; so does the daemon's next start",
            mendable=True,
        )

        def keep(backup: Backup) -> str:
            backup.keep(path)
            return "recorded now"

        return mended(found, backup, keep)


class _Look:
    """What one stretch comes upon."""

    def __init__(
        self,
        home: Path,
        sessions: OpenSessions,
        made_whole: Callable[[str], None],
        in_turn: Container[str],
        backup: Backup | None,
    ) -> None:
        self._home = home
        self._sessions = sessions
        self._made_whole = made_whole
        self._in_turn = in_turn
        self._backup = backup
        self.findings: list[Finding] = []
        self.partial: list[str] = []
        self.open: list[Path] = []

    def at(self, path: Path) -> None:
        """Look at one file, and note what is to be said of it."""
        try:
            found = path.lstat()
        except OSError:
            return  # gone meanwhile
        if not stat.S_ISLNK(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077:
            self.open.append(path)
        if said := self._finding(path, found):
            self.findings.append(said)

    def _finding(self, path: Path, found: os.stat_result) -> Finding | None:
        if found.st_uid != os.geteuid():
            what = f"{self._named(path)} belongs to another user (uid {found.st_uid})"
            return Finding("problem", "permissions", what, "have it given to you: chown")
        if fits := _SESSION[path.parent.name].fullmatch(path.name):
            return self._session(path, fits["id"])
        if path.parent == self._sessions.folder and (fits := _PARTIAL.fullmatch(path.name)):
            if fits["id"] not in self._in_turn:
                self.partial.append(fits["id"])
            return None
        aside = path.name.startswith(".") and path.name.endswith(".new")
        if aside and time.time() - found.st_mtime < _SETTLED:
            return None
        return self._stray(path)

    def _session(self, path: Path, session_id: str) -> Finding | None:
        try:
            inspect(path, session_id)
        except (Damaged, NotOurs, OSError):
            with self._sessions.lock(session_id):
                return self._locked(path, session_id)
        return None

    def _locked(self, path: Path, session_id: str) -> Finding | None:
        try:
            inspect(path, session_id)
        except FileNotFoundError:
            return None  # deleted meanwhile
        except Newer as newer:
            what, do = f"{self._named(path)} is of a newer version: {newer}", "update port42"
            return Finding("problem", "sessions", what, do)
        except NotOurs as not_ours:
            what = f"{self._named(path)} cannot be read as a session: {not_ours}"
            found = Finding("problem", "sessions", what, _MOVES, mendable=True)
            return mended(found, self._backup, lambda backup: self._taken(backup, path))
        except OSError as error:
            what = f"{self._named(path)} cannot be read: {os.strerror(error.errno or 0).lower()}"
            return Finding("problem", "sessions", what, "look at its permissions, and at its disk")
        except Damaged as damage:
            what = f"{self._named(path)} is damaged: {damage}"
            found = Finding("problem", "sessions", what, _MAKES_WHOLE, mendable=True)
            return mended(found, self._backup, lambda backup: self._recovered(backup, path, session_id))
        return None

    def _recovered(self, backup: Backup, path: Path, session_id: str) -> str:
        kept, lost, _ = recover(path, backup.keep)
        if path.parent == self._sessions.folder:
            self._sessions.forget(session_id)
            self._made_whole(session_id)
        return f"made whole, {kept:,} messages kept, {lost:,} lines lost"

    def _stray(self, path: Path) -> Finding:
        if fits := _SET_ASIDE.fullmatch(path.name):
            what = f"{self._named(path)} is what session {fits['id']} was before it was mended"
        else:
            what = f"{self._named(path)} is not a file of port42's"
        found = Finding("notice", "sessions", what, _MOVES, mendable=True)
        return mended(found, self._backup, lambda backup: self._taken(backup, path))

    def _taken(self, backup: Backup, path: Path) -> str:
        return f"moved to {shown(backup.take(path).relative_to(self._home))}"

    def _named(self, path: Path) -> str:
        return shown(path.relative_to(self._home))


def _names(folder: Path, key: bytes) -> list[bytes]:
    """The names in `folder` behind those that begin with `key`, in order."""
    try:
        # As bytes, which ten thousand names are listed and sorted as in a few milliseconds.
        return sorted(name for name in os.listdir(os.fsencode(folder)) if name[:_KEY_BYTES] > key)  # noqa: PTH208
    except FileNotFoundError:
        return []
