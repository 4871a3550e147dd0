"""Chat Completions: a server we did not write, and what compatible ones do differently."""

import time
from typing import Any

import pytest
from peers import aimock
from peers.backends_openai import MODEL, chunk, config, text, usage
from peers.model_server import ModelServer, events, falls_silent, refuses, says, sends
from peers.turns import done_of, failure_of, history, played, text_of, turn

from port42_daemon.backends.base import Done, Notice, Started, Text, Thought, Tool, Usage
from port42_daemon.backends.http.openai import OpenAI
from port42_daemon.config import OpenAIBackend

KEY = "sk-test-0123456789abcdef"


def reply(*stream: Any) -> list[object]:
    """The events of the back end for a stream of these."""
    with ModelServer(says(stream)) as server:
        return played(OpenAI(config(server)))


def asked(the_turn: object, **more: object) -> dict[str, Any]:
    """The request that a turn becomes."""
    with ModelServer(says(text("hello"))) as server:
        played(OpenAI(config(server, **more)), the_turn)
        return server.bodies[0]


# --- a server we did not write --------------------------------------------------------------------


@pytest.fixture(scope="module")
def aimock_url() -> str:
    with aimock.running(key=KEY) as url:
        yield url


@pytest.fixture
def backend(aimock_url: str) -> OpenAI:
    settings = OpenAIBackend(model="gpt-4o", base_url=f"{aimock_url}/v1", api_key_env="TEST_KEY", retries=0)
    return OpenAI(settings, {"TEST_KEY": KEY})


def test_aimock_answers(backend: OpenAI) -> None:
    received = played(backend, turn("hello"))
    assert text_of(received) == "hello from a server we did not write"
    assert received[0] == Started(model="gpt-4o")
    assert received[-1] == Done(stop_reason="end_turn")
    assert sum(isinstance(event, Text) for event in received) > 1


def test_aimock_thinks(backend: OpenAI) -> None:
    received = played(backend, turn("think", model="o3"))
    assert "".join(e.text for e in received if isinstance(e, Thought)) == "Let me think about that."
    assert text_of(received) == "I thought."


def test_aimock_calls_a_tool(backend: OpenAI) -> None:
    received = played(backend, turn("weather"))
    tools = [event for event in received if isinstance(event, Tool)]
    assert [(tool.name, tool.state) for tool in tools] == [
        ("get_weather", "running"),
        ("get_weather", "failed"),
    ]
    assert isinstance(tools[1].input, dict)
    assert done_of(received) == Done(stop_reason="tool_use")


def test_aimock_is_busy(backend: OpenAI) -> None:
    kind, message = failure_of(played(backend, turn("busy")))
    assert (kind, "Too many at once" in message) == ("rate_limit", True)


def test_aimock_is_cut(backend: OpenAI) -> None:
    received = played(backend, turn("cut"))
    assert failure_of(received)[0] == "network"
    assert text_of(received)
    assert "this will be cut long before".startswith(text_of(received))


def test_aimock_stops_at_its_limit(backend: OpenAI) -> None:
    received = played(backend, turn("long"))
    assert done_of(received) == Done(stop_reason="max_tokens")
    assert any(isinstance(event, Notice) for event in received)


