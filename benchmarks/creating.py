"""What a new session costs when there are none, and when there are many."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks import scene
from benchmarks.clock import interleave
from benchmarks.figure import Figure, median

GROUP = "a new session"
_TIMED, _BLOCK = 100, 10


def measure(sessions: int) -> list[Figure]:
    """The first hundred in one daemon beside the last hundred of `sessions` in another, in turn."""
    with contextlib.ExitStack() as stack:
        empty = stack.enter_context(scene.connected(stack.enter_context(scene.daemon()).socket))
        full = stack.enter_context(scene.connected(stack.enter_context(scene.daemon()).socket))
        # The clock runs one block more than it counts.
        for _ in range(sessions - _TIMED - _BLOCK):
            _create(full)
        actions = {
            "first": lambda: _create(empty),
            "last": lambda: _create(full),
            "raw": _raw(stack.enter_context(scene.folder())),
        }
        samples = interleave(actions, _TIMED // _BLOCK, _BLOCK)
        if full.call("status")["sessions"] != sessions:
            raise RuntimeError("sessions are missing")
    first, last, raw = (median(samples[name]) for name in ("first", "last", "raw"))
    what = f"the last hundred of {sessions:,}, median"
    return [
        Figure(GROUP, what, last, "µs", "the first hundred", first, aim=1.1),
        Figure(GROUP, what, last, "µs", "two files replaced durably", raw),
    ]


def _create(connection: scene.Connection) -> None:
    connection.call("create_session", agent="ai-engineer")


def _raw(folder: Path) -> Callable[[], object]:
    """What durable means here: a new file, and the mapping's in place of the old one."""
    number = iter(range(1_000_000))

    def write(path: Path) -> None:
        aside = path.with_suffix(".new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, b"x" * 300)
        os.fsync(descriptor)
        os.close(descriptor)
        aside.replace(path)
        parent = os.open(path.parent, os.O_RDONLY)
        os.fsync(parent)
        os.close(parent)

    def create() -> None:
        write(folder / f"session-{next(number)}.json")
        write(folder / "mapping.json")

    return create
