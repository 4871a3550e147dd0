"""What an agent does with its tools, from the agent's program to the session and to another agent."""

from __future__ import annotations

import json
import random
import sys
import threading
from pathlib import Path

import pytest
from peers.talk import Talk

PEERS = Path(__file__).parents[1] / "peers"
ROUNDS = 60
CONFIG = f"""
[agents.worker]
backend = "worker"
[backends.worker]
type = "acp"
command = {json.dumps([sys.executable, "-S", "-B", str(PEERS / "acp_worker.py")])}

[agents.stream]
backend = "stream"
[backends.stream]
type = "command"
command = {json.dumps([sys.executable, "-S", str(PEERS / "stream_worker.py"), str(ROUNDS), "0.004"])}
parser = "claude"

[agents.other]
backend = "other"
[backends.other]
type = "command"
command = ["cat"]
history = "replay"
"""


@pytest.fixture
def daemon(start_daemon):
    return start_daemon(config=CONFIG)


def records_of(daemon, session_id):
    page = daemon.call("get_session", session_id=session_id, events=True, limit=10_000)
    assert page["next_after_seq"] is None
    return page["messages"]


def test_tool_calls_of_an_acp_agent_stand_in_the_session_and_are_told_to_another(daemon):
    with Talk(daemon) as talk:
        result = talk.call("possess", agent="worker", message="look", stream=True)
        told = [event["message"] for event in talk.events if event["kind"] == "message"]
    session_id = result["session_id"]
    records = records_of(daemon, session_id)
    assert told == records
    assert [record["role"] for record in records] == [
        *("user", "thought", "plan", "assistant", "tool", "tool", "plan", "assistant"),
    ]
    first, second = (record for record in records if record["role"] == "tool")
    assert (first["id"], first["state"], first["kind"], first["name"]) == ("t-1", "done", "read", "Read")
    assert (first["output"], first["locations"][0]) == ("import this", {"path": "/a.py", "line": 7})
    assert (second["state"], second["output"]) == ("failed", "no such file")
    assert records[-1]["content"].startswith("Found it: ")
    assert result["reply"] == f"Let me look.\n\n{records[-1]['content']}"
    plain = daemon.call("get_session", session_id=session_id)["messages"]
    assert [record["role"] for record in plain] == ["user", "assistant", "assistant"]
    assert daemon.call("find_session", ref=session_id)["message_count"] == 3

    fork = daemon.call("fork_session", session_id=session_id, to_agent="other")
    received = daemon.call("possess", agent="other", message="go on", session_id=fork["session_id"])["reply"]
    assert "[tool] Read a.py (1 line) (done)" in received
    assert "[tool] Run it (failed: no such file)" in received
    assert "[plan]\n[x] read it" in received
    assert "hm" not in received.split()


def listen(talk, told, begun):
    """Note each record that the daemon tells of, until it is gone."""
    try:
        while True:
            event = talk.event("message")
            told.append((event["session_id"], event["message"]))
            begun.set()
    except (AssertionError, OSError, ValueError):
        begun.set()


def kill_rounds(daemon, rounds, seed):
    chance = random.Random(seed)
    for _ in range(rounds):
        told, begun = [], threading.Event()
        with Talk(daemon) as talk:
            talk.send("possess", agent="stream", message="work", stream=True)
            listener = threading.Thread(target=listen, args=(talk, told, begun))
            listener.start()
            assert begun.wait(30)
            threading.Event().wait(chance.uniform(0, 0.3))  # any moment is one at which a kill may come
            daemon.kill()
            listener.join()
        daemon.start()
        records = records_of(daemon, told[0][0])
        check(records, [record for _, record in told])


def check(records, told):
    assert records[: len(told)] == told, "what was told is not in the session"
    text = "".join(record["content"] for record in records if record["role"] == "assistant")
    whole = "".join(f"text {number}." for number in range(ROUNDS)) + "the end"
    assert whole.startswith(text)
    calls = [record["id"] for record in records if record["role"] == "tool"]
    assert calls == [f"t{number}" for number in range(len(calls))]
    thoughts = [record["content"] for record in records if record["role"] == "thought"]
    assert thoughts == [f"thought {number}" for number in range(len(thoughts))]
    # A kill between the question and the beginning of the turn leaves the question alone.
    assert records[-1].get("status") or records[-1]["role"] == "error" or len(records) == 1
    assert sum(bool(record.get("status")) for record in records) <= 1


def test_kill_9_while_an_agent_works_loses_nothing_that_was_told_and_doubles_nothing(daemon):
    kill_rounds(daemon, 5, 1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_kill_9_in_200_rounds(daemon):
    kill_rounds(daemon, 200, 2)
