"""Checks every file in `sessions` and `trash`, some at a time: what is damaged, left over or foreign.

Files are read without locks; what looks damaged is read again under its session's lock, for an append
may have been under way. With a backup, findings are repaired.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from port42_daemon.store import trash
from port42_daemon.store.check.repair import Backup, foreign, moved, open_to_others, repaired, shown
from port42_daemon.store.check.verify import NewerFormat, NotASession, inspect
from port42_daemon.store.interface import CheckedSessions, CheckPosition
from port42_daemon.store.session_file import checkpoint
from port42_daemon.store.session_file.cache import OpenSessions
from port42_daemon.store.session_file.document import Damaged
from port42_daemon.store.session_file.salvage import header_of, recover
from port42_protocol.counting import count
from port42_protocol.messages.doctor_and_stats import Finding
from port42_protocol.messages.types import ID_PATTERN

_FOLDERS = ("sessions", "trash")
_MAX_FINDINGS = 500
_KEY_BYTES = 100
_TEMPORARY_SECONDS = 60.0
"""After which a temporary file is taken for one that a crash left."""

_ID = f"(?P<id>{ID_PATTERN})"
_SESSION = {"sessions": re.compile(_ID + r"\.json", re.ASCII), "trash": trash.NAME}
_PARTIAL = re.compile(_ID + re.escape(checkpoint.SUFFIX), re.ASCII)
_SET_ASIDE = re.compile(_ID + r"\.json\.damaged-.*", re.ASCII)


class SessionsCheck:
    """Of one home."""

    def __init__(self, home: Path, sessions: OpenSessions) -> None:
        self._home = home
        self._sessions = sessions

    def check(
        self, position: CheckPosition, seconds: float, in_turn: Callable[[str], bool], backup: Backup | None
    ) -> CheckedSessions:
        """Check the files after `position` for so many seconds, at least one of them. Raises OSError.

        `in_turn` says of a session whether its `.partial` is being written. It is called from this thread.
        """
        until = time.monotonic() + seconds
        names = [
            (folder, name)
            for folder in _FOLDERS[_FOLDERS.index(position.folder) :]
            for name in _names(self._home / folder, position.key if folder == position.folder else b"")
        ]
        findings: list[Finding] = []
        partial, open_paths = [], []
        examined, next_position = 0, None
        for folder, name in names:
            here = CheckPosition(folder, name[:_KEY_BYTES])
            # Names that begin alike stay together: a position could not tell them apart.
            if examined and here != position and (time.monotonic() > until or len(findings) >= _MAX_FINDINGS):
                next_position = position
                break
            position, examined = here, examined + 1
            path = self._home / folder / os.fsdecode(name)
            try:
                status = path.lstat()
            except OSError:
                continue  # gone meanwhile
            if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
                open_paths.append(path)
            if folder == "sessions" and (match := _PARTIAL.fullmatch(path.name)):
                if not in_turn(match["id"]):
                    partial.append(match["id"])
            elif finding := self._check_file(path, status, backup):
                findings.append(finding)
        findings += open_to_others(open_paths, self._home, backup)
        return CheckedSessions(findings, partial, examined, len(names) - examined, next_position)

    def check_partial(self, session_id: str, backup: Backup | None) -> Finding | None:
        """The finding about a `.partial` that no turn is writing; None when it is gone by now.

        With a backup it is kept there; the caller records it.
        """
        path = self._sessions.path(session_id).with_suffix(checkpoint.SUFFIX)
        if not path.exists():
            return None
        what = f"session {session_id} has a turn that was cut off and is not recorded"
        do = "`port42 doctor --fix` records what there is of it; so does the daemon's next start"

        def keep(backup: Backup) -> str:
            backup.keep(path)
            return "recorded now"

        return repaired(Finding("notice", "sessions", what, do), backup, keep)

    def _check_file(self, path: Path, status: os.stat_result, backup: Backup | None) -> Finding | None:
        name = self._name(path)
        if status.st_uid != os.geteuid():
            return foreign(name, status.st_uid)
        if match := _SESSION[path.parent.name].fullmatch(path.name):
            try:
                odd = inspect(path, match["id"])
            except (Damaged, NotASession, OSError):
                with self._sessions.lock(match["id"]):
                    return self._check_session(path, match["id"], backup)
            what = f"{name} can be read, but {odd}"
            return Finding("notice", "sessions", what, "correct it in the file") if odd else None
        temporary = path.name.startswith(".") and path.name.endswith(".new")
        if temporary and time.time() - status.st_mtime < _TEMPORARY_SECONDS:
            return None
        if match := _SET_ASIDE.fullmatch(path.name):
            what = f"{name} is what session {match['id']} was before it was recovered"
        else:
            what = f"{name} is not a file of port42's"
        return moved(Finding("notice", "sessions", what), path, backup)

    def _check_session(self, path: Path, session_id: str, backup: Backup | None) -> Finding | None:
        """The finding about a session, whose lock is held."""
        name = self._name(path)
        try:
            inspect(path, session_id)
        except FileNotFoundError:
            return None  # deleted meanwhile
        except NewerFormat as newer:
            return Finding("problem", "sessions", f"{name} is of a newer version: {newer}", "update port42")
        except OSError as error:
            what = f"{name} cannot be read: {os.strerror(error.errno or 0).lower()}"
            return Finding("problem", "sessions", what, "look at its permissions, and at its disk")
        except (NotASession, Damaged) as damage:
            return self._damaged(path, session_id, damage, backup)
        return None

    def _damaged(self, path: Path, session_id: str, damage: Exception, backup: Backup | None) -> Finding:
        """The finding about a damaged or foreign file. Files that can be read are not moved."""
        name = self._name(path)
        try:
            real_id = header_of(path, session_id).id
        except (Damaged, OSError):
            what = f"{name} cannot be read as a session: {damage}"
            return moved(Finding("problem", "sessions", what), path, backup)
        if real_id != session_id:
            what = f"{name} is session {shown(Path(real_id[:64]))} under another name, and in no list"
            return Finding("problem", "sessions", what, "rename it to that, or `port42 import` it")

        def recover_it(backup: Backup) -> str:
            kept, lost, _ = recover(path, session_id, backup.keep)
            if path.parent == self._sessions.folder:
                self._sessions.forget(session_id)
                # Read anew, so that the index is told of it.
                os.close(self._sessions.open(session_id, os.O_RDONLY)[0])
            return f"recovered, {count(kept, 'message')} kept, {count(lost, 'line')} lost"

        do = "`port42 doctor --fix` recovers what can be read of it"
        finding = Finding("problem", "sessions", f"{name} is damaged: {damage}", do)
        return repaired(finding, backup, recover_it)

    def _name(self, path: Path) -> str:
        return shown(path.relative_to(self._home))


def _names(folder: Path, key: bytes) -> list[bytes]:
    """The names in `folder` after those that begin with `key`, in order."""
    try:
        # As bytes, of which ten thousand are listed and sorted in a few milliseconds.
        return sorted(name for name in os.listdir(os.fsencode(folder)) if name[:_KEY_BYTES] > key)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
