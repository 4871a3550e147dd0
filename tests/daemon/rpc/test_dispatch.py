"""From a line to an answer: the specification's rules, bounds, and nothing of an exception sent."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from peers.parts import RecordingPeer

from port42_daemon.rpc.dispatch import Dispatcher, Pending
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import BATCH_AT_ONCE
from port42_protocol import codec
from port42_protocol.codec import decode_json, encode
from port42_protocol.errors import NoSessions
from port42_protocol.messages.records import Summary
from port42_protocol.methods import METHODS


def summary(agent: str) -> Summary:
    return Summary("cli-1", agent, None, "active", "t", "t", 0, None)


class Handlers:
    """Every method of the table; one waits, one refuses, two break, one gives what JSON cannot hold."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.at_once = self.most_at_once = 0

    def get_last_session(self, asked):
        self.asked.append(asked)
        if asked.agent == "nobody":
            raise NoSessions("nobody")
        if asked.agent == "broken":
            raise RuntimeError("secret in /root")
        return summary(asked.agent)

    async def list_sessions(self, asked):
        self.asked.append(asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if asked.limit == 13:
            raise RuntimeError("secret in /root")
        return asked.limit

    def status(self, _):
        return object()

    async def discover(self, _):
        return {"too large for JSON": 2**70, "nor this": object()}

    def __getattr__(self, name: str):
        if name not in {row.handler for row in METHODS.values()} - {"cancel_request"}:
            raise AttributeError(name)

        def note(asked):  # a list's own append has no signature to look at
            self.asked.append(asked)

        return note


@pytest.fixture
def handlers():
    return Handlers()


@pytest.fixture
def ask(handlers):
    dispatcher = Dispatcher(Traffic(), handlers)

    def ask(what: object):
        line = what if isinstance(what, bytes) else json.dumps(what).encode()

        async def settle():
            answer = dispatcher.answer(line, RecordingPeer())
            return await answer.answer if isinstance(answer, Pending) else answer

        said = asyncio.run(settle())
        return None if said is None else json.loads(said)

    return ask


def request(method: str = "get_last_session", params: object = None, **more: object) -> dict:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {"agent": "a"}, **more}


def code(answer: dict) -> int:
    assert answer["error"]["data"]["kind"]
    return answer["error"]["code"]


def test_params_by_name_and_by_position(ask):
    for params in ({"agent": "a"}, ["a"], ["a", None], ["@a"]):
        answer = ask(request(params=params))
        assert answer == {"jsonrpc": "2.0", "id": 1, "result": decode_json(encode(summary("a")))}


@pytest.mark.parametrize("identity", ["x", "", 0, -1, 2**63, None])
def test_an_id_comes_back_as_it_was(ask, identity):
    answer = ask(request(id=identity))
    assert "result" in answer
    assert answer["id"] == identity


@pytest.mark.parametrize("identity", [True, [], {}, 2**70, 1.5])
def test_what_is_no_id_is_refused_without_one(ask, identity):
    answer = ask(request(id=identity))
    assert (code(answer), answer["id"]) == (-32600, None)


@pytest.mark.parametrize("fault", [{"jsonrpc": "1.0"}, {"jsonrpc": None}, {"method": 1}, {"params": "a"}])
@pytest.mark.parametrize("identity", [7, "x", None])
def test_who_sent_what_is_no_request_is_answered_under_its_id(ask, fault, identity):
    for answer in (ask(request(id=identity) | fault), ask([request(id=identity) | fault])[0]):
        assert (code(answer), answer["id"]) == (-32600, identity)


@pytest.mark.parametrize("method", ["status", "rpc.discover", "list_agents"])
def test_params_that_are_null_are_none(ask, handlers, method):
    answer = ask({"jsonrpc": "2.0", "id": 7, "method": method, "params": None})
    assert answer["id"] == 7
    assert answer.get("error", {}).get("code") in {None, -32603}, "these handlers answer rubbish"


def test_params_that_are_null_lack_what_is_wanted(ask):
    answer = ask({"jsonrpc": "2.0", "id": 7, "method": "get_last_session", "params": None})
    assert (code(answer), answer["error"]["data"]["field"], answer["id"]) == (-32602, "agent", 7)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b'"\xed\xa0\x80"', -32700),
        (b"NaN", -32700),
        (b"1", -32600),
        (b"[]", -32600),
        (b"null", -32600),
        (b"{}", -32600),
        (b"[" * 65 + b"]" * 65, -32600),
        (b"[" * 100_000, -32600),
        (json.dumps(request(jsonrpc="1.0")).encode(), -32600),
        (json.dumps(request(method=1)).encode(), -32600),
        (json.dumps(request(params="a")).encode(), -32600),
        (json.dumps(request("no_such")).encode(), -32601),
        (json.dumps(request("_mend_last")).encode(), -32601),
        (json.dumps(request("__init__")).encode(), -32601),
        (json.dumps(request(params={"agent": 1})).encode(), -32602),
        (json.dumps(request(params={"agent": "a", "context": 1})).encode(), -32602),
        (json.dumps(request(params=["a", None, 3])).encode(), -32602),
    ],
)
def test_what_is_wrong_gets_its_standard_code(ask, handlers, line, expected):
    assert code(ask(line)) == expected
    assert handlers.asked == []


