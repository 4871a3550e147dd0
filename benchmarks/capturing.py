"""The rate of a capture, compared with writing the same sessions durably; memory; the watcher's wake-ups."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import cpu, idling, importing, scene, transcripts
from benchmarks.figure import Figure
from benchmarks.transcripts import Transcripts

GROUP = "a capture"
_TIMES = 20


def measure(short: Transcripts, idle_seconds: float) -> list[Figure]:
    """Many sessions, all there when the capture begins."""
    with (
        scene.daemon() as daemon,
        scene.connected(daemon.socket) as connection,
        scene.folder() as folder,
        scene.folder() as other,
    ):
        projects = folder / "projects"  # the folder above is watched, too, and /tmp is busy
        size = short.write(projects)
        clock = cpu.clock_of(daemon.pid)
        before = time.clock_gettime(clock)
        first = importing.timed(lambda: capture_all(daemon, connection, projects, short.sessions))
        spent = time.clock_gettime(clock) - before
        kept = [path.read_bytes() for path in (daemon.home / "sessions").glob("*.json")]
        durable = importing.timed(
            lambda: [
                importing.write(other / f"kept-{number}", content) for number, content in enumerate(kept)
            ]
        )
        while not connection.call("get_index_status")["complete"]:
            time.sleep(0.05)
        figures = [
            Figure(
                GROUP,
                short.what,
                first * 1000,
                "ms",
                "the sessions written durably",
                durable * 1000,
                3,
            ),
            Figure(GROUP, "each MB of source", first * 1e9 / size, "ms", aim=25),
            Figure(GROUP, "CPU time for each MB, its part of the index's included", spent * 1e9 / size, "ms"),
            Figure(GROUP, "resident memory afterwards", idling.resident(daemon.pid), "MiB", aim=60),
            *_until_it_is_here(daemon, connection, projects),
        ]
        if Path("/proc/self/task").is_dir():
            woken = idling.wake_ups(daemon.pid, idle_seconds)
            figures.append(Figure(GROUP, f"wake-ups in {idle_seconds:g} s, watching", woken, "", aim=0))
        return figures


def _until_it_is_here(daemon: scene.Daemon, connection: scene.Connection, projects: Path) -> list[Figure]:
    """From the tool's write until a subscriber is told, and until a search finds it."""
    told, found = [], []
    with scene.connected(daemon.socket) as subscriber, (projects / "00000000.jsonl").open("ab") as transcript:
        subscriber.call("subscribe", agent="claude")
        for place in range(1_000, 1_000 + _TIMES):
            word = f"extraordinary{place}"
            began = time.perf_counter()
            transcript.write(transcripts.prompt(0, place, word))
            transcript.flush()
            while word.encode() not in subscriber.receive():
                pass
            told.append(time.perf_counter() - began)
            while not connection.call("search_sessions", query=word)["hits"]:
                pass
            found.append(time.perf_counter() - began)
    return [
        Figure(GROUP, "from the tool's write to a subscriber, at most", max(told) * 1000, "ms", aim=1000),
        Figure(GROUP, "… to a search that finds it, at most", max(found) * 1000, "ms", aim=1000),
    ]


def measure_usual(usual: Transcripts) -> list[Figure]:
    """A capture of sessions as they are; the time beside that of decoding their lines."""
    with scene.daemon() as daemon, scene.connected(daemon.socket) as connection, scene.folder() as folder:
        projects = folder / "projects"
        size = usual.write(projects)
        first = importing.timed(lambda: capture_all(daemon, connection, projects, usual.sessions))
        return importing.of_each(GROUP, usual, projects, first * 1e9 / size)


def capture_all(daemon: scene.Daemon, connection: scene.Connection, folder: Path, sessions: int) -> None:
    """Begin a capture of the folder, and wait until so many sessions are here."""
    connection.call("set_capture", name="claude", on=True, path=str(folder))
    # Nothing tells when all is captured. The daemon is asked last: an answer takes it up to 2 ms.
    while sum(1 for _ in (daemon.home / "sessions").glob("claude-*.json")) < sessions:
        time.sleep(0.02)
    while connection.call("get_capture")["tools"][0]["sessions"] < sessions:
        time.sleep(0.05)
    if connection.call("get_capture")["watching"] != "inotify":
        raise RuntimeError("the folder is not watched by inotify")
