"""Agents that ask agents: their number at once is bounded, however the depth got lost."""

from __future__ import annotations

import json
import sys

import pytest

from port42_daemon.turns.service import ASKED_AT_ONCE

ASKS = """
import json, os, socket, sys
message = sys.stdin.read()
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
params = {"agent": sys.argv[2], "message": message + "+", "depth": 1}
peer.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "possess", "params": params}).encode() + b"\\n")
answer = json.loads(peer.makefile("rb").readline())
print(answer["result"]["reply"] if "result" in answer else answer["error"]["message"])
"""


@pytest.fixture
def circle(start_daemon, home):
    """A daemon with an agent whose program asks the same agent, always as if it were the first to do so."""
    command = [sys.executable, "-c", ASKS, str(home.parent / "port42.sock"), "circle"]
    asks = f'[backends.asks]\ntype = "command"\ncommand = {json.dumps(command)}\n'
    return start_daemon(config=f'[agents.circle]\nbackend = "asks"\n{asks}')


def test_agents_that_ask_in_a_circle_come_to_an_end(circle):
    reply = circle.call("possess", agent="circle", message="x")["reply"]
    assert reply.strip() == "8 agents are at work for other agents, the most there may be"
    assert len(circle.call("list_sessions")["sessions"]) == 1 + ASKED_AT_ONCE
    assert circle.call("possess", agent="circle", message="again")["status"] == "answered", (
        "all are free again"
    )


def test_what_a_person_asks_is_not_counted(circle):
    with pytest.raises(pytest.RpcFailed) as refused:
        circle.call("possess", agent="circle", message="x", depth=9)
    assert refused.value.data["field"] == "depth"
    for _ in range(2):
        assert circle.call("possess", agent="circle", message="x", depth=0)["status"] == "answered"
