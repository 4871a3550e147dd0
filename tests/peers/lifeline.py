"""Whether processes have ended, told by the kernel: each holds a named pipe open for as long as it lives."""

from __future__ import annotations

import os
import select
from pathlib import Path
from types import TracebackType

_WITHIN = 15.0


class Lifeline:
    """Processes take hold of it by opening `path` for writing; their children inherit that, if told to."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "lifeline")
        os.mkfifo(self.path)
        # A reader first, or a writer would wait for one.
        self._end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def held(self) -> bool:
        """Whether one of them lives. (Asked only once one has taken hold.)"""
        return not select.select([self._end], [], [], 0)[0]

    def released(self) -> bool:
        """Whether the last of them ends within some seconds."""
        return bool(select.select([self._end], [], [], _WITHIN)[0])

    def __enter__(self) -> Lifeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._end)