def test_aimock_sees_persona_and_history(backend: OpenAI) -> None:
    assert text_of(played(backend, turn("who are you?", system="You are Ada."))) == "I am Ada"
    said = history(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    assert text_of(played(backend, turn("three", history=said))) == "that was the third"


def test_aimock_refuses_a_wrong_key(aimock_url: str) -> None:
    settings = OpenAIBackend(model="gpt-4o", base_url=f"{aimock_url}/v1", api_key_env="TEST_KEY")
    kind, message = failure_of(played(OpenAI(settings, {"TEST_KEY": "sk-wrong"})))
    assert (kind, "TEST_KEY" in message, "sk-wrong" in message) == ("needs_auth", True, False)


# --- requests --------------------------------------------------------------------------------


def test_a_turn_becomes_a_request() -> None:
    said = history(("user", "a"), ("assistant", "b"), ("system", "in French"), ("error", "no"))
    assert asked(turn("c", history=said, system="You are Ada")) == {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are Ada\n\nin French"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_model_of_the_turn_comes_first() -> None:
    assert asked(turn(model="another"))["model"] == "another"


def test_roles_alternate_from_the_user_to_the_user() -> None:
    said = history(("assistant", "b"), ("user", "c"), ("user", "d"), ("assistant", " "), ("user", "e"))
    messages = asked(turn("f", history=said))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1:] == [
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c\n\nd\n\ne\n\nf"},
    ]


def test_without_a_key_no_authorization_is_sent() -> None:
    with ModelServer(says(text("hello"))) as server:
        played(OpenAI(config(server)))
        assert server.requests[0].headers["authorization"] is None
        assert server.requests[0].path == "/v1/chat/completions"


def test_an_old_server_that_refuses_stream_options_is_asked_without() -> None:
    refused = refuses(400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}})
    with ModelServer(refused, says(text("hello"))) as server:
        assert text_of(played(OpenAI(config(server)), turn(), turn())) == "hello"
        assert ["stream_options" in body for body in server.bodies] == [True, False, False]


def test_a_server_that_validates_strictly_is_asked_without_stream_options() -> None:
    detail = [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted"}]
    with ModelServer(refuses(422, {"detail": detail}), says(text("hello"))) as server:
        assert text_of(played(OpenAI(config(server)))) == "hello"


def test_a_server_that_goes_on_refusing_fails_the_turn() -> None:
    with ModelServer(refuses(400, {"error": "stream_options, max_completion_tokens"})) as server:
        assert failure_of(played(OpenAI(config(server, max_tokens=10))))[0] == "refused"
        assert len(server.requests) == 3


def test_the_limit_of_tokens_goes_by_the_name_that_the_server_knows() -> None:
    refused = refuses(400, {"error": {"message": "Use 'max_completion_tokens' instead."}})
    with ModelServer(refused, says(text("hello"))) as server:
        played(OpenAI(config(server, max_tokens=10)), turn(), turn())
        assert [body.get("max_tokens") for body in server.bodies] == [10, None, None]
        assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 10, 10]


# --- replies -----------------------------------------------------------------------------


def test_a_reply_becomes_events() -> None:
    assert reply(*text("hel", "lo")) == [
        Started(model=MODEL),
        Text("hel"),
        Text("lo"),
        Usage(7, 2),
        Done(stop_reason="end_turn"),
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_thought(name: str) -> None:
    received = reply(chunk({name: "hm"}), chunk({"content": "yes", name: None}), chunk(finish_reason="stop"))
    assert received[1:3] == [Thought("hm"), Text("yes")]


def test_a_server_that_leaves_out_all_it_can() -> None:
    received = reply({"choices": [{"delta": {"content": "hello"}}]}, {"choices": [{"finish_reason": "stop"}]})
    assert received == [Started(), Text("hello"), Done(stop_reason="end_turn")]


def test_a_server_that_sends_null_for_all_it_can() -> None:
    nothing = {"content": None, "refusal": None, "reasoning": None, "tool_calls": None, "role": None}
    received = reply(
        {"id": None, "model": None, "choices": None, "usage": None, "error": None},
        {"choices": [{"delta": None, "finish_reason": None}]},
        {"choices": [{"delta": nothing, "finish_reason": None}], "usage": {"prompt_tokens": None}},
        *text("hello"),
    )
    assert text_of(received) == "hello"
    assert done_of(received) == Done(stop_reason="end_turn")


def test_done_alone_ends_a_reply() -> None:
    assert done_of(reply(chunk({"content": "hello"}), "[DONE]")) == Done()


def test_usage_may_come_with_the_last_chunk_and_before_it() -> None:
    last = chunk(finish_reason="stop") | {
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    }
    assert reply(chunk({"content": "x"}) | usage(3, 1), last, "[DONE]")[-2:] == [
        Usage(3, 5),
        Done(None, "end_turn"),
    ]


def test_a_missing_done_and_an_open_connection_end_soon_after_the_reply() -> None:
    began = time.monotonic()
    with ModelServer(falls_silent(events([*text("hello")[:-1]]))) as server:
        received = played(OpenAI(config(server)))
    assert done_of(received) == Done(stop_reason="end_turn")
    assert time.monotonic() - began < 20


def test_what_comes_after_the_end_is_ignored() -> None:
    assert text_of(reply(*text("hello"), chunk({"content": " and more"}), "[DONE]", "{")) == "hello"


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", Done(stop_reason="end_turn")),
        ("length", Done(stop_reason="max_tokens")),
        ("eos", Done(stop_reason="eos")),
    ],
)
def test_a_finish_reason_is_a_stop_reason(finish: str, expected: Done) -> None:
    assert done_of(reply(chunk({"content": "x"}), chunk(finish_reason=finish))) == expected


