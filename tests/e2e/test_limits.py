"""The limits of the wire (design, section 4) and what is beyond them, over the real socket."""

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

LINE = 4 * 1024 * 1024
MIB = 1024 * 1024


def request(method, params=None, identity=1, **more):
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params or {}} | more)


def create(session_id, identity=1):
    return request("create_session", {"agent": "ai-engineer", "session_id": session_id}, identity)


def append(session_id, content, identity=1):
    params = {"agent": "ai-engineer", "session_id": session_id, "role": "user", "content": content}
    return request("append_message", params, identity)


def assert_refused(response, code, kind, identity=None, *, retryable=False):
    assert set(response) == {"jsonrpc", "error", "id"}
    assert response["id"] == identity
    assert response["error"]["code"] == code
    assert response["error"]["data"]["kind"] == kind
    assert response["error"]["data"]["retryable"] is retryable
    assert len(json.dumps(response)) < 2000  # what was refused is not sent back


def stored(daemon):
    return [session["session_id"] for session in daemon.call("list_sessions")["sessions"]]


@pytest.fixture
def session(daemon):
    return daemon.call("create_session", agent="ai-engineer", session_id="one")["session_id"]


# --- lines --------------------------------------------------------------------------------------


def padded(session_id, length):
    """A request to record a message, as a line of exactly `length` bytes; and the message."""
    content = "x" * (length - len(append(session_id, "")))
    line = append(session_id, content)
    assert len(line) == length
    return line, content


def test_a_line_of_exactly_the_limit_is_taken(exchange, daemon, session):
    line, content = padded(session, LINE)
    (response,) = exchange(line)
    assert response["result"]["seq"] == 1
    (message,) = daemon.call("get_session", session_id=session)["messages"]
    assert message["content"] == content


@pytest.mark.parametrize("where", ["in the same line", "in the next line"])
def test_a_line_of_one_byte_more_is_refused_and_its_tail_never_parsed(exchange, daemon, session, where):
    if where == "in the same line":
        # What a reader that drops the first 4 MiB would take for a request.
        lines = ["x" * LINE + create("hidden")]
    else:
        lines = [padded(session, LINE + 1)[0], create("hidden")]
    (response,) = exchange(*lines)
    assert_refused(response, -32003, "frame_too_large")
    assert response["error"]["data"]["limit"] == LINE
    assert stored(daemon) == [session]
    assert daemon.call("find_session", ref=session)["message_count"] == 0


def test_after_a_line_too_long_the_connection_is_closed(daemon):
    with daemon.connect() as peer, peer.makefile("rb") as answers:
        peer.sendall(b"x" * (LINE + 1) + b"\n")
        assert_refused(json.loads(answers.readline()), -32003, "frame_too_large")
        assert answers.readline() == b""


def test_a_message_of_5_mib_is_refused_with_words(exchange, daemon, session):
    (response,) = exchange(append(session, "x" * 5 * MIB))
    assert_refused(response, -32003, "frame_too_large")
    assert "4,194,304 bytes" in response["error"]["message"]
    assert daemon.call("find_session", ref=session)["message_count"] == 0


def test_half_a_line_then_a_close(daemon):
    with daemon.connect() as peer:
        peer.sendall(create("half")[:60].encode())
    assert stored(daemon) == []


def test_half_a_line_then_a_half_close_is_told(exchange, daemon):
    (response,) = exchange(create("half")[:60], newline=False)
    assert_refused(response, -32700, "parse_error")
    assert stored(daemon) == []


def test_a_request_without_newline_then_a_half_close_is_answered(exchange):
    (response,) = exchange(create("whole"), newline=False)
    assert response["result"]["session_id"] == "whole"


def test_one_byte_at_a_time(daemon):
    with daemon.connect() as peer, peer.makefile("rb") as answers:
        for line in (create("slow", 1), append("slow", "ça va 🐢", 2)):
            for byte in line.encode() + b"\n":
                peer.sendall(bytes([byte]))
            assert "result" in json.loads(answers.readline())
    (message,) = daemon.call("get_session", session_id="slow")["messages"]
    assert message["content"] == "ça va 🐢"


