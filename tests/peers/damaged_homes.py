"""A home with a file of every kind, and what must be so whatever becomes of some of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

MESSAGES = [f"message {number} " + "y" * 30 for number in range(12)]
SOUND = ["sound-1", "sound-2"]
KINDS = {
    "session": "sessions/hurt-1.json",
    "mapping": "agent_sessions.json",
    "partial": "sessions/hurt-2.partial",
    "config": "config.toml",
    "format": "format.json",
    "address": "daemon.json",
    "trash": "trash/",
    "index": "index.db",
    "index log": "index.db-wal",
}


def make(start_daemon: Callable[..., Any], home: Path) -> None:
    """The home, as a killed daemon leaves it: `SOUND` sessions, and hurt ones, which tests may change."""
    daemon = start_daemon(home=home, config='[agents.ada]\nsystem = "You are Ada."\n')
    for session_id in (*SOUND, "hurt-1", "hurt-2", "gone-1"):
        daemon.call("create_session", agent="ada", session_id=session_id, title=session_id)
        for number, content in enumerate(MESSAGES):
            role = ("user", "assistant")[number % 2]
            daemon.call("append_message", agent="ada", session_id=session_id, role=role, content=content)
    daemon.call("delete_session", session_id="gone-1")
    daemon.kill()
    turn = {"agent": "ada", "session_id": "hurt-2", "question": 11, "turn": {"backend": "b"}}
    (home / "sessions" / "hurt-2.partial").write_text(json.dumps(turn) + '\n"half a reply"\n')


def texts(daemon: Any, session_id: str) -> list[str]:
    """A session's messages."""
    page = daemon.call("get_session", session_id=session_id, limit=10_000)
    return [message["content"] for message in page["messages"]]


def check(daemon: Any) -> None:
    """Every question is answered, sound sessions are whole, and no other is missing in silence."""
    listed = {row["session_id"] for row in daemon.call("list_sessions", limit=500)["sessions"]}
    assert set(SOUND) <= listed
    for session_id in SOUND:
        assert texts(daemon, session_id) == MESSAGES
        daemon.call("append_message", agent="ada", session_id=session_id, role="user", content="after")
        assert texts(daemon, session_id) == [*MESSAGES, "after"]
    told = findings(daemon)
    for session_id in ("hurt-1", "hurt-2"):
        named = any(session_id in text for text in told)
        assert session_id in listed or named, f"{session_id} is missing in silence"
        if session_id in listed:
            answer = daemon.ask({"jsonrpc": "2.0", "id": 1, "method": "get_session", "params": [session_id]})
            if "error" in answer:
                assert answer["error"]["data"]["kind"] in {"session_damaged", "storage_failed"}, answer
                assert named, answer
    for method in ("list_agents", "list_trash", "status", "stats", "disk_usage", "get_index_status"):
        daemon.call(method)
    daemon.call("search_sessions", query="message")
    assert "Traceback" not in daemon.log()


def findings(daemon: Any) -> list[str]:
    """What `check_home` says is not as it should be."""
    lines, cursor = [], None
    while True:
        page = daemon.call("check_home", cursor=cursor)
        lines += [f"{one['about']} {one['what']}" for one in page["findings"] if one["level"] != "ok"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return lines