def test_a_filtered_reply_is_refused() -> None:
    received = reply(chunk({"content": "well"}), chunk(finish_reason="content_filter"))
    assert failure_of(received)[0] == "refused"
    assert done_of(received).stop_reason == "refusal"


def test_a_refusal_in_words_is_the_reply() -> None:
    assert (
        text_of(reply(chunk({"refusal": "I would rather not"}), chunk(finish_reason="stop")))
        == "I would rather not"
    )


def call(index: int, **more: Any) -> dict[str, Any]:
    return chunk({"tool_calls": [{"index": index, "type": "function"} | more]})


def test_tools_that_the_server_runs_are_done_with_the_reply() -> None:
    received = reply(
        call(0, id="call_1", function={"name": "search", "arguments": ""}),
        call(0, function={"arguments": '{"query"'}),
        call(1, function={"name": "read", "arguments": ": 1}"}),
        call(0, function={"arguments": ': "rye"}'}),
        call(7, function={"arguments": "of no call"}),
        *text("found it"),
    )
    assert [event for event in received if isinstance(event, Tool)] == [
        Tool("call_1", "search", "running", "search", "search"),
        Tool("call-1", "read", "running", "read", "read"),
        Tool("call_1", "rye", "done", "search", "search", {"query": "rye"}),
        Tool("call-1", "read", "done", "read", "read", ": 1}"),
    ]
    assert not any(isinstance(event, Notice) for event in received)


def test_a_tool_that_waits_for_us_has_failed_and_is_said() -> None:
    received = reply(
        call(0, id="c", function={"name": "search"}), chunk(finish_reason="tool_calls"), "[DONE]"
    )
    assert received[-3] == Tool("c", "search", "failed", "search", "search")
    assert isinstance(received[-2], Notice)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "no", "code": 429}, "rate_limit"),
        ({"message": "no", "type": "rate_limit_exceeded"}, "rate_limit"),
        ({"message": "no", "code": "context_length_exceeded", "type": "invalid_request_error"}, "refused"),
        ({"message": "no", "code": 502}, "network"),
        ({"message": "no", "code": True, "type": ["?"]}, "crashed"),
        ("no", "crashed"),
        ({}, "crashed"),
    ],
)
def test_an_error_within_the_stream(error: object, kind: str) -> None:
    received = reply(chunk({"content": "half"}), {"error": error})
    assert text_of(received) == "half"
    assert failure_of(received)[0] == kind
    assert ("no" in failure_of(received)[1].split(": ")[-1]) == bool(error)


def test_only_the_first_choice_is_the_reply() -> None:
    two = {"choices": [{"delta": {"content": "one"}}, {"delta": {"content": "two"}}]}
    assert text_of(reply(two, "[DONE]")) == "one"


def test_a_model_that_is_not_there_is_refused_in_the_servers_words() -> None:
    said = {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error"}}
    with ModelServer(refuses(404, said)) as server:
        kind, message = failure_of(played(OpenAI(config(server))))
    assert (kind, "try pulling it first" in message) == ("refused", True)


def test_a_404_without_words_asks_after_base_url_and_model() -> None:
    with ModelServer(refuses(404, b"404 page not found", kind="text/plain")) as server:
        _, message = failure_of(played(OpenAI(config(server))))
    assert "base_url" in message
    assert MODEL in message


def test_a_byte_order_mark_and_other_charsets_do_no_harm() -> None:
    with ModelServer(sends(events(text("grün ☂")), kind="text/event-stream; charset=utf-8")) as server:
        assert text_of(played(OpenAI(config(server)))) == "grün ☂"
