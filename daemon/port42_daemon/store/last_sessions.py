"""`agent_sessions.json`: which session each agent used last, durable at every change."""

from __future__ import annotations

import threading
from pathlib import Path
from types import MappingProxyType

import msgspec

from port42_daemon import durable
from port42_daemon.store.session_file.document import UNDECODABLE
from port42_daemon.store.session_file.salvage import set_aside
from port42_protocol.encoding import encode
from port42_protocol.messages.types import AgentName, SessionId

_MAX_BYTES = 64 * 1024 * 1024
_UNREADABLE = (*UNDECODABLE, durable.NotReadable)
_decoder = msgspec.json.Decoder(dict[AgentName, SessionId])


class MappingDamaged(Exception):
    """The file is not a mapping of agents to sessions."""


class UseOrder:
    """Numbers for uses of sessions, each above all before: the time in milliseconds, unless a clock was set
    back. A session's file keeps that of its last use (docs/decisions/0028)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest, self._session_id = 0, ""

    def see(self, use: int, session_id: str = "") -> None:
        with self._lock:
            if use > self._latest:
                self._latest, self._session_id = use, session_id

    def next(self, session_id: str, now: int) -> int:
        """The number of a use of the session at `now` (milliseconds); successive uses may share one."""
        with self._lock:
            self._latest = max(now, self._latest + (session_id != self._session_id))
            self._session_id = session_id
            return self._latest


class LastSessions:
    """The mapping in memory and on the disk. Thread-safe; concurrent changes share one write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, str] = {}
        self.view = MappingProxyType(self._last)
        self._version = self._saved = 0
        self._changed: set[str] | None = None
        """While a rebuilding is not complete, the agents whose last session was set since it began."""
        self._state = threading.Lock()
        self._writing = threading.Lock()

    def load(self) -> bool:
        """Read the file; False where there is none. Raises `MappingDamaged` and OSError."""
        try:
            last = _decoder.decode(durable.read_file(self._path, _MAX_BYTES))
        except FileNotFoundError:
            return False
        except _UNREADABLE as error:
            raise MappingDamaged(str(error)) from None
        self._last.update(last)
        return True

    @property
    def is_complete(self) -> bool:
        return self._changed is None

    def begin_rebuilding(self, last: dict[str, str]) -> None:
        """Replace the mapping by what is known of it.

        Nothing is written until it is complete: each use is in its session, and a start finds it there.
        """
        with self._state:
            self._last.clear()
            self._last.update(last)
            self._changed = set()

    def complete(self, last: dict[str, str]) -> None:
        """Take `last` for the agents whose last session was not set meanwhile. Raises OSError."""
        with self._state:
            changed = self._changed or set()
            self._last.update({agent: last[agent] for agent in last.keys() - changed})
            self._version += 1
            self._changed = None  # at the end: it is asked without the lock
        self.save()

    def agents(self) -> dict[str, str]:
        """A copy of the mapping."""
        with self._state:
            return dict(self._last)

    def set(self, agent: str, session_id: str | None, instead_of: str | None = None) -> None:
        """As `SessionStore.set_last`; nothing is written where nothing changes.

        After an OSError the change is in memory, and is written with the next one or at the stop.
        """
        with self._state:
            known = self._last.get(agent)
            if instead_of not in {None, known}:
                return
            if self._changed is not None:
                self._changed.add(agent)
            if known == session_id and self._saved == self._version:
                return
            if session_id is None:
                self._last.pop(agent, None)
            else:
                self._last[agent] = session_id
            self._version += 1
        self.save()

    def is_written(self) -> bool:
        """Whether the file is up to date: not changed or removed by another program. Raises OSError.

        True, too, while it is still to be written.
        """
        with self._writing, self._state:
            try:
                return (
                    self._saved != self._version
                    or not self.is_complete
                    or _decoder.decode(durable.read_file(self._path, _MAX_BYTES)) == self._last
                )
            except FileNotFoundError:
                return not self._last
            except _UNREADABLE:
                return False

    def write_anew(self) -> None:
        """Write the file, whatever it contains now. Raises OSError."""
        with self._state:
            self._version += 1
        self.save()

    def save(self) -> None:
        """Write what is not on the disk yet. Raises OSError."""
        if not self.is_complete:
            return
        wanted = self._version
        with self._writing:
            if self._saved >= wanted:
                return
            with self._state:
                version, data = self._version, encode(self._last)
            text = msgspec.json.format(data, indent=2) + b"\n"
            try:
                durable.replace(self._path, text)
            except IsADirectoryError:  # a folder in the file's place
                set_aside(self._path)
                durable.replace(self._path, text)
            self._saved = version
