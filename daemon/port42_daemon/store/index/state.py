"""The state of the index: its phase, the transitions, and the threads that wait for one."""

from __future__ import annotations

import logging
import threading
from enum import Enum

log = logging.getLogger(__name__)


class Phase(Enum):
    """The phase; the values are those of the protocol's `IndexState`, where RECOVERING is ``behind``."""

    SCANNING = "rebuilding"
    """Rows are compared with the files: every question waits."""
    RECOVERING = "recovering"
    """Lists have all but the damaged sessions, which are recovered now: what needs all sessions waits."""
    STALE = "behind"
    """Lists are right; some messages are still to be read: searches are incomplete, keys wait."""
    READY = "ready"
    UNUSABLE = "unusable"
    """Files are not read now: lists are answered from existing rows, keys fail."""


class IndexState:
    """The phase, changed from any thread by the transitions below. Each is logged."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.phase = Phase.SCANNING
        self.work = threading.Event()
        """Set when there is something for the indexer's thread to do."""
        self.reason: str | None = None
        """Why `index.db` is not used or not up to date; for a person, without a path."""

    def wake(self) -> None:
        if not self.work.is_set():  # asked first: every append calls this, and `set` takes a lock
            self.work.set()

    def begin_scan(self) -> None:
        """Any → SCANNING: the rows may be wrong."""
        self._enter(Phase.SCANNING, *Phase)

    def mark_listed(self, *, damaged: bool) -> None:
        """SCANNING or UNUSABLE → STALE, or RECOVERING: the rows are those of the files but damaged ones."""
        self._enter(Phase.RECOVERING if damaged else Phase.STALE, Phase.SCANNING, Phase.UNUSABLE)

    def mark_recovered(self) -> None:
        """RECOVERING → STALE: of damaged sessions, too."""
        self._enter(Phase.STALE, Phase.RECOVERING)

    def mark_stale(self) -> None:
        """READY → STALE: some session must be read from its file."""
        self._enter(Phase.STALE, Phase.READY)
        self.wake()

    def mark_caught_up(self) -> None:
        """STALE → READY: every message is in the index."""
        self._enter(Phase.READY, Phase.STALE)

    def give_up(self, reason: str) -> None:
        """Any but READY → UNUSABLE: whoever waits goes on, and fails where that matters."""
        self.reason = reason
        self._enter(Phase.UNUSABLE, Phase.SCANNING, Phase.RECOVERING, Phase.STALE)

    def wait_listed(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.phase is not Phase.SCANNING)

    @property
    def is_recovered(self) -> bool:
        return self.phase not in {Phase.SCANNING, Phase.RECOVERING}

    def wait_recovered(self) -> bool:
        """Wait until no session is to be recovered; False if the indexer has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_recovered)
            return self.phase is not Phase.UNUSABLE

    def wait_caught_up(self, timeout: float | None = None) -> bool:
        """Wait until no session is stale; False if the indexer has stopped, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.phase in {Phase.READY, Phase.UNUSABLE}, timeout)
            return self.phase is Phase.READY

    def _enter(self, phase: Phase, *allowed: Phase) -> None:
        with self._changed:
            if self.phase in allowed and self.phase is not phase:
                log.debug("index: %s → %s", self.phase.value, phase.value)
                self.phase = phase
                self._changed.notify_all()
