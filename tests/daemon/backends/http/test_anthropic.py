"""Messages: a server we did not write, and every event that Anthropic documents."""

from typing import Any

import pytest
from peers import aimock
from peers.backends_anthropic import MODEL, block, config, piece, start, stop, text
from peers.model_server import ModelServer, refuses, says
from peers.turns import done_of, failure_of, history, played, text_of, turn

from port42_daemon.backends.base import Done, Notice, Started, Text, Thought, Tool, Usage
from port42_daemon.backends.http.anthropic import Anthropic
from port42_daemon.config import AnthropicBackend

KEY = "sk-ant-test-0123456789abcdef"


def reply(*stream: Any) -> list[object]:
    """The events of the back end for a stream of these."""
    with ModelServer(says(stream)) as server:
        return played(Anthropic(config(server)))


def asked(the_turn: object, **more: object) -> dict[str, Any]:
    """The request that a turn becomes."""
    with ModelServer(says(text("hello"))) as server:
        played(Anthropic(config(server, **more)), the_turn)
        return server.bodies[0]


# --- a server we did not write --------------------------------------------------------------------


@pytest.fixture(scope="module")
def aimock_url() -> str:
    with aimock.running(key=KEY) as url:
        yield url


@pytest.fixture
def backend(aimock_url: str) -> Anthropic:
    settings = AnthropicBackend(model="claude-x", base_url=aimock_url, api_key_env="TEST_KEY", retries=0)
    return Anthropic(settings, {"TEST_KEY": KEY})


def test_aimock_answers(backend: Anthropic) -> None:
    received = played(backend, turn("hello"))
    assert text_of(received) == "hello from a server we did not write"
    assert received[0] == Started(model="claude-x")
    assert received[-1] == Done(stop_reason="end_turn")
    assert any(isinstance(event, Usage) for event in received)
    assert sum(isinstance(event, Text) for event in received) > 1


def test_aimock_thinks(backend: Anthropic) -> None:
    received = played(backend, turn("think"))
    assert "".join(e.text for e in received if isinstance(e, Thought)) == "Let me think about that."
    assert text_of(received) == "I thought."


def test_aimock_calls_a_tool(backend: Anthropic) -> None:
    received = played(backend, turn("weather"))
    tools = [event for event in received if isinstance(event, Tool)]
    assert [(tool.name, tool.state) for tool in tools] == [
        ("get_weather", "running"),
        ("get_weather", "failed"),
    ]
    assert isinstance(tools[1].input, dict)
    assert done_of(received) == Done(stop_reason="tool_use")


def test_aimock_is_busy(backend: Anthropic) -> None:
    kind, message = failure_of(played(backend, turn("busy")))
    assert (kind, "Too many at once" in message) == ("rate_limit", True)


def test_aimock_is_cut(backend: Anthropic) -> None:
    received = played(backend, turn("cut"))
    assert failure_of(received)[0] == "network"
    assert text_of(received)
    assert "this will be cut long before".startswith(text_of(received))


def test_aimock_sees_persona_and_history(backend: Anthropic) -> None:
    assert text_of(played(backend, turn("who are you?", system="You are Ada."))) == "I am Ada"
    said = history(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    assert text_of(played(backend, turn("three", history=said))) == "that was the third"


def test_aimock_refuses_a_wrong_key(aimock_url: str) -> None:
    settings = AnthropicBackend(model="claude-x", base_url=aimock_url, api_key_env="TEST_KEY")
    kind, message = failure_of(played(Anthropic(settings, {"TEST_KEY": "sk-wrong"})))
    assert (kind, "TEST_KEY" in message, "sk-wrong" in message) == ("needs_auth", True, False)


# --- requests --------------------------------------------------------------------------------


def test_a_turn_becomes_a_request() -> None:
    said = history(("user", "a"), ("assistant", "b"), ("system", "in French"), ("error", "no"))
    assert asked(turn("c", history=said, system="You are Ada"), max_tokens=99) == {
        "model": MODEL,
        "max_tokens": 99,
        "system": "You are Ada\n\nin French",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "stream": True,
    }


def test_the_model_of_the_turn_comes_first_and_a_limit_is_always_there() -> None:
    body = asked(turn(model="another"))
    assert body["model"] == "another"
    assert body["max_tokens"] > 0
    assert "system" not in body


def test_roles_alternate_from_the_user_to_the_user() -> None:
    said = history(("assistant", "b"), ("user", "c"), ("user", "d"), ("assistant", "\n"), ("user", "e"))
    messages = asked(turn("f", history=said))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1:] == [
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c\n\nd\n\ne\n\nf"},
    ]


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_the_address_may_hold_the_version(tail: str) -> None:
    with ModelServer(says(text("hello"))) as server:
        backend = Anthropic(config(server, base_url=server.url + tail, api_key_env="K"), {"K": KEY})
        assert text_of(played(backend)) == "hello"
        request = server.requests[0]
    assert request.path == "/v1/messages"
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert request.headers["authorization"] is None