def test_a_near_name_is_suggested_and_a_huge_one_costs_nothing(ask):
    assert ask(request("get_last_sesion"))["error"]["data"]["suggestions"][0] == "get_last_session"
    answer = ask(request("x" * 4_000_000))
    assert code(answer) == -32601
    assert len(json.dumps(answer)) < 1000


def test_a_refusal_is_sent_as_it_is(ask):
    error = ask(request(params={"agent": "nobody"}))["error"]
    assert (error["code"], error["message"]) == (1001, "No sessions found for nobody")


BUGS = [request(params={"agent": "broken"}), request("list_sessions", {"limit": 13})]
BUGS += [request("status"), request("rpc.discover")]


@pytest.mark.parametrize("broken", BUGS, ids=lambda one: one["method"])
def test_a_bug_is_an_error_id_and_the_log_has_the_rest(ask, caplog, monkeypatch, broken):
    monkeypatch.setattr(logging.getLogger("port42_daemon"), "propagate", True)
    if broken["method"] in {"status", "rpc.discover"}:
        del broken["params"]
    answer = ask(broken)
    assert (code(answer), answer["id"]) == (-32603, 1)
    assert "secret" not in json.dumps(answer)
    assert answer["error"]["data"]["error_id"] in caplog.text


def test_too_little_memory_is_said_and_is_no_bug(ask, handlers, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    real = codec.encode
    monkeypatch.setattr(codec, "encode", lambda value: real(value) if "error" in value else no_memory())
    answer = ask(request(params={"agent": "a"}))
    assert answer["error"]["data"]["kind"] == "overloaded"
    assert "memory" in answer["error"]["message"]


@pytest.mark.parametrize("params", [{"agent": "a"}, {"agent": "nobody"}, {"agent": "broken"}, {"agent": 1}])
def test_a_notification_is_carried_out_and_never_answered(ask, handlers, params):
    notification = request(params=params)
    del notification["id"]
    assert ask(notification) is None
    assert ask([notification, notification]) is None
    assert len(handlers.asked) == (0 if params["agent"] == 1 else 3)


def test_a_notification_of_what_waits_is_never_answered(ask, handlers):
    for limit in (1, 13):
        assert ask({"jsonrpc": "2.0", "method": "list_sessions", "params": {"limit": limit}}) is None
    assert len(handlers.asked) == 2


def test_a_notification_of_no_method_is_never_answered(ask):
    assert ask({"jsonrpc": "2.0", "method": "no_such"}) is None


def test_a_batch_has_an_answer_for_each_item_in_its_order(ask):
    items = [request(id=1), 1, request("list_sessions", {"limit": 9}, id=3), {}, request("no_such", id=5), []]
    answers = ask([*items, request(params={"agent": "nobody"}, id=7)])
    assert [answer["id"] for answer in answers] == [1, None, 3, None, 5, None, 7]
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        None,
        -32600,
        None,
        -32600,
        -32601,
        -32600,
        1001,
    ]
    assert answers[2]["result"] == 9


def test_a_batch_at_the_limit_is_taken_eight_at_a_time_and_a_longer_one_refused(ask, handlers):
    items = [request("list_sessions", {"limit": 1}, id=number) for number in range(50)]
    assert [answer["id"] for answer in ask(items)] == list(range(50))
    assert handlers.most_at_once == BATCH_AT_ONCE
    handlers.asked.clear()
    refused = ask([*items, request()])
    assert (code(refused), refused["id"]) == (-32004, None)
    assert handlers.asked == []


def test_a_table_without_a_handler_or_with_two_is_a_mistake_at_the_start(handlers):
    with pytest.raises(LookupError, match="0 handlers"):
        Dispatcher(Traffic(), object())
    with pytest.raises(LookupError, match="2 handlers"):
        Dispatcher(Traffic(), handlers, Handlers())


def test_a_handler_that_wants_the_peer_is_given_the_one_that_asked():
    class Wants(Handlers):
        async def subscribe(self, asked, peer: RecordingPeer):
            return peer.kinds

    async def settle():
        peer = RecordingPeer()
        peer.events.append({"kind": "this very one"})
        line = json.dumps(request("subscribe", {"agent": "a"})).encode()
        return json.loads(await Dispatcher(Traffic(), Wants()).answer(line, peer).answer)

    assert asyncio.run(settle())["result"] == ["this very one"]
