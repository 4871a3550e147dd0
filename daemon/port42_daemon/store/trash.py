"""The trash: deleted sessions that can be restored. A file's name has the session's id, time and agent.

``cli-1757350466684.20261123T033711042Z.ai-muse.json``: a deletion is one rename, also on a full disk.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from port42_daemon import durable
from port42_daemon.store.session_file.cache import OpenSessions, load
from port42_daemon.store.session_file.document import Damaged, Document
from port42_protocol.errors import SessionDamaged, SessionExists, SessionNotFound
from port42_protocol.messages.forks_and_trash import TrashedSession
from port42_protocol.messages.records import Summary
from port42_protocol.messages.types import ID_PATTERN, NAME_PATTERN
from port42_protocol.times import now

T = TypeVar("T")
log = logging.getLogger(__name__)

NAME = re.compile(
    rf"(?P<id>{ID_PATTERN})\.(?P<at>\d{{8}}T\d{{9}}Z)\.(?P<agent>{NAME_PATTERN})\.json", re.ASCII
)
_AT = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z")
_SET_ASIDE = ".json.damaged-"
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Entry(msgspec.Struct, frozen=True, order=True, gc=False):
    """One file in the trash, from its name; in the order of the times."""

    at: str
    session_id: str
    agent: str

    @classmethod
    def of(cls, trashed_at: str, session_id: str, agent: str) -> Entry:
        """`trashed_at`: RFC 3339."""
        return cls(re.sub(r"[-:.]", "", trashed_at), session_id, agent)

    @property
    def name(self) -> str:
        return f"{self.session_id}.{self.at}.{self.agent}.json"

    @property
    def trashed_at(self) -> str:
        return _AT.sub(r"\1-\2-\3T\4:\5:\6.\7Z", self.at)


class Trash:
    """The folder, and a cache of its names. Callers hold the session's lock. Methods raise OSError."""

    def __init__(self, folder: Path, sessions: OpenSessions) -> None:
        self._folder = folder
        self._sessions = sessions
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._seen: tuple[int, int] | None = None

    def has(self, session_id: str) -> bool:
        """One stat, unless another program changed the folder."""
        return session_id in self._names()

    def entries(self, agent: str | None) -> list[Entry]:
        """Those of an agent, or all, the latest first."""
        entries = self._names().values()
        return sorted((entry for entry in entries if agent in {None, entry.agent}), reverse=True)

    def shown(self, entry: Entry) -> TrashedSession | None:
        """None where its file is gone or is not a session."""
        try:
            summary, size = self._read(entry, lambda file, session: (session.summary, os.fstat(file).st_size))
        except (SessionNotFound, SessionDamaged, OSError) as error:
            log.warning("⚠ %s in the trash: %s", entry.name, error)
            return None
        fields = msgspec.structs.asdict(summary)
        return TrashedSession(**fields, trashed_at=entry.trashed_at, bytes=size)

    def reading(self, session_id: str, action: Callable[[int, Document], T]) -> T:
        """Run `action` on the session's file here. Raises `SessionNotFound`, `SessionDamaged`."""
        return self._read(self._entry(session_id), action)

    def put(self, summary: Summary) -> None:
        entry = Entry.of(now(), summary.session_id, summary.agent)
        with self._changing() as folder:
            durable.move(self._sessions.path(summary.session_id), folder / entry.name)
            self._entries[entry.session_id] = entry

    def take(self, session_id: str) -> None:
        """Move the session's file back. Raises `SessionNotFound`, `SessionExists`."""
        entry, path = self._entry(session_id), self._sessions.path(session_id)
        if os.path.lexists(path):
            raise SessionExists(session_id)
        with self._changing() as folder:
            durable.move(folder / entry.name, path)
            self._entries.pop(session_id, None)

    def purge(self, entries: list[Entry]) -> set[str]:
        """Delete those that are still here for good, and what recoveries set aside of them.

        Returns the ids of these sessions.
        """
        with self._changing() as folder:
            entries = [entry for entry in entries if self._entries.get(entry.session_id) == entry]
            durable.remove([folder / entry.name for entry in entries])
            for entry in entries:
                self._entries.pop(entry.session_id, None)
        gone = {entry.session_id for entry in entries}
        names = os.listdir(self._sessions.folder)  # noqa: PTH208  # as below
        aside = [name for name in names if _SET_ASIDE in name and name.partition(_SET_ASIDE)[0] in gone]
        durable.remove([self._sessions.folder / name for name in aside])
        return gone

    def _entry(self, session_id: str) -> Entry:
        entry = self._names().get(session_id)
        if entry is None:
            raise SessionNotFound(session_id[:64])
        return entry

    def _read(self, entry: Entry, action: Callable[[int, Document], T]) -> T:
        try:
            file = os.open(self._folder / entry.name, _FLAGS)
        except FileNotFoundError:
            raise SessionNotFound(entry.session_id) from None
        try:
            return action(file, load(entry.session_id, file))
        except Damaged as damage:
            raise SessionDamaged(entry.session_id, str(damage)) from None
        finally:
            os.close(file)

    def _names(self) -> dict[str, Entry]:
        with self._lock:
            try:
                status = self._folder.lstat()
            except FileNotFoundError:
                return {}
            if not stat.S_ISDIR(status.st_mode):
                return {}  # then sessions cannot be deleted, and that is all
            if self._seen != _signature(status):
                # Another program changed it. Of two files with the same id the later one counts.
                names = sorted(os.listdir(self._folder))  # noqa: PTH208  # names are all that is wanted
                matches = filter(None, map(NAME.fullmatch, names))
                self._entries = {
                    match["id"]: Entry(match["at"], match["id"], match["agent"]) for match in matches
                }
                self._seen = _signature(status)
            return dict(self._entries)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Path]:
        """The folder, made if need be. The block changes it and `_entries`, which then need no scan."""
        with self._lock:
            if self._folder.is_symlink():
                raise durable.FolderRefused(f"{self._folder.name} is not a folder")
            durable.own_folder(self._folder)
            self._names()
            yield self._folder
            self._seen = _signature(self._folder.lstat())


def _signature(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ino
