"""The sources that are to be read: those that change now before those that were there before."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from port42_daemon.transfer.capture.tools import Tool

AT_ONCE = 64
"""Sources that are read in turns, a batch of each."""


class Pending:
    """Each source once, with its tool."""

    def __init__(self) -> None:
        self._changed: dict[Path, Tool] = {}
        """In the order in which they changed."""
        self._backlog: dict[Path, Tool] = {}
        """In the order of their times."""
        self._folders: dict[Path, list[Path]] = {}
        """The backlog's sources by folder."""
        self._after_turn: dict[Path, Tool] = {}
        self._later: dict[Path, tuple[float, Tool]] = {}
        """Sources that are read again at a time, if they do not change before."""
        self._times: list[tuple[float, Path]] = []
        """Their times, as a heap; some are of sources that were read, or put off, since."""

    def add(self, path: Path, tool: Tool) -> None:
        """A source that changes now. Older ones of its folder come before it: it may be a copy of one."""
        for other in self._folders.pop(path.parent, ()):
            if (waiting := self._backlog.pop(other, None)) is not None:
                self._changed[other] = waiting
        self._changed.setdefault(path, tool)

    def add_later(self, path: Path, tool: Tool) -> None:
        """A source that was there before."""
        self._backlog[path] = tool
        self._folders.setdefault(path.parent, []).append(path)

    def add_after_turn(self, path: Path, tool: Tool) -> None:
        """A source that is read when a turn of Port42 has ended."""
        self._after_turn[path] = tool

    def add_at(self, when: float, path: Path, tool: Tool) -> None:
        """A source that is read then, by the clock of `take_due`, or when it changes."""
        self._later[path] = when, tool
        heapq.heappush(self._times, (when, path))

    def add_due(self, now: float) -> float | None:
        """Add those whose time has come; returns the next one's."""
        while self._times:
            when, path = self._times[0]
            later = self._later.get(path)
            if later is not None and later[0] == when:
                if when > now:
                    return when
                del self._later[path]
                self.add(path, later[1])
            heapq.heappop(self._times)
        return None

    def begun(self, path: Path) -> None:
        """It is read now."""
        self._later.pop(path, None)

    def turn_ended(self) -> bool:
        """Whether sources waited for that."""
        waited = bool(self._after_turn)
        self._changed |= self._after_turn
        self._after_turn.clear()
        return waited

    def is_in_backlog(self, path: Path) -> bool:
        return path in self._backlog

    def take(self, running: Collection[Path]) -> tuple[Path, Tool, bool] | None:
        """The next source, while those of `running` are read, and whether it changes now.

        One place is kept for sources that do.
        """
        for sources, places in ((self._changed, AT_ONCE), (self._backlog, AT_ONCE - 1)):
            if len(running) < places:
                for path in islice(sources, 2 * AT_ONCE):
                    if path not in running:
                        return path, sources.pop(path), sources is self._changed
        if not self._backlog:
            self._folders.clear()
        return None

    def count(self, tool: Tool) -> int:
        queues = (self._changed, self._backlog, self._after_turn)
        return sum([*queue.values()].count(tool) for queue in queues)
