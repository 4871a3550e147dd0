"""Capture of a tool's files by a real daemon: new lines reach their session, once, whatever the tool does."""

from __future__ import annotations

import json
import time
import uuid

import pytest


class Transcript:
    """A session of Claude Code, as it writes it."""

    def __init__(self, folder, cwd="/home/ada/work"):
        self.id = str(uuid.uuid4())
        self.path = folder / cwd.replace("/", "-") / f"{self.id}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._cwd, self._last, self._second = cwd, None, 0

    def add(self, role, content, **fields):
        self._second += 1
        minute, second = divmod(self._second, 60)
        entry = {
            "parentUuid": self._last,
            "isSidechain": False,
            "userType": "external",
            "cwd": self._cwd,
            "sessionId": self.id,
            "version": "2.1.0",
            "type": role,
            "message": {"role": role, "content": content},
            "uuid": str(uuid.uuid4()),
            "timestamp": f"2026-11-20T10:{minute:02}:{second:02}.000Z",
            **fields,
        }
        self._last = entry["uuid"]
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def user(self, text):
        self.add("user", text)

    def assistant(self, *blocks):
        self.add(
            "assistant",
            [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks],
        )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claude" / "projects"


@pytest.fixture
def capturing(daemon, folder):
    """A daemon that captures Claude Code's sessions in `folder`."""
    folder.mkdir(parents=True)
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    return daemon


def eventually(look, seconds=10.0):
    """The first true value of `look`: capture is asynchronous, and this is how a client sees it."""
    until = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.01)
    return value


def sessions(daemon, agent="claude"):
    return daemon.call("list_sessions", agent=agent)["sessions"]


def texts(daemon, session_id):
    page = daemon.call("get_session", session_id=session_id, limit=10_000)
    return [message["content"] for message in page["messages"]]


def test_what_a_tool_writes_is_in_its_session(capturing, folder):
    transcript = Transcript(folder)
    transcript.user("build a parser")
    transcript.assistant("I build it.")
    (session,) = eventually(lambda: sessions(capturing))
    assert (session["agent"], session["cwd"]) == ("claude", "/home/ada/work")
    eventually(lambda: texts(capturing, session["session_id"]) == ["build a parser", "I build it."])
    transcript.user("and a lexer")
    eventually(lambda: texts(capturing, session["session_id"])[2:] == ["and a lexer"])
    assert capturing.call("get_last_session", agent="claude")["session_id"] == session["session_id"]
    assert "Traceback" not in capturing.log()
