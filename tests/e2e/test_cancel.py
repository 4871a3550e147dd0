"""`$/cancel` against a real daemon, sent with what it cancels: answered at once, and nothing half done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data" / "imports"
CANCELLED = -32800


@pytest.fixture
def kept(daemon):
    daemon.call("create_session", agent="ai-muse", session_id="cli-1", title="a lantern")
    for number in range(300):
        content = f"lantern {number}"
        daemon.call("append_message", agent="ai-muse", session_id="cli-1", role="user", content=content)
    return daemon


def cancelled(daemon, method, **params):
    """The answer to a request that is cancelled before it began, and the methods that were notified."""
    lines = [
        {"jsonrpc": "2.0", "id": "x", "method": method, "params": params},
        {"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": "x"}},
        {"jsonrpc": "2.0", "id": "end", "method": "status"},
    ]
    answers, notified = {}, 0
    with daemon.connect() as peer, peer.makefile("rb") as received:
        peer.sendall("".join(json.dumps(line) + "\n" for line in lines).encode())
        while len(answers) < 2:
            message = json.loads(received.readline())
            if "method" in message:
                notified += 1
            else:
                answers[message["id"]] = message
    assert "result" in answers["end"], "the connection goes on"
    return answers["x"], notified


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("search_sessions", {"query": "lantern"}),
        ("get_session", {"session_id": "cli-1"}),
        ("export_session", {"session_id": "cli-1"}),
        ("subscribe", {"session_id": "cli-1", "since_seq": 0}),
        ("list_sessions", {}),
        ("stats", {}),
        ("check_home", {}),
    ],
)
def test_what_only_reads_is_answered_with_the_error(kept, method, params):
    answer, notified = cancelled(kept, method, **params)
    assert answer["error"]["code"] == CANCELLED
    assert answer["error"]["data"]["kind"] == "request_cancelled"
    assert notified == 0
    status = kept.call("status")
    assert (status["subscriptions"], status["internal_errors"]) == (0, [])


def test_an_import_ends_after_the_sources_that_it_reads_together(daemon, tmp_path):
    """What it wrote stays, whole, with the agent's last session; the next import does the rest."""
    count = 200
    for number in range(count):
        shutil.copy(DATA / "aichat" / "sessions" / "refactoring.yaml", tmp_path / f"{number:03}.yaml")
    params = {"path": str(tmp_path), "agent": "ai-muse", "format": "aichat"}
    answer, _ = cancelled(daemon, "import_sessions", **params)
    assert answer["error"]["code"] == CANCELLED
    stored = len(daemon.call("list_sessions", limit=500)["sessions"])
    assert 0 < stored < count
    assert daemon.call("get_last_session", agent="ai-muse")["message_count"]
    imported, unchanged, cursor = 0, 0, None
    while True:
        page = daemon.call("import_sessions", **params, **({"cursor": cursor} if cursor else {}))
        imported, unchanged = imported + len(page["imported"]), unchanged + page["unchanged"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert (imported, unchanged) == (count - stored, stored)


def test_what_writes_is_completed(kept):
    answer, _ = cancelled(kept, "rename_session", session_id="cli-1", title="a lamp")
    assert answer["result"]["title"] == "a lamp"