# --- replies -----------------------------------------------------------------------------


def test_a_reply_becomes_events() -> None:
    assert reply(*text("hel", "lo")) == [
        Started(model=MODEL),
        Usage(7, 1),
        Text("hel"),
        Text("lo"),
        Usage(7, 9),
        Done(stop_reason="end_turn"),
    ]


def test_cached_input_is_input() -> None:
    received = reply(*start(2, cache_read_input_tokens=30, cache_creation_input_tokens=400), *stop())
    assert [event for event in received if isinstance(event, Usage)] == [Usage(432, 1), Usage(432, 9)]


def test_thinking_is_a_thought_and_its_signature_nothing() -> None:
    received = reply(
        *start(),
        *block(
            0,
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "EqQBCgIYAhIM"},
        ),
        *block(1, {"type": "redacted_thinking", "data": "EmwKAhgBEgy"}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "yes"}),
        *stop(),
    )
    assert [event for event in received if not isinstance(event, Usage | Started | Done)] == [
        Thought("hm"),
        Text("yes"),
    ]


FOUND = [{"type": "web_search_result", "title": "Rye", "url": "http://127.0.0.1/rye"}]


def test_a_tool_of_the_server_is_running_then_done() -> None:
    received = reply(
        *start(),
        *block(
            0,
            {"type": "server_tool_use", "id": "t1", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"query":'},
            {"type": "input_json_delta", "partial_json": ' "rye"}'},
        ),
        *block(1, {"type": "web_search_tool_result", "tool_use_id": "t1", "content": FOUND}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "found"}),
        *stop(),
    )
    tools = [event for event in received if isinstance(event, Tool)]
    assert tools == [
        Tool("t1", "web_search", "running", "web_search", "fetch"),
        Tool("t1", "rye", "done", "web_search", "fetch", {"query": "rye"}, FOUND),
    ]
    assert text_of(received) == "found"


def test_a_tool_that_waits_for_us_has_failed_and_is_said() -> None:
    received = reply(
        *start(), *block(0, {"type": "tool_use", "id": "t", "name": "search"}), *stop("tool_use")
    )
    assert received[-3] == Tool("t", "search", "failed", "search", "search")
    assert isinstance(received[-2], Notice)


def test_events_and_blocks_of_the_future_are_ignored() -> None:
    received = reply(
        {"type": "weather", "delta": {"text": "rain"}},
        *start(),
        *block(0, {"type": "hologram", "beam": 3}, {"type": "beam_delta", "beam": [1]}),
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_start", "index": 1},
        *block(1, {"type": "text", "text": "hello"}),
        *stop(),
        {"type": "error", "error": {"message": "after the end"}},
    )
    assert text_of(received) == "hello"
    assert done_of(received) == Done(stop_reason="end_turn")


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens", "stop_sequence", "pause_turn", "something_new"])
def test_a_stop_reason_is_passed_on(reason: str) -> None:
    received = reply(*text("x", reason=reason))
    assert done_of(received) == Done(stop_reason=reason)
    assert any(isinstance(event, Notice) for event in received) == (reason in ("max_tokens", "pause_turn"))


def test_a_refusal_is_refused_and_keeps_the_text() -> None:
    received = reply(*text("well", reason="refusal"))
    assert text_of(received) == "well"
    assert failure_of(received)[0] == "refused"
    assert done_of(received).stop_reason == "refusal"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("overloaded_error", "rate_limit"),
        ("rate_limit_error", "rate_limit"),
        ("authentication_error", "needs_auth"),
        ("permission_error", "needs_auth"),
        ("invalid_request_error", "refused"),
        ("not_found_error", "refused"),
        ("timeout_error", "timeout"),
        ("api_error", "rate_limit"),
    ],
)
def test_an_error_within_the_stream(name: str, kind: str) -> None:
    received = reply(
        *start(), piece("half"), {"type": "error", "error": {"type": name, "message": "Overloaded"}}
    )
    assert text_of(received) == "half"
    found_kind, message = failure_of(received)
    assert (found_kind, "Overloaded" in message) == (kind, True)


def test_overloaded_is_tried_again_while_nothing_has_come() -> None:
    busy = refuses(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    with ModelServer(busy, busy, says(text("hello"))) as server:
        assert text_of(played(Anthropic(config(server)))) == "hello"
        assert len(server.requests) == 3


def test_a_model_that_is_not_there_is_refused() -> None:
    said = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-nope"}}
    with ModelServer(refuses(404, said)) as server:
        kind, message = failure_of(played(Anthropic(config(server))))
    assert (kind, "claude-nope" in message) == ("refused", True)


def test_a_stop_reason_without_message_stop_is_whole() -> None:
    assert done_of(reply(*text("hello")[:-1])) == Done(stop_reason="end_turn")