@pytest.mark.parametrize("junk", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_invalid_utf8_is_told_and_the_connection_goes_on(exchange, daemon, session, junk):
    bad = append(session, "ab", 1).encode().replace(b'"ab"', b'"a' + junk + b'b"')
    refused, answered = exchange(bad, request("find_session", {"ref": session}, 2))
    assert_refused(refused, -32700, "parse_error")
    assert answered["id"] == 2
    assert answered["result"]["message_count"] == 0


def test_blank_lines_and_carriage_returns_are_a_persons(exchange):
    responses = exchange("", "\r", request("find_session", {"ref": "nobody"}) + "\r", "  ")
    assert [response["error"]["code"] for response in responses] == [1002]


# --- shapes -------------------------------------------------------------------------------------


def nested(levels):
    """A request with arrays and objects `levels` deep: itself, its params and its metadata are three."""
    metadata = '{"a":' + "[" * (levels - 3) + "]" * (levels - 3) + "}"
    params = f'{{"agent":"ai-engineer","session_id":"deep","metadata":{metadata}}}'
    return f'{{"jsonrpc":"2.0","id":1,"method":"create_session","params":{params}}}'


def test_64_levels_are_taken(exchange, daemon):
    (response,) = exchange(nested(64))
    assert response["result"]["session_id"] == "deep"
    metadata = daemon.call("get_session", session_id="deep")["metadata"]
    assert json.dumps(metadata).count("[") == 61


@pytest.mark.parametrize("levels", [65, 100, 100_000])
def test_more_levels_are_refused(exchange, daemon, levels):
    (response,) = exchange(nested(levels))
    assert_refused(response, -32600, "invalid_request")
    assert "64 levels" in response["error"]["message"]
    assert stored(daemon) == []


def test_50_items_are_a_batch(exchange, daemon):
    (responses,) = exchange("[" + ",".join(create(f"s{n}", n) for n in range(50)) + "]")
    assert [response["id"] for response in responses] == list(range(50))
    assert [response["result"]["session_id"] for response in responses] == [f"s{n}" for n in range(50)]
    assert sorted(stored(daemon)) == sorted(f"s{n}" for n in range(50))


def test_51_items_are_not(exchange, daemon):
    (response,) = exchange("[" + ",".join(create(f"s{n}", n) for n in range(51)) + "]")
    assert_refused(response, -32004, "batch_too_large")
    assert response["error"]["data"]["limit"] == 50
    assert stored(daemon) == []


def test_one_bad_item_does_not_spoil_a_batch(exchange, daemon):
    (responses,) = exchange(f'[{create("before", 1)},{{"method":"status"}},{create("after", 3)}]')
    assert [response["id"] for response in responses] == [1, None, 3]
    assert_refused(responses[1], -32600, "invalid_request")
    assert sorted(stored(daemon)) == ["after", "before"]


@pytest.mark.parametrize("identity", ["true", "false", "1.5", "[1]", '{"a":1}', "1e400"])
def test_an_id_that_is_none(exchange, daemon, identity):
    (response,) = exchange(create("x").replace('"id": 1', f'"id": {identity}'))
    assert response["error"]["code"] in {-32600, -32700}
    assert response["id"] is None
    assert stored(daemon) == []


@pytest.mark.parametrize("fault", [{"jsonrpc": "1.0"}, {"jsonrpc": 2.0}, {"params": "x"}])
def test_requests_that_are_none(exchange, daemon, fault):
    (response,) = exchange(json.dumps(json.loads(create("x")) | fault))
    assert_refused(response, -32600, "invalid_request", 1)
    assert stored(daemon) == []


def test_too_many_positional_parameters(exchange, daemon):
    (response,) = exchange(request("end_session", ["one", "ai-engineer", "three"]))
    assert_refused(response, -32602, "invalid_params", 1)
    assert "at most 2 positional parameters" in response["error"]["message"]


def test_an_unknown_a_missing_and_an_ill_typed_field_are_named(exchange):
    unknown, missing, ill_typed = exchange(
        request("find_session", {"ref": "last", "agnet": "x"}, 1),
        request("update_last_session", {"agent": "ai-muse"}, 2),
        request("list_sessions", {"limit": "10"}, 3),
    )
    for response, identity, field in (
        (unknown, 1, "agnet"),
        (missing, 2, "session_id"),
        (ill_typed, 3, "limit"),
    ):
        assert_refused(response, -32602, "invalid_params", identity)
        assert response["error"]["data"]["field"] == field
        assert response["error"]["data"]["expected"]
        assert field in response["error"]["message"]


# --- names --------------------------------------------------------------------------------------


def named(name):
    """A test's id: short, and without characters that a terminal obeys."""
    return ascii(name if len(name) < 20 else f"{len(name)} characters")


AGENT_METHODS = {
    "get_last_session": {},
    "update_last_session": {"session_id": "one"},
    "create_session": {},
    "append_message": {"session_id": "one", "role": "user", "content": "x"},
    "possess": {"message": "x"},
    "get_session": {"session_id": "one"},
    "find_session": {"ref": "last"},
    "list_sessions": {},
    "end_session": {"session_id": "one"},
    "add_agent": {},
}


@pytest.mark.parametrize(
    "name", ["a/b", "../etc", "an agent", " ", "a" * 65, "@@x", "@", "-x", "ai\n", "ai\0", "é"]
)
def test_agent_names_that_are_none(exchange, daemon, session, name):
    asked = [request(method, more | {"agent": name}) for method, more in AGENT_METHODS.items()]
    for response in exchange(*asked):
        assert_refused(response, -32602, "invalid_params", 1)
        assert response["error"]["data"]["field"] == "agent"
    assert stored(daemon) == [session]
    assert daemon.call("find_session", ref=session)["message_count"] == 0
    assert not (daemon.home / "config.toml").exists()


def test_an_empty_agent_is_one_that_is_not_given(exchange):
    for response in exchange(
        request("get_last_session", {"agent": ""}),
        request("get_last_session", {}),
        request("possess", {"agent": "", "message": "x"}),
    ):
        assert_refused(response, -32602, "invalid_params", 1)
        assert response["error"]["message"] == "agent parameter required"


def test_one_at_sign_is_how_people_type_it(exchange, daemon):
    (created,) = exchange(request("create_session", {"agent": "@ai-muse"}))
    assert created["result"]["agent"] == "ai-muse"
    last = daemon.call("get_last_session", agent="@ai-muse")
    assert last["session_id"] == created["result"]["session_id"]


SESSION_METHODS = {
    "update_last_session": {"agent": "ai-engineer"},
    "create_session": {"agent": "ai-engineer"},
    "append_message": {"agent": "ai-engineer", "role": "user", "content": "x"},
    "possess": {"agent": "ai-engineer", "message": "x"},
    "get_session": {},
    "end_session": {},
}
BAD_IDS = [
    "..",
    "../config",
    "a/b",
    "/etc/passwd",
    "a\0b",
    "x" * 10_000,
    "x" * 65,
    "",
    ".",
    "a.json",
    "a b",
    "a\n",
]


@pytest.mark.parametrize("name", BAD_IDS, ids=named)
def test_session_ids_that_are_none(exchange, daemon, session, name):
    asked = [request(method, more | {"session_id": name}) for method, more in SESSION_METHODS.items()]
    for response in exchange(*asked):
        assert_refused(response, -32602, "invalid_params", 1)
        assert response["error"]["data"]["field"] == "session_id"
    assert stored(daemon) == [session]
    assert daemon.call("find_session", ref=session)["message_count"] == 0
    assert [path.name for path in (daemon.home / "sessions").iterdir()] == ["one.json"]


@pytest.mark.parametrize(
    "ref", ["..", "../config", "/etc/passwd", "a\0b", "one.json", "x" * 10_000], ids=named
)
def test_references_that_reach_nothing(exchange, session, ref):
    (response,) = exchange(request("find_session", {"ref": ref}))
    if len(ref) > 200:
        assert_refused(response, -32602, "invalid_params", 1)
        assert response["error"]["data"]["field"] == "ref"
    else:
        assert_refused(response, 1002, "session_not_found", 1)


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
    assert "uid 65534 was refused" in daemon.log()


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


def test_10_000_requests_of_a_client_that_does_not_read(daemon):
    """Its answers would be hundreds of megabytes. Others are served, and nothing piles up."""
    count, patience = 10_000, 2.0
    lines = b"".join(request("rpc.discover", identity=n).encode() + b"\n" for n in range(count))
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
            if len(ids) // 1000 > len(waited) - 10:
                somebody_else()
        assert ids == list(range(count))
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
