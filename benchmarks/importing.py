"""The rate of an import, compared with writing the same files durably."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import scene
from benchmarks.figure import Figure

GROUP = "an import"


def measure(sessions: int, messages: int) -> list[Figure]:
    """`sessions` transcripts of Claude Code, each of `messages`; then the same again, when nothing is new."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        for number in range(sessions):
            (folder / f"{number:08}.jsonl").write_bytes(_transcript(number, messages))
        first = _timed(lambda: _import(connection, folder))
        again = _timed(lambda: _import(connection, folder))
        # Not `status`, which waits for no index.
        if sum(one["session_count"] for one in connection.call("list_agents")["agents"]) != sessions:
            raise RuntimeError("sessions are missing")
        data = _transcript(0, messages)
        raw = _timed(lambda: [_write(folder / f"raw-{number}", data) for number in range(sessions)])
    what = f"{sessions:,} sessions of {messages} messages"
    return [
        Figure(GROUP, what, first * 1000, "ms", "their files written durably", raw * 1000),
        Figure(GROUP, "the same again, all here already", again * 1000, "ms", "the first time", first * 1000),
    ]


def _transcript(number: int, messages: int) -> bytes:
    def entry(place: int) -> str:
        role = "assistant" if place % 2 else "user"
        said = {"role": role, "model": "claude-sonnet-4-5", "content": f"{number} {place} " + "word " * 60}
        when = f"2026-01-15T10:{place // 60 % 60:02}:{place % 60:02}.000Z"
        return json.dumps({"type": role, "sessionId": f"s{number}", "message": said, "timestamp": when})

    return "".join(entry(place) + "\n" for place in range(messages)).encode()


def _import(connection: scene.Connection, folder: Path) -> None:
    asked = {"path": str(folder), "agent": "ai-engineer", "format": "claude"}
    while cursor := connection.call("import_sessions", **asked)["next_cursor"]:
        asked["cursor"] = cursor


def _write(path: Path, data: bytes) -> None:
    aside = path.with_suffix(".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, data)
    os.fdatasync(descriptor)
    os.close(descriptor)
    aside.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
