"""The end of a log, and what is added to it, across rotation."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

LOOK_EVERY = 0.2
"""Seconds between looks at a log that is followed: no system call waits for a rename portably."""


def last_lines(log: BinaryIO, number: int) -> Iterator[bytes]:
    """The last `number` lines; `log` stands at its end after them."""
    yield from deque(log, maxlen=number)


def following(log: BinaryIO, path: Path) -> Iterator[bytes]:
    """What is added to `log`, then to the file that takes its place at `path`; never ends."""
    try:
        while True:
            yield from log
            if not _replaced(log, path):
                time.sleep(LOOK_EVERY)
                continue
            # The last lines may have come between our last look and the rename.
            yield from log
            log.close()
            log = path.open("rb")
    finally:
        log.close()


def _replaced(log: BinaryIO, path: Path) -> bool:
    """Whether another file stands at `path` now, or the same one was emptied."""
    try:
        there, ours = path.stat(), os.fstat(log.fileno())
    except FileNotFoundError:
        return False  # between the rename and the new file
    return not os.path.samestat(there, ours) or there.st_size < log.tell()
