"""Turns: the daemon's overhead over a back end, many concurrent streams, memory of each turn."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from benchmarks import scene
from benchmarks.figure import Figure, median
from port42_daemon.backends.base import Backend, Permission, Text, Turn
from port42_daemon.backends.presets import build
from port42_daemon.config import OpenAIBackend

GROUP = "turns, a model server of the openai kind on the same machine"
_PER_SECOND = 50
_CONNECTIONS = 10


@contextmanager
def _model() -> Iterator[str]:
    """A model server in a process of its own; gives its base URL."""
    with scene.peer("model", "-") as place:
        yield f"http://127.0.0.1:{place.read_text()}/v1"


@contextmanager
def _daemon(base_url: str) -> Iterator[scene.Daemon]:
    """A daemon whose agent `a` is answered by that server."""
    config = (
        f'[agents.a]\nbackend = "m"\n[backends.m]\ntype = "openai"\nmodel = "m"\nbase_url = "{base_url}"\n'
    )
    with scene.daemon() as daemon:
        (daemon.home / "config.toml").write_text(config)
        yield daemon


def measure(turns: int, deltas: int) -> list[Figure]:
    """The first delta, and each one after it, through the daemon and of the back end itself."""
    with _model() as base_url, _daemon(base_url) as daemon:
        through: list[tuple[int, int]] = []
        direct: list[tuple[int, int]] = []
        with uvloop_loop() as loop:
            backend = build(OpenAIBackend(model="m", base_url=base_url))
            assert backend is not None
            for number in range(turns + 2):
                pair = (_through(daemon, deltas), loop.run_until_complete(_direct(backend, deltas)))
                if number > 1:  # connections are made and modules loaded by then
                    through.append(pair[0])
                    direct.append(pair[1])
            loop.run_until_complete(backend.aclose())
    each = [[(end - first) // deltas for first, end in one] for one in (through, direct)]
    firsts = [[first for first, _ in one] for one in (through, direct)]
    return [
        Figure(
            GROUP, "request to first delta", median(firsts[0]), "µs", "the back end itself", median(firsts[1])
        ),
        Figure(GROUP, "each delta", median(each[0]), "µs", "the back end itself", median(each[1]), aim=1.6),
    ]


@contextmanager
def uvloop_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The daemon's own kind of loop, so that the comparison is about the daemon."""
    loop = uvloop.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


async def _no_permission(_: Permission) -> None:
    return None


async def _direct(backend: Backend, deltas: int) -> tuple[int, int]:
    """Nanoseconds until the first delta and until the end."""
    began, first = time.perf_counter_ns(), 0
    async for event in backend.run(Turn("s", json.dumps([deltas, 0])), _no_permission):
        if not first and isinstance(event, Text):
            first = time.perf_counter_ns() - began
    return first, time.perf_counter_ns() - began


def _through(daemon: scene.Daemon, deltas: int) -> tuple[int, int]:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.socket))
        line = scene.request("possess", agent="a", message=json.dumps([deltas, 0]), stream=True)
        began, first, data = time.perf_counter_ns(), 0, b""
        peer.sendall(line)
        while b'"result":' not in data or not data.endswith(b"\n"):
            data = data[-64_000:] + peer.recv(256 * 1024)
            if not first and b'"kind":"text"' in data:
                first = time.perf_counter_ns() - began
        return first, time.perf_counter_ns() - began


def measure_many(streams: int, seconds: float) -> list[Figure]:
    """Concurrent streams, the daemon on one core: the delay of other clients."""
    with _model() as base_url, _daemon(base_url) as daemon, scene.connected(daemon.socket) as prober:
        if hasattr(os, "sched_setaffinity"):
            for task in Path(f"/proc/{daemon.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {min(os.sched_getaffinity(0))})
        prober.call("create_session", agent="b")
        before = _resident(daemon.pid)
        asked = scene.request("possess", agent="a", message=json.dumps([10**9, _PER_SECOND]), stream=True)
        peers = [_connected(daemon) for _ in range(_CONNECTIONS)]
        try:
            for number in range(streams):
                peers[number % len(peers)].sendall(asked)
            _read(peers, 2.0, prober)  # all of them have begun by then
            spent = _spent(daemon.pid)
            heard, waits = _read(peers, seconds, prober)
            spent = _spent(daemon.pid) - spent
            each = (_resident(daemon.pid) - before) / streams
        finally:
            for peer in peers:
                peer.close()
    group = f"{streams} streams of {_PER_SECOND} deltas a second, the daemon on one core"
    late = 1 - heard / (streams * _PER_SECOND * seconds)
    return [
        Figure(group, "deltas that come late", 100 * late, "%", aim=2),
        Figure(group, "CPU time, of one core", 100 * spent / seconds, "%", aim=67),
        Figure(group, "others wait, median", statistics.median(waits) * 1000, "ms"),
        Figure(group, "others wait, longest", max(waits) * 1000, "ms"),
        Figure(group, "resident memory of each turn", each * 1024, "KiB"),
    ]


def _connected(daemon: scene.Daemon) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(daemon.socket))
    return peer


def _read(peers: list[socket.socket], seconds: float, prober: scene.Connection) -> tuple[int, list[float]]:
    """Read all that comes; gives how many deltas did, and what each of the prober's requests took."""
    heard, waits = 0, []
    until = time.perf_counter() + seconds
    ask = scene.request("get_last_session", agent="b")
    while (now := time.perf_counter()) < until:
        prober.ask(ask)
        waits.append(time.perf_counter() - now)
        for peer in select.select(peers, [], [], 0.002)[0]:
            heard += peer.recv(4 * 1024 * 1024).count(b'"kind":"text"')
    return heard, waits


def _spent(pid: int) -> float:
    """Seconds of processor time."""
    shown = subprocess.run(["ps", "-o", "cputimes=", "-p", str(pid)], capture_output=True, check=True)
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return float(shown.stdout)
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
    return int(shown.stdout) / 1024
