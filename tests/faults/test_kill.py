"""kill -9 at random moments under writers, and stops without number: what was acknowledged stays."""

from __future__ import annotations

import collections
import contextlib
import json
import random
import threading
from typing import Any

import pytest


class Writer(threading.Thread):
    """One client with an agent of its own: begins sessions and adds to them until the daemon is gone."""

    def __init__(self, daemon: Any, name: str, acknowledged: threading.Semaphore) -> None:
        super().__init__()
        self.agent, self._daemon, self._acknowledged = name, daemon, acknowledged
        self._random = random.Random(name)
        self.last: str = daemon.call("create_session", agent=self.agent)["session_id"]
        self.kept: dict[str, list[tuple[int, str]]] = collections.defaultdict(list)
        self.unanswered: dict[str, Any] | None = None

    def run(self) -> None:
        with contextlib.suppress(OSError), self._daemon.connect() as peer, peer.makefile("rb") as lines:
            while True:
                params = self.unanswered = self._next()
                request = {"jsonrpc": "2.0", "id": 1, "method": "possess", "params": params}
                peer.sendall(json.dumps(request).encode() + b"\n")
                line = lines.readline()
                if not line.endswith(b"\n"):
                    return
                self.note(params, json.loads(line)["result"])
                self._acknowledged.release()

    def _next(self) -> dict[str, Any]:
        key = f"{self.agent}/{sum(map(len, self.kept.values()))}"
        message = key + "x" * self._random.choice([1, 50, 5000])
        params = {"agent": self.agent, "message": message, "idempotency_key": key}
        if self.kept and self._random.random() < 0.8:
            params["session_id"] = self._random.choice(list(self.kept))
        return params

    def note(self, params: dict[str, Any], result: dict[str, Any]) -> None:
        self.last = result["session_id"]
        self.kept[self.last].append((result["seq"], params["message"]))
        self.unanswered = None


def kill_and_check(daemon: Any, round_: int, writers: int) -> None:
    """Writers at work, kill -9 in the middle of it, a new daemon: all that was acknowledged is there."""
    acknowledged = threading.Semaphore(0)
    crew = [Writer(daemon, f"writer-{round_}-{number}", acknowledged) for number in range(writers)]
    for writer in crew:
        writer.start()
    for _ in range(random.Random(round_).randrange(1, 12 * writers)):
        assert acknowledged.acquire(timeout=30)
    daemon.kill()
    for writer in crew:
        writer.join()
    daemon.start()
    for writer in crew:
        last = daemon.call("get_last_session", agent=writer.agent)["session_id"]
        params = writer.unanswered
        assert params is not None
        # Nobody was told of it, so it may be there or not; asked again with its key it is there once.
        result = daemon.call("possess", **params)
        assert daemon.call("possess", **params) == result
        assert last in {writer.last, result["session_id"]}
        writer.note(params, result)
        assert daemon.call("get_last_session", agent=writer.agent)["session_id"] == writer.last
        for session_id, kept in writer.kept.items():
            got = daemon.call("get_session", session_id=session_id, agent=writer.agent)["messages"]
            assert [(record["seq"], record["content"]) for record in got] == kept
        assert len(daemon.call("list_sessions", agent=writer.agent)["sessions"]) == 1 + len(writer.kept)
    for path in (daemon.home / "sessions").glob("*.json"):
        json.loads(path.read_bytes())
    json.loads((daemon.home / "agent_sessions.json").read_bytes())


def test_kill_under_writers(daemon):
    for round_ in range(3):
        kill_and_check(daemon, round_, 4)


@pytest.mark.torture
def test_kill_under_eight_writers_a_hundred_times(daemon):
    for round_ in range(100):
        kill_and_check(daemon, round_, 8)


def stop_start_last(daemon: Any, rounds: int) -> None:
    """Four sessions of one agent, stop, start: `last` is the one used last, not the newest."""
    sessions = [daemon.call("possess", agent="ai-engineer", message="hello")["session_id"] for _ in range(4)]
    for round_ in range(rounds):
        used = random.Random(round_).choice(sessions)
        daemon.call("possess", agent="ai-engineer", message=f"round {round_}", session_id=used)
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.call("get_last_session", agent="ai-engineer")["session_id"] == used
        assert daemon.call("find_session", ref="last", agent="ai-engineer")["session_id"] == used


def test_last_is_right_after_a_restart(daemon):
    stop_start_last(daemon, 2)


@pytest.mark.torture
def test_last_is_right_after_twenty_restarts(daemon):
    stop_start_last(daemon, 20)
