"""Clients that open, send or leave unread more than they should."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from peers.requests import MIB, append, assert_refused, create, request

# --- connections --------------------------------------------------------------------------------


def test_128_connections_and_not_one_more(daemon):
    peers = []
    try:
        for number in range(128):
            peer = daemon.connect()
            peers.append((peer, peer.makefile("rb")))
            peer.sendall(request("status", identity=number).encode() + b"\n")
            assert json.loads(peers[-1][1].readline())["result"]["connections"] == number + 1
        with daemon.connect() as late, late.makefile("rb") as answers:
            late.sendall(create("late").encode() + b"\n")
            assert_refused(json.loads(answers.readline()), -32001, "overloaded", retryable=True)
            assert answers.readline() == b""
        # The others never noticed, and a place that is given up is there for the next.
        first, answers = peers[0]
        first.sendall(request("find_session", {"ref": "late"}).encode() + b"\n")
        assert json.loads(answers.readline())["error"]["code"] == 1002
        first.shutdown(socket.SHUT_WR)
        assert answers.readline() == b""
        assert daemon.call("status")["connections"] == 128
    finally:
        for peer, answers in peers:
            answers.close()
            peer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
def test_a_peer_of_another_user_is_refused_without_a_word(daemon):
    # Folder and socket keep others out by themselves; both are opened, so that the daemon must look.
    for path in (daemon.home.parent, daemon.socket):
        path.chmod(0o777)
    os.seteuid(65534)  # the kernel notes the effective uid of whoever connects
    try:
        peer = daemon.connect()
    finally:
        os.seteuid(0)
    with peer:
        try:
            said = peer.recv(1)
        except ConnectionResetError:
            said = b""
    assert said == b""
    assert daemon.call("status")["connections"] == 1
    while "uid 65534 was refused" not in daemon.log():
        pass  # a connection is looked at some time after it is accepted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
def test_another_user_does_not_even_reach_the_socket(daemon):
    daemon.home.parent.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            daemon.connect()
    finally:
        os.seteuid(0)


# --- greed --------------------------------------------------------------------------------------


def memory(pid):
    """Resident bytes of a process."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
    return int(shown.stdout) * 1024


def test_3_000_requests_of_a_client_that_does_not_read(daemon):
    """Its answers would be hundreds of megabytes. Others are served, and nothing piles up."""
    count, patience = 3_000, 2.0
    # Longer than they need be: else the kernel would take in all of them.
    lines = b"".join(request("rpc.discover", identity=n).encode().ljust(256) + b"\n" for n in range(count))
    answer = len(json.dumps(daemon.call("rpc.discover"), separators=(",", ":")))
    before = memory(daemon.pid)
    waited = []

    def somebody_else():
        began = time.monotonic()
        daemon.call("status")
        waited.append(time.monotonic() - began)

    with daemon.connect() as greedy:
        greedy.setblocking(False)
        unsent = memoryview(lines)
        stuck = 0
        while unsent and stuck < 10:
            try:
                unsent = unsent[greedy.send(unsent[:65536]) :]
                stuck = 0
            except BlockingIOError:
                stuck += 1
                somebody_else()  # a round trip of somebody else: the daemon had its chance to read on
        assert unsent, "the daemon read everything although no answer was taken"
        assert memory(daemon.pid) - before < 64 * MIB < count * answer
        read = b""
        ids = []
        while len(ids) < count:
            readable, writable, _ = select.select([greedy], [greedy] if unsent else [], [], 30)
            assert readable or writable, f"stuck after {len(ids)} answers"
            if writable:
                unsent = unsent[greedy.send(unsent[:65536]) :]
            if readable:
                *whole, read = (read + greedy.recv(MIB)).split(b"\n")
                ids += [int(line[line.rindex(b'"id":') + 5 : -1]) for line in whole]
            if len(ids) // 300 > len(waited) - 10:
                somebody_else()
        assert sorted(ids) == list(range(count))
    assert len(waited) >= 15
    assert max(waited) < patience
    assert memory(daemon.pid) - before < 64 * MIB


def test_messages_sent_in_a_row_are_recorded_in_that_row(daemon, session, exchange):
    count = 500
    responses = exchange(*(append(session, f"message {n}", n) for n in range(count)))
    assert {response["id"]: response["result"]["seq"] for response in responses} == {
        n: n + 1 for n in range(count)
    }
    messages = daemon.call("get_session", session_id=session)["messages"]
    assert [record["content"] for record in messages] == [f"message {n}" for n in range(count)]


def test_answers_to_a_client_that_vanished(daemon, session):
    """What it said is recorded as far as it was read, in its order; nobody else is disturbed."""
    for round_ in range(10):
        with daemon.connect() as peer:
            peer.sendall("".join(append(session, f"{round_}-{n}") + "\n" for n in range(40)).encode())
    assert daemon.ask(json.loads(append(session, "after")))["result"]["seq"] >= 1
    said = [record["content"] for record in daemon.call("get_session", session_id=session)["messages"]]
    for round_ in range(10):
        own = [content for content in said if content.startswith(f"{round_}-")]
        assert own == [f"{round_}-{n}" for n in range(len(own))]
    assert "after" in said
    assert "Traceback" not in daemon.log()
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


