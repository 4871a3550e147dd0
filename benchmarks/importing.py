"""The rate of an import, compared with writing the same files durably."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import cpu, scene
from benchmarks.figure import Figure
from benchmarks.transcripts import Transcripts

GROUP = "an import"


def measure(short: Transcripts) -> list[Figure]:
    """An import of many sessions; then the same again, when nothing is new."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        size = short.write(folder)
        clock = cpu.clock_of(daemon.pid)
        before = time.clock_gettime(clock)
        first = timed(lambda: import_all(daemon, connection, folder))
        spent = time.clock_gettime(clock) - before
        again = timed(lambda: import_all(daemon, connection, folder))
        # Not `status`, which waits for no index.
        if sum(one["session_count"] for one in connection.call("list_agents")["agents"]) != short.sessions:
            raise RuntimeError("sessions are missing")
        data = short.make(0)
        kept = [path.read_bytes() for path in (daemon.home / "sessions").glob("*.json")]
        durable = timed(
            lambda: [write(folder / f"kept-{number}", content) for number, content in enumerate(kept)]
        )
        raw = timed(lambda: [write(folder / f"raw-{number}", data) for number in range(short.sessions)])
    return [
        Figure(GROUP, short.what, first * 1000, "ms", "their files written durably", raw * 1000),
        Figure(GROUP, "the same", first * 1000, "ms", "the sessions written durably", durable * 1000, 3),
        Figure(GROUP, "each MB of source", first * 1e9 / size, "ms", aim=25),
        Figure(GROUP, "CPU time for each MB, its part of the index's included", spent * 1e9 / size, "ms"),
        Figure(GROUP, "the same again, all here already", again * 1000, "ms", "the first time", first * 1000),
    ]


def measure_usual(usual: Transcripts) -> list[Figure]:
    """An import of sessions as they are; the time beside that of decoding their lines."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        size = usual.write(folder)
        first = timed(lambda: import_all(daemon, connection, folder))
        return of_each(GROUP, usual, folder, first * 1e9 / size)


def of_each(group: str, usual: Transcripts, folder: Path, spent: float) -> list[Figure]:
    """`spent`: ms for each MB of the transcripts in the folder."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    decoding = timed(lambda: [msgspec.json.decode(line) for line in lines]) * 1e9 / sum(map(len, lines))
    what = f"each MB of {usual.what}"
    return [
        Figure(group, what, spent, "ms", aim=25),
        Figure(group, what, spent, "ms", "its JSON decoded", decoding),
    ]


def import_all(_: scene.Daemon, connection: scene.Connection, folder: Path, sessions: int = 0) -> None:  # noqa: ARG001  # as `capture_all`
    """Every page of an import."""
    asked = {"path": str(folder), "agent": "ai-engineer", "format": "claude"}
    while cursor := connection.call("import_sessions", **asked)["next_cursor"]:
        asked["cursor"] = cursor


def write(path: Path, data: bytes) -> None:
    aside = path.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    os.fdatasync(descriptor)
    os.close(descriptor)
    aside.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
