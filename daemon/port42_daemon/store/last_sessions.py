"""`agent_sessions.json`: which session each agent used last, durable at every change."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from port42_daemon import durable
from port42_protocol.messages.types import AgentName, SessionId

_decoder = msgspec.json.Decoder(dict[AgentName, SessionId])


class MappingDamaged(Exception):
    """The file is there and is not a mapping of agents to sessions."""


class Mapping:
    """The mapping in memory and on the disk. Safe to call from several threads.

    Writers that meet share one write: whoever waits while a newer state is being written is done
    when that is, so a hundred new sessions at once do not cost a hundred renames.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, str] = {}
        self._version = self._saved = 0
        self._state = threading.Lock()
        self._writing = threading.Lock()

    def load(self) -> bool:
        """Read the file; False when there is none. Raises `MappingDamaged` and OSError."""
        try:
            self._last = _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            return False
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MappingDamaged(str(error)) from None
        return True

    def rebuild(self, last: dict[str, str]) -> None:
        """Start again from what the sessions themselves say."""
        self._last = dict(last)
        self._version += 1
        self.save()

    def get(self, agent: str) -> str | None:
        """The session that `agent` used last."""
        return self._last.get(agent)

    def agents(self) -> dict[str, str]:
        """Every agent and its last session."""
        with self._state:
            return dict(self._last)

    def set(self, agent: str, session_id: str) -> None:
        """`agent` used `session_id` now. On the disk when this returns; nothing written if known.

        After an OSError the new state stands in memory and is written with the next change or at
        the stop: the session was used, whatever the disk says of the mapping.
        """
        with self._state:
            if self._last.get(agent) == session_id and self._saved == self._version:
                return
            self._last[agent] = session_id
            self._version += 1
        self.save()

    def change(self, agent: str, gone: str, following: str | None) -> None:
        """`agent` goes on with `following`, or with none, if `gone` is still its last. Kept as in `set`."""
        with self._state:
            if self._last.get(agent) != gone:
                return
            if following is None:
                del self._last[agent]
            else:
                self._last[agent] = following
            self._version += 1
        self.save()

    def is_written(self) -> bool:
        """Whether the file says what is so: nobody else wrote it, or took it away. Raises OSError."""
        with self._writing, self._state:
            try:
                return self._saved != self._version or _decoder.decode(self._path.read_bytes()) == self._last
            except FileNotFoundError:
                return not self._last
            except (msgspec.DecodeError, UnicodeDecodeError):
                return False

    def write_anew(self) -> None:
        """Write the file, whatever it says now. Raises OSError."""
        with self._state:
            self._version += 1
        self.save()

    def save(self) -> None:
        """Write what is not on the disk yet. Raises OSError."""
        wanted = self._version
        with self._writing:
            if self._saved >= wanted:
                return
            with self._state:
                version, data = self._version, msgspec.json.encode(self._last)
            durable.replace(self._path, msgspec.json.format(data, indent=2) + b"\n")
            self._saved = version