# --- what a client can make grow --------------------------------------------------------------------


@pytest.fixture
def page(daemon, session):
    """A request for a page of 4 MiB."""
    daemon.call(
        "append_message", agent="ai-engineer", session_id=session, role="user", content="x" * 3_900_000
    )
    return {"jsonrpc": "2.0", "method": "get_session", "params": {"session_id": session}}


def peak(daemon):
    """The most that was resident, in MiB."""
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def test_the_answers_to_a_batch_end_at_16_mib_and_the_rest_is_to_be_asked_again(daemon, page):
    before = {"jsonrpc": "2.0", "method": "status", "params": {}}
    answers = daemon.ask([page | {"id": number} for number in range(12)] + [before | {"id": 12}])
    assert [answer["id"] for answer in answers] == list(range(13))
    whole = [answer["id"] for answer in answers if "result" in answer]
    assert whole[:4] == [0, 1, 2, 3]
    assert whole[-1] == 12, "what takes no room is answered"
    assert len(whole) < 8
    assert {answer["error"]["data"]["kind"] for answer in answers if "error" in answer} == {"overloaded"}


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_client_that_reads_nothing_costs_tens_of_mebibytes_and_nobody_waits(daemon, page):
    before = peak(daemon)
    batch = json.dumps([page | {"id": 1}] * 50).encode() + b"\n"
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            peer = stack.enter_context(daemon.connect())
            peer.settimeout(1)
            with contextlib.suppress(TimeoutError):
                peer.sendall(batch * 64)
        # Pages are shared out; what is small never waits.
        daemon.call("create_session", agent="ai-muse", session_id="two")
        for number in range(20):
            params = ("ai-muse", "two", "user", str(number))
            assert daemon.ask({"jsonrpc": "2.0", "id": 1, "method": "append_message", "params": params})[
                "result"
            ]
    assert peak(daemon) - before < 400


def test_a_page_is_served_though_others_hold_all_there_is_and_do_not_read(daemon, page):
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            peer = stack.enter_context(daemon.connect())
            peer.sendall((json.dumps(page | {"id": 1}) + "\n").encode() * 20)
        last = stack.enter_context(daemon.connect())
        last.settimeout(100)  # each of the others is disconnected after it has read nothing for 5 s
        last.sendall((json.dumps(page | {"id": 2}) + "\n").encode())
        assert json.loads(stack.enter_context(last.makefile("rb")).readline())["id"] == 2


def test_hundreds_of_connections_at_once_wait_to_be_accepted(daemon):
    """A client that does not block gets EAGAIN where the queue is full, as Linux has it."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(500):
                peer = stack.enter_context(socket.socket(socket.AF_UNIX))
                peer.setblocking(False)
                peer.connect(str(daemon.socket))
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    status = {"jsonrpc": "2.0", "method": "status", "id": 1}
    while "error" in daemon.ask(status):  # as long as more than 128 are not yet seen to be closed
        pass


def test_connections_beyond_the_limit_cost_no_descriptors(daemon, session):
    """Whoever is refused is gone soon: the client that was there before has its messages written."""
    with daemon.connect() as peer, peer.makefile("rb") as lines, contextlib.ExitStack() as stack:
        for _ in range(600):
            with contextlib.suppress(OSError):
                stack.enter_context(daemon.connect())
        for _ in range(5):
            peer.sendall(append(session, "still here").encode() + b"\n")
            assert "result" in json.loads(lines.readline())
        if Path("/proc/self/fd").is_dir():
            assert len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) < 128 + 128 + 32 + 64


def test_a_client_with_one_question_is_served_between_those_of_a_flood(daemon):
    """Counted, not timed: between two answers to it the daemon serves a few hundred of the other's."""
    daemon.call("create_session", agent="a", session_id="one")
    flood = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "get_last_session", "params": ["a"]}) + "\n"
    total = 30_000

    def served():
        answer = daemon.call("status")["latencies"]
        return next((method["count"] for method in answer if method["method"] == "get_last_session"), 0)

    with daemon.connect() as peer:

        def read():
            seen = 0
            while seen < total:
                seen += peer.recv(1 << 20).count(b"\n")

        with ThreadPoolExecutor(2) as threads:
            threads.submit(peer.sendall, flood.encode() * total)
            reading = threads.submit(read)
            counts = [served()]
            while not reading.done():
                counts.append(served())
            reading.result()
    steps = sorted(after - before for before, after in itertools.pairwise(counts))
    assert len(steps) > 5
    assert steps[len(steps) // 2] < total / 10
