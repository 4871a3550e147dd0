"""`port42 acp` and lines that no client of a library sends; each is answered, and what follows too."""

from __future__ import annotations

import json
import subprocess

import pytest
from peers.editors import port42_command
from peers.talk import Talk, configure


def request(method, number=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def notification(method, **params):
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def ask(peer, line):
    peer.send(line)
    return peer.receive()


def still_answers(peer):
    return ask(peer, request("initialize", 99, protocolVersion=1))["id"] == 99


@pytest.mark.parametrize(
    ("line", "code", "number"),
    [
        (b"{", -32700, None),
        (b"\xff", -32700, None),
        (b"[]", -32600, None),
        (b"1", -32600, None),
        (b'{"id":1,"method":"initialize"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{},"method":"initialize"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600, None),
        (b"[" * 100_000, -32600, None),
        (request("session/fly"), -32601, 1),
        (request("initialize"), -32602, 1),
        (request("initialize", protocolVersion="1"), -32602, 1),
        (request("session/new", cwd="here"), -32602, 1),
        (request("session/new", cwd="/\n"), -32602, 1),
        (request("session/load", cwd="/", sessionId="../../etc/passwd"), -32602, 1),
        (request("session/prompt", sessionId="nowhere", prompt=[{"type": "text", "text": "x"}]), -32602, 1),
        (request("session/list", cursor="nonsense"), -32602, 1),
        (request("session/close", sessionId="nowhere"), -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"session/new","params":[1]}', -32602, 1),
    ],
)
def test_bad_lines_are_refused_and_nothing_ends(daemon, lines, line, code, number):
    peer = lines("@ai-muse")
    answer = ask(peer, line)
    assert (answer["error"]["code"], answer["id"]) == (code, number)
    assert "Traceback" not in answer["error"]["message"]
    assert still_answers(peer)
    assert daemon.call("list_sessions")["sessions"] == []


def test_notifications_and_answers_that_nobody_waits_for_are_passed_over(daemon, lines):
    peer = lines("@ai-muse")
    peer.send(notification("$/cancel_request", requestId=7))
    peer.send(notification("session/cancel", sessionId="nowhere"))
    peer.send(b'{"jsonrpc":"2.0","id":"port42-1","result":{}}')
    peer.send(b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"no"}}')
    peer.send(b"")
    assert still_answers(peer)


def test_a_prompt_that_is_too_long_for_the_daemon_is_refused_and_the_next_one_is_not(daemon, lines):
    peer = lines("@ai-muse")
    session_id = ask(peer, request("session/new", cwd="/"))["result"]["sessionId"]
    long = [{"type": "text", "text": "x" * 5_000_000}]
    answer = ask(peer, request("session/prompt", sessionId=session_id, prompt=long))
    assert "at most 4,194,304 bytes" in answer["error"]["message"]
    short = [{"type": "text", "text": "x"}]
    peer.send(request("session/prompt", 2, sessionId=session_id, prompt=short))
    while (answer := peer.receive()).get("id") != 2:
        pass
    assert "is recorded" in answer["error"]["message"]


def test_the_last_line_needs_no_newline_and_everything_is_answered_before_the_end(daemon, lines):
    peer = lines("@ai-muse")
    for number in range(20):
        peer.send(request("session/list", number))
    peer.child.stdin.write(request("initialize", 20, protocolVersion=1))
    peer.child.stdin.close()
    numbers = []
    while (answer := peer.receive()) is not None:
        numbers.append(answer["id"])
    assert sorted(numbers) == list(range(21))
    assert peer.child.wait(30) == 0
    assert peer.child.stderr.read() == b""


def test_half_an_emoji_is_replaced_and_its_prompt_answered(daemon, lines):
    peer = lines("@echo")
    session_id = ask(peer, request("session/new", cwd="/"))["result"]["sessionId"]
    whole = request("session/prompt", 2, sessionId=session_id, prompt=[{"type": "text", "text": "cut HERE"}])
    peer.send(whole.replace(b"HERE", b"\\ud83d"))
    while (answer := peer.receive()).get("id") != 2:
        pass
    assert answer["result"] == {"stopReason": "end_turn"}
    (question, *_) = daemon.call("get_session", session_id=session_id)["messages"]
    assert question["content"] == "cut \ufffd"


def test_stdin_and_stdout_may_be_files(daemon, port42, home):
    done = port42("acp", "@ai-muse", stdin=request("initialize", protocolVersion=1))
    assert done.returncode == 0
    assert json.loads(done.stdout)["result"]["agentInfo"]["name"] == "port42"
    assert port42("acp", "@ai-muse").stdout == ""  # /dev/null


@pytest.mark.parametrize("agent", ["@", "@no/such", "@" + "x" * 65])
def test_a_name_that_no_agent_can_have_is_refused_at_once(port42, agent):
    done = port42("acp", agent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: @AGENT: expected the name of an agent")


def test_mcp_servers_are_read_as_the_protocol_has_them(daemon, lines):
    peer = lines("@ai-muse")
    for wrong in ("x", [{"name": "x"}], [{"type": "http", "name": "x", "command": "x"}], [{"command": "x"}]):
        error = ask(peer, request("session/new", cwd="/", mcpServers=wrong))["error"]
        assert error["message"].startswith("mcpServers")
    for right in (
        {"command": "x", "args": [], "env": []},
        {"type": "sse", "url": "http://x/", "headers": []},
    ):
        answer = ask(peer, request("session/new", cwd="/", mcpServers=[{"name": "x", **right}]))
        assert "result" in answer


def test_no_daemon_is_an_error_of_the_request(lines, monkeypatch):
    monkeypatch.setenv("PORT42_NO_AUTOSTART", "1")
    peer = lines("@ai-muse")
    assert still_answers(peer)
    answer = ask(peer, request("session/new", cwd="/"))
    assert answer["error"]["code"] == -32603
    assert "no daemon answers" in answer["error"]["message"]
    assert still_answers(peer)


def test_an_editor_that_reads_late_is_shown_all_of_a_reply_once(home, start_daemon, process):
    """It does not keep up with the daemon, which ends its subscription; nothing is lost or doubled."""
    configure(home, repeat=["cat"])
    daemon = start_daemon()
    command = [*port42_command(), "acp", "@repeat"]
    child = process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(request("session/new", cwd="/") + b"\n")
    child.stdin.flush()
    session_id = json.loads(child.stdout.readline())["result"]["sessionId"]
    message = "".join(f"{number:07} " for number in range(450_000))
    blocks = [{"type": "text", "text": message}]
    with Talk(daemon) as talk:
        talk.call("subscribe", agent="repeat")
        child.stdin.write(request("session/prompt", 2, sessionId=session_id, prompt=blocks) + b"\n")
        child.stdin.flush()
        talk.event("started")
        talk.call("unsubscribe", agent="repeat")
        # It waits for the end of the editor's turn.
        talk.call("possess", agent="repeat", session_id=session_id, message="next")
    shown = []
    for line in child.stdout:
        answer = json.loads(line)
        if answer.get("id") == 2:
            break
        update = answer["params"]["update"]
        if update["sessionUpdate"] == "agent_message_chunk":
            shown.append(update["content"]["text"])
    assert answer["result"] == {"stopReason": "end_turn"}
    assert "".join(shown).removesuffix("next") == message


def test_a_terminal_is_told_what_this_is_for(terminal):
    talk = terminal("acp @ai-muse")
    talk.expect("an editor starts this")
    talk.expect_exact("(--help has an example)")
