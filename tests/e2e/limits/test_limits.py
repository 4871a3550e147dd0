"""The limits of the wire (design, section 4) and what is beyond them, over the real socket."""

from __future__ import annotations

import json

import pytest
from peers.requests import LINE, MIB, append, assert_refused, create, request


def stored(daemon):
    return [session["session_id"] for session in daemon.call("list_sessions")["sessions"]]


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
