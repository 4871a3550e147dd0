"""The rate of an import, compared with writing the same files durably."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import cpu, scene
from benchmarks.figure import Figure

GROUP = "an import"
AGE = 3600.0
"""Seconds since the sources were written."""


def measure(sessions: int, messages: int) -> list[Figure]:
    """`sessions` transcripts of Claude Code, each of `messages`; then the same again, when nothing is new."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        size = write_transcripts(folder, sessions, messages)
        age(folder)
        clock = cpu.clock_of(daemon.pid)
        before = time.clock_gettime(clock)
        first = timed(lambda: import_all(daemon, connection, folder))
        spent = time.clock_gettime(clock) - before
        again = timed(lambda: import_all(daemon, connection, folder))
        # Not `status`, which waits for no index.
        if sum(one["session_count"] for one in connection.call("list_agents")["agents"]) != sessions:
            raise RuntimeError("sessions are missing")
        data = transcript(0, messages)
        kept = [path.read_bytes() for path in (daemon.home / "sessions").glob("*.json")]
        durable = timed(
            lambda: [write(folder / f"kept-{number}", content) for number, content in enumerate(kept)]
        )
        raw = timed(lambda: [write(folder / f"raw-{number}", data) for number in range(sessions)])
    what = f"{sessions:,} sessions of {messages} messages"
    return [
        Figure(GROUP, what, first * 1000, "ms", "their files written durably", raw * 1000),
        Figure(GROUP, "the same", first * 1000, "ms", "the sessions written durably", durable * 1000, 3),
        Figure(GROUP, "each MB of source", first * 1e9 / size, "ms", aim=25),
        Figure(GROUP, "CPU time for each MB, its part of the index's included", spent * 1e9 / size, "ms"),
        Figure(GROUP, "the same again, all here already", again * 1000, "ms", "the first time", first * 1000),
    ]


def transcript(number: int, messages: int) -> bytes:
    """As Claude Code writes one: a prompt, then replies with a tool call and its result each."""
    lines = []
    parent = None
    for place in range(messages):
        uuid = f"{number:08x}-0000-4000-8000-{place:012x}"
        usage = {
            "input_tokens": 12,
            "cache_read_input_tokens": 18_000,
            "output_tokens": 140,
            "service_tier": "standard",
        }
        message: dict[str, object] = {"role": "user", "content": f"{number} {place} " + "word " * 60}
        if place % 4 == 1:
            text = {"type": "text", "text": "word " * 60}
            message = {"role": "assistant", "id": f"msg_{place}", "content": [text], "usage": usage}
        elif place % 4 == 2:
            given = {"command": f"grep -rn parser{place} src", "description": "Find the parser"}
            call = {"type": "tool_use", "id": f"toolu_{number}_{place}", "name": "Bash", "input": given}
            message = {"role": "assistant", "id": f"msg_{place}", "content": [call], "usage": usage}
        elif place % 4 == 3:
            output = f"src/a.py:{place}: parser\n" * 20
            result = {"type": "tool_result", "tool_use_id": f"toolu_{number}_{place - 1}", "content": output}
            message = {"role": "user", "content": [result]}
        entry = {
            "parentUuid": parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": "/home/ada/parser",
            "sessionId": f"s{number}",
            "version": "2.1.45",
            "gitBranch": "main",
            "type": message["role"],
            "message": {"model": "claude-sonnet-4-5", **message},
            "uuid": uuid,
            "timestamp": f"2026-01-15T{10 + place // 3600:02}:{place // 60 % 60:02}:{place % 60:02}.000Z",
        }
        if place % 4 == 3:
            entry["toolUseResult"] = {"stdout": output, "stderr": "", "interrupted": False}
        lines.append(json.dumps(entry) + "\n")
        parent = uuid
    return "".join(lines).encode()


def write_transcripts(folder: Path, sessions: int, messages: int) -> int:
    """A file for each session; gives the bytes of all."""
    folder.mkdir(exist_ok=True)
    for number in range(sessions):
        (folder / f"{number:08}.jsonl").write_bytes(transcript(number, messages))
    return sum(path.stat().st_size for path in folder.iterdir())


def age(folder: Path) -> None:
    """Make the files an hour old, as most are: a program may still go on with younger ones."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - AGE, time.time() - AGE))


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
