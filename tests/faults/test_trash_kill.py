"""kill -9 while sessions go to the trash and come back: each is in one place afterwards, and whole."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

COUNT = 40


def test_after_a_kill_each_session_is_in_one_place(daemon):
    for number in range(COUNT):
        session_id = f"cli-{number}"
        daemon.call("create_session", agent="ai-muse", session_id=session_id)
        daemon.call("append_message", agent="ai-muse", session_id=session_id, role="user", content=session_id)
    for at_least in (3, 9):
        acknowledged: dict[str, str] = {}
        enough = threading.Event()
        working = threading.Thread(target=_to_and_fro, args=(daemon, acknowledged, enough, at_least))
        working.start()
        assert enough.wait(30)
        daemon.kill()
        working.join()
        daemon.start()
        here = {session["session_id"] for session in daemon.call("list_sessions", limit=500)["sessions"]}
        trashed = {session["session_id"] for session in daemon.call("list_trash", limit=500)["sessions"]}
        assert not here & trashed
        assert here | trashed == {f"cli-{number}" for number in range(COUNT)}
        unanswered = acknowledged.pop("unanswered", None)
        for session_id, place in acknowledged.items():
            if session_id != unanswered:
                assert (session_id in here) == (place == "here")
        last = daemon.call("get_last_session", agent="ai-muse")["session_id"]
        assert last in here
        for session_id in here:
            (message,) = daemon.call("get_session", session_id=session_id)["messages"]
            assert message["content"] == session_id


def _to_and_fro(daemon: Any, acknowledged: dict[str, str], enough: threading.Event, at_least: int) -> None:
    """Delete every session but the first two, newest first, and bring every third one back, until the end."""
    steps = []
    for number in reversed(range(2, COUNT)):
        steps.append(("delete_session", f"cli-{number}", "trash"))
        if number % 3 == 0:
            steps.append(("restore_session", f"cli-{number}", "here"))
    with contextlib.suppress(OSError), daemon.connect() as peer, peer.makefile("rb") as lines:
        for count, (method, session_id, place) in enumerate(steps):
            acknowledged["unanswered"] = session_id
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": [session_id]}
            peer.sendall(json.dumps(request).encode() + b"\n")
            line = lines.readline()
            if not line.endswith(b"\n"):
                return
            if "result" in json.loads(line):
                acknowledged[session_id] = place
            if count == at_least:
                enough.set()
        enough.set()
