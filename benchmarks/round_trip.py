"""`get_last_session` on a kept connection, against servers that do less for the same bytes."""

from __future__ import annotations

import contextlib

from benchmarks import scene
from benchmarks.clock import interleave
from benchmarks.figure import Figure, median, percentile

GROUP = "get_last_session, on a kept connection"
PEERS = {
    "raw": "raw echo, blocking",
    "uvloop": "uvloop echo, no JSON",
    "json": "streams, json",
    "rpc": "streams, jsonrpcserver as it comes",
}


def measure(rounds: int) -> list[Figure]:
    """Every server in a process of its own, in turn, with the one client."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(scene.connected(stack.enter_context(scene.daemon()).socket))
        ours.call("possess", agent="ai-engineer", message="build a parser")
        line = scene.request("get_last_session", agent="ai-engineer")
        answer = ours.ask(line)
        actions = {"ours": lambda: ours.ask(line)}
        for kind in PEERS:
            path = stack.enter_context(scene.peer(kind, answer.decode().strip()))
            theirs = stack.enter_context(scene.connected(path))
            actions[kind] = lambda theirs=theirs: theirs.ask(line)
        samples = interleave(actions, rounds, 100)
    own, raw = samples["ours"], samples["raw"]
    return [
        Figure(GROUP, "median", median(own), "µs", PEERS["raw"], median(raw), aim=4),
        *(
            Figure(GROUP, "median", median(own), "µs", PEERS[kind], median(samples[kind]))
            for kind in ("uvloop", "json", "rpc")
        ),
        Figure(GROUP, "10th percentile", percentile(own, 10), "µs", PEERS["raw"], percentile(raw, 10)),
        Figure(GROUP, "99th percentile", percentile(own, 99), "µs", PEERS["raw"], percentile(raw, 99)),
    ]
