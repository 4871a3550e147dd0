"""The examples of the JSON-RPC 2.0 specification (section 7), one after another, at a real daemon.

The specification's methods are not ours; each stands for one of equal shape:

| there | here | what they share |
|---|---|---|
| `subtract(minuend, subtrahend)` | `find_session(ref, agent)` | two parameters whose order decides |
| `update(1, 2, 3, 4, 5)` | `append_message(…)` | a change told in five positions |
| `sum(1, 2, 4)` | `get_session(session_id, agent, after_seq)` | three positions, a result |
| `notify_sum(1, 2, 4)` | `append_message`, `create_session` | a change, several positions |
| `notify_hello(7)` | `end_session(session_id)` | a change told in one position |
| `get_data` | `list_agents` | no params at all |
| `foobar`, `foo.get` | themselves | they do not exist |

42 minus 23 is 19: the session `19` belongs to the agent `23` and is titled `42`. 23 minus 42 is the
session `minus-19` of the agent `42`, titled `23`. Our messages say more than the specification's two
words, and `data` is always there; codes, ids and everything else must be the specification's to the letter.
Where it prints a request over several lines, here it is one: a line is our frame.
"""

from __future__ import annotations

import json

import pytest


@pytest.fixture(autouse=True)
def sessions(daemon):
    daemon.call("create_session", agent="23", session_id="19", title="42")
    daemon.call("create_session", agent="42", session_id="minus-19", title="23")


def error(code, identity):
    """The error the specification prints, with our words and data left open."""
    return {"jsonrpc": "2.0", "error": {"code": code}, "id": identity}


def without_words(response):
    """A response whose error was found to have its words and data, reduced to what is compared."""
    if "error" in response:
        assert set(response["error"]) == {"code", "message", "data"}
        assert response["error"]["message"]
        assert {"kind", "retryable"} <= set(response["error"]["data"])
        response = response | {"error": {"code": response["error"]["code"]}}
    return response


def assert_subtracted(response, session_id, identity):
    assert set(response) == {"jsonrpc", "result", "id"}
    assert response["jsonrpc"] == "2.0"
    assert response["result"]["session_id"] == session_id
    assert response["id"] == identity
    assert type(response["id"]) is type(identity)


def test_positional_parameters(exchange):
    (first,) = exchange('{"jsonrpc": "2.0", "method": "find_session", "params": ["42", "23"], "id": 1}')
    assert_subtracted(first, "19", 1)
    (second,) = exchange('{"jsonrpc": "2.0", "method": "find_session", "params": ["23", "42"], "id": 2}')
    assert_subtracted(second, "minus-19", 2)


@pytest.mark.parametrize(
    ("params", "identity"),
    [('{"agent": "23", "ref": "42"}', 3), ('{"ref": "42", "agent": "23"}', 4)],
)
def test_named_parameters(exchange, params, identity):
    line = f'{{"jsonrpc": "2.0", "method": "find_session", "params": {params}, "id": {identity}}}'
    (response,) = exchange(line)
    assert_subtracted(response, "19", identity)


def test_a_notification(exchange, daemon):
    told = exchange(
        '{"jsonrpc": "2.0", "method": "append_message", "params": ["23", "19", "user", "four", "five"]}'
    )
    assert told == []
    (message,) = daemon.call("get_session", session_id="19")["messages"]
    assert (message["role"], message["content"], message["key"]) == ("user", "four", "five")


def test_a_notification_of_a_method_that_does_not_exist(exchange):
    assert exchange('{"jsonrpc": "2.0", "method": "foobar"}') == []


def test_a_notification_that_fails_is_silent_too(exchange, daemon):
    """Section 4.1: the client would not be aware of any errors, like 'Invalid params'."""
    failing = [
        '{"jsonrpc": "2.0", "method": "end_session", "params": ["no-such-session"]}',
        '{"jsonrpc": "2.0", "method": "end_session", "params": {"sesion_id": "19"}}',
    ]
    assert exchange(*failing) == []
    assert daemon.call("find_session", ref="19")["state"] == "active"


def test_an_id_of_null_is_no_notification(exchange):
    (response,) = exchange('{"jsonrpc": "2.0", "method": "find_session", "params": ["19"], "id": null}')
    assert_subtracted(response, "19", None)


def test_a_method_that_does_not_exist(exchange):
    (response,) = exchange('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}')
    assert without_words(response) == error(-32601, "1")
    assert response["error"]["message"] == "Method not found"


def test_invalid_json(exchange):
    (response,) = exchange('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]')
    assert without_words(response) == error(-32700, None)


def test_an_invalid_request_object(exchange):
    (response,) = exchange('{"jsonrpc": "2.0", "method": 1, "params": "bar"}')
    assert without_words(response) == error(-32600, None)


def test_a_batch_of_invalid_json(exchange):
    line = '[ {"jsonrpc": "2.0", "method": "get_session", "params": ["19", "23", 0], "id": "1"},'
    (response,) = exchange(line + ' {"jsonrpc": "2.0", "method" ]')
    assert without_words(response) == error(-32700, None)


def test_an_empty_array(exchange):
    (response,) = exchange("[]")
    assert without_words(response) == error(-32600, None)


def test_an_invalid_batch_that_is_not_empty(exchange):
    (responses,) = exchange("[1]")
    assert [without_words(response) for response in responses] == [error(-32600, None)]


def test_an_invalid_batch(exchange):
    (responses,) = exchange("[1,2,3]")
    assert [without_words(response) for response in responses] == [error(-32600, None)] * 3


def test_a_batch(exchange, daemon):
    daemon.call("create_session", agent="7", session_id="hello")
    agents = daemon.call("list_agents")
    batch = [
        {"jsonrpc": "2.0", "method": "get_session", "params": ["19", "23", 0], "id": "1"},
        {"jsonrpc": "2.0", "method": "end_session", "params": ["hello"]},
        {"jsonrpc": "2.0", "method": "find_session", "params": ["42", "23"], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "list_agents", "id": "9"},
    ]
    (responses,) = exchange(json.dumps(batch))
    # The specification lets a server answer in any order, so a client goes by the id.
    by_id = {response["id"]: without_words(response) for response in responses}
    assert len(responses) == len(by_id) == 5
    assert by_id["1"]["result"]["session"]["session_id"] == "19"
    assert set(by_id["1"]) == {"jsonrpc", "result", "id"}
    assert_subtracted(by_id["2"], "19", "2")
    assert by_id[None] == error(-32600, None)
    assert by_id["5"] == error(-32601, "5")
    assert by_id["9"] == {"jsonrpc": "2.0", "result": agents, "id": "9"}
    assert daemon.call("find_session", ref="hello")["state"] == "ended"


def test_a_batch_of_notifications_only(exchange, daemon):
    batch = [
        {"jsonrpc": "2.0", "method": "append_message", "params": ["23", "19", "user", "1 2 4"]},
        {"jsonrpc": "2.0", "method": "create_session", "params": ["7", "hello"]},
    ]
    assert exchange(json.dumps(batch)) == []
    assert daemon.call("find_session", ref="19")["message_count"] == 1
    assert daemon.call("find_session", ref="hello")["agent"] == "7"
