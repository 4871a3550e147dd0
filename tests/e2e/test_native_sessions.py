"""A session that a tool keeps, too: continued here and there, each record once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from peers.talk import Talk

TOOL = Path(__file__).parents[1] / "peers" / "tool_claude.py"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "projects"
    folder.mkdir()
    return folder


@pytest.fixture
def daemon(start_daemon, folder):
    command = [sys.executable, "-S", str(TOOL), str(folder)]
    config = f"""
[agents.claude]
backend = "native"
[backends.native]
type = "command"
history = "native"
parser = "claude"
command = {json.dumps([*command, "--session-id", "{native_id}"])}
resume = {json.dumps([*command, "--resume", "{native_id}"])}
[capture.claude]
path = "{folder}"
"""
    return start_daemon(config=config)


def in_the_tool(folder, how, native_id, words, cwd):
    """The person speaks to the tool itself."""
    command = [sys.executable, "-S", TOOL, folder, how, native_id]
    subprocess.run(command, input=words, text=True, cwd=cwd, check=True, capture_output=True)


def begun_in_the_tool(daemon, folder, cwd):
    """A captured session of one turn: its id, and that in the tool."""
    native_id = str(uuid.uuid4())
    in_the_tool(folder, "--session-id", native_id, "one", cwd)
    until = time.monotonic() + 20
    while not (sessions := daemon.call("list_sessions")["sessions"]):
        assert time.monotonic() < until
        time.sleep(0.02)
    settles(daemon, sessions[0]["session_id"], "one")
    return sessions[0]["session_id"], native_id


def turn_of(words):
    return [
        ("user", words),
        ("thought", f"thinking of {words}"),
        ("assistant", f"Let me look at {words}."),
        ("tool", f"ls {words}"),
        ("assistant", f"Done with {words}."),
    ]


def outline(daemon, session_id):
    records = daemon.call("get_session", session_id=session_id, events=True, limit=1000)["messages"]
    return [
        (record["role"], record.get("content", record.get("title")))
        for record in records
        if record["role"] != "event"
    ]


def settles(daemon, session_id, *turns):
    """The session has these turns, and still has them once everything was read."""
    expected = [record for words in turns for record in turn_of(words)]
    until = time.monotonic() + 20
    while outline(daemon, session_id) != expected or daemon.call("get_capture")["tools"][0]["waiting"]:
        assert time.monotonic() < until, outline(daemon, session_id)
        time.sleep(0.02)
    (session,) = daemon.call("list_sessions")["sessions"]
    assert session["session_id"] == session_id


def possess(daemon, words, cwd, **more):
    with Talk(daemon) as talk:
        result = talk.call("possess", agent="claude", message=words, cwd=str(cwd), stream=True, **more)
        notices = [event["text"] for event in talk.events if event["kind"] == "notice"]
    return result, notices


def test_a_session_begun_here_is_continued_in_the_tool_and_here_again(daemon, folder, tmp_path):
    first, _ = possess(daemon, "one", tmp_path)
    session_id, native_id = first["session_id"], first["turn"]["native_id"]
    settles(daemon, session_id, "one")
    in_the_tool(folder, "--resume", native_id, "two", tmp_path)
    settles(daemon, session_id, "one", "two")
    third, notices = possess(daemon, "three", tmp_path, session_id=session_id)
    assert (third["turn"]["native_id"], notices) == (native_id, [])
    settles(daemon, session_id, "one", "two", "three")
    daemon.kill()
    (daemon.home / "capture.db").unlink()
    daemon.start()
    settles(daemon, session_id, "one", "two", "three")


def test_a_session_begun_in_the_tool_is_continued_here_and_there_again(daemon, folder, tmp_path):
    session_id, native_id = begun_in_the_tool(daemon, folder, tmp_path)
    second, notices = possess(daemon, "two", "/", session_id=session_id)
    assert second["turn"]["native_id"] == native_id
    assert notices == [f"native continues its own session {native_id}"]
    settles(daemon, session_id, "one", "two")
    in_the_tool(folder, "--resume", native_id, "three", tmp_path)
    settles(daemon, session_id, "one", "two", "three")
    fourth, notices = possess(daemon, "four", "/", session_id=session_id)
    assert (fourth["turn"]["native_id"], notices) == (native_id, [])
    settles(daemon, session_id, "one", "two", "three", "four")
    assert len(list(folder.rglob("*.jsonl"))) == 1


def test_what_the_tool_has_deleted_is_continued_from_the_transcript(daemon, folder, tmp_path):
    session_id, native_id = begun_in_the_tool(daemon, folder, tmp_path)
    (file,) = folder.rglob("*.jsonl")
    file.unlink()
    result, notices = possess(daemon, "two", tmp_path, session_id=session_id)
    assert result["status"] == "answered"
    assert result["turn"]["native_id"] != native_id
    assert len(notices) == 2


def in_any_order(daemon, folder, tmp_path, seed, steps):
    """Here, in the tool, while no daemon runs, after kills, without what capture knew: each turn once."""
    chance = random.Random(seed)
    first, _ = possess(daemon, "word0", tmp_path)
    session_id, native_id = first["session_id"], first["turn"]["native_id"]
    words = ["word0"]
    for _ in range(steps):
        step = chance.choice(["here", "there", "there", "kill", "while away", "forget"])
        if step in {"here", "there", "while away"}:
            words.append(f"word{len(words)}")
        if step == "here":
            settles(daemon, session_id, *words[:-1])
            possess(daemon, words[-1], tmp_path, session_id=session_id)
        elif step == "there":
            in_the_tool(folder, "--resume", native_id, words[-1], tmp_path)
        elif step == "while away":
            daemon.kill() if chance.random() < 0.5 else daemon.stop()
            in_the_tool(folder, "--resume", native_id, words[-1], tmp_path)
            daemon.start()
        else:
            daemon.kill()
            if step == "forget":
                (daemon.home / "capture.db").unlink(missing_ok=True)
            daemon.start()
    settles(daemon, session_id, *words)


def test_any_order_of_here_and_there(daemon, folder, tmp_path):
    in_any_order(daemon, folder, tmp_path, 25, 8)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(30))
def test_many_orders_of_here_and_there(daemon, folder, tmp_path, seed):
    in_any_order(daemon, folder, tmp_path, seed, 20)
