"""One client at a running daemon: lines in any portions, limits, half-closed, slow and rude."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest


def line(number: int, method: str = "status", **params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def read_answers(peer: socket.socket) -> list[dict]:
    with peer.makefile("rb") as lines:
        return [json.loads(line) for line in lines]


def test_one_byte_at_a_time(daemon):
    with daemon.connect() as peer, peer.makefile("rb") as lines:
        for byte in line(7):
            peer.sendall(bytes([byte]))
        assert json.loads(lines.readline())["id"] == 7


def test_half_a_line_then_a_close_is_answered_as_not_json_and_costs_nobody(daemon):
    with daemon.connect() as peer:
        peer.sendall(line(1)[:20])
        peer.shutdown(socket.SHUT_WR)
        (answer,) = read_answers(peer)
    assert answer["error"]["code"] == -32700
    assert daemon.call("status")["connections"] == 1


def test_a_last_line_without_a_newline_is_a_line(daemon):
    with daemon.connect() as peer:
        peer.sendall(line(1).strip())
        peer.shutdown(socket.SHUT_WR)
        assert [answer["id"] for answer in read_answers(peer)] == [1]


def test_carriage_returns_and_blank_lines_are_passed_over(daemon):
    with daemon.connect() as peer:
        peer.sendall(b"\r\n\n  \n" + line(1).replace(b"\n", b"\r\n") + b"\n")
        peer.shutdown(socket.SHUT_WR)
        assert [answer["id"] for answer in read_answers(peer)] == [1]


def test_hundreds_of_requests_at_once_are_all_answered_though_their_sender_reads_late(daemon):
    """More answers than the socket holds, and a peer that has said all before it reads any."""
    with daemon.connect() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(b"".join(line(number, "rpc.discover") for number in range(300)))
        peer.shutdown(socket.SHUT_WR)
        assert daemon.call("status")["connections"] == 2, "a peer that does not read keeps nobody waiting"
        assert sorted(answer["id"] for answer in read_answers(peer)) == list(range(300))


def test_requests_that_wait_for_the_disk_are_all_answered_and_kept_in_their_order(daemon):
    daemon.call("create_session", agent="a", session_id="cli-1")
    with daemon.connect() as peer:
        for number in range(300):
            said = {"agent": "a", "session_id": "cli-1", "role": "user", "content": str(number)}
            peer.sendall(line(number, "append_message", **said))
        peer.shutdown(socket.SHUT_WR)
        answers = {answer["id"]: answer["result"]["seq"] for answer in read_answers(peer)}
    assert answers == {number: number + 1 for number in range(300)}
    kept = daemon.call("get_session", session_id="cli-1")["messages"]
    assert [record["content"] for record in kept] == [str(number) for number in range(300)]


def test_what_a_client_asked_for_is_done_though_it_does_not_wait(daemon):
    daemon.call("create_session", agent="a", session_id="cli-1")
    with daemon.connect() as peer:
        peer.sendall(line(1, "append_message", agent="a", session_id="cli-1", role="user", content="gone"))
        peer.shutdown(socket.SHUT_WR)
        read_answers(peer)
    assert daemon.call("get_last_session", agent="a")["message_count"] == 1


def test_a_reset_in_the_middle_of_an_answer_is_nobodys_trouble(daemon):
    with daemon.connect() as peer:
        peer.sendall(line(1, "rpc.discover") * 200)
    assert daemon.call("status")["pid"] == daemon.pid
    assert "Traceback" not in daemon.log()


@pytest.fixture
def narrow(start_daemon):
    """A daemon that takes lines of 5,000 bytes and two connections."""
    return start_daemon(config="[daemon]\nrequest_bytes = 5000\nconnections = 2\n")


def test_a_line_at_the_limit_is_taken_and_one_byte_more_is_refused_and_closed(narrow):
    fits = b'{"jsonrpc":"2.0","id":1,"method":"status"}'
    with narrow.connect() as peer, peer.makefile("rb") as lines:
        peer.sendall(fits.ljust(5000) + b"\n")
        assert "result" in json.loads(lines.readline())
        # What follows could look like a request of its own; it is never parsed.
        peer.sendall(fits.ljust(5001) + b"\n" + line(2, "create_session", agent="never"))
        refused = json.loads(lines.readline())
        assert (refused["error"]["code"], refused["id"]) == (-32003, None)
        assert refused["error"]["data"]["limit"] == 5000
        assert lines.readline() == b""
    assert "never" not in {agent["agent"] for agent in narrow.call("list_agents")["agents"]}


def test_a_line_without_end_is_refused_before_it_ends(narrow):
    with narrow.connect() as peer, peer.makefile("rb") as lines:
        peer.sendall(b"x" * 6000)
        assert json.loads(lines.readline())["error"]["code"] == -32003


def test_a_line_of_four_mebibytes_and_one_byte(daemon):
    with daemon.connect() as peer, peer.makefile("rb") as lines:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
            peer.sendall(b"[" + b" " * (4 * 1024 * 1024) + b"\n")
        assert json.loads(lines.readline())["error"]["code"] == -32003


def test_a_message_as_long_as_a_line_may_be_comes_back_whole(daemon):
    content = "ü" * 600_000
    session_id = daemon.call("possess", agent="ai-muse", message=content)["session_id"]
    assert daemon.call("get_session", session_id=session_id)["messages"][0]["content"] == content


def test_one_connection_too_many_is_told_so_and_the_others_stay(narrow):
    with narrow.connect() as first, narrow.connect() as second:
        for peer in (first, second):
            peer.sendall(line(1))
            assert peer.recv(1)
        with narrow.connect() as third:
            (refused,) = read_answers(third)
        assert (refused["error"]["code"], refused["error"]["data"]["retryable"]) == (-32001, True)
        first.sendall(line(2))
        assert first.recv(1)
    narrow.stop()
    assert "Traceback" not in narrow.log()


def test_what_was_under_way_when_a_line_was_too_long_is_done_and_no_bug(narrow, home):
    narrow.call("create_session", agent="a", session_id="cli-1")
    said = {"agent": "a", "session_id": "cli-1", "role": "user", "content": "x"}
    with narrow.connect() as peer:
        peer.sendall(b"".join(line(number, "append_message", **said) for number in range(20)) + b"x" * 6000)
        assert read_answers(peer)[-1]["error"]["code"] == -32003
    narrow.stop()  # which waits for them
    assert json.loads((home / "sessions" / "cli-1.json").read_bytes())["message_count"] == 20
    assert "Traceback" not in narrow.log()
