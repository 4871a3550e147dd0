"""Streams as servers send them: errors are told in the server's words, and a cut reply is a failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import backends_anthropic, backends_openai
from peers.model_server import ModelServer, events, sends
from peers.turns import done_of, failure_of, played, text_of

from port42_daemon.backends.base import Done, Thought
from port42_daemon.backends.http.anthropic import Anthropic
from port42_daemon.backends.http.conversation import EventDecoder
from port42_daemon.backends.http.openai import OpenAI

KINDS = [(OpenAI, backends_openai), (Anthropic, backends_anthropic)]
chunk = backends_openai.chunk


@pytest.fixture(params=KINDS, ids=["openai", "anthropic"])
def kind(request):
    return request.param


def answered(kind, body: bytes, content_type: str = "text/event-stream", **more: object):
    """The events of a turn that a server answered with these bytes."""
    build, peer = kind
    with ModelServer(sends(body, kind=content_type)) as server:
        return played(build(peer.config(server, retries=0, **more)))


# --- errors that come with a 200 --------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/event-stream", ""])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"Model is not loaded: it needs 14 GB"}',
        b'{"error":{"message":"Model is not loaded: it needs 14 GB","type":"oops"}}\n',
        b'{\n  "error": {\n    "message": "Model is not loaded: it needs 14 GB"\n  }\n}\n',
        b'[{\n "error": {"code": "x", "message": "Model is not loaded: it needs 14 GB"}\n}]',
        b'{"detail":"Model is not loaded: it needs 14 GB"}',
        b'{"type":"error","error":{"type":"oops","message":"Model is not loaded: it needs 14 GB"}}',
        b'error: {"code":3,"message":"Model is not loaded: it needs 14 GB"}\n\ndata: [DONE]\n\n',
        b'event: error\ndata: {"message":"Model is not loaded: it needs 14 GB"}\n\n',
        b"event: error\ndata: Model is not loaded: it needs 14 GB\n\n",
        b'data: {"error":{"message":"Model is not loaded: it needs 14 GB"}}\n\ndata: [DONE]\n\n',
        b'data: {"object":"error","message":"Model is not loaded: it needs 14 GB"}\n\n',
        b'data: {"error":"Model is not loaded: it needs 14 GB"}',
        b"Model is not loaded: it needs 14 GB",
        b"data: Model is not loaded: it needs 14 GB\n\n",
    ],
)
def test_an_error_is_told_in_the_servers_words_whatever_it_comes_in(kind, body, content_type):
    if body.startswith(b"Model") and content_type == "text/event-stream":
        pytest.skip("a field of that name is passed over in a stream")
    failed, message = failure_of(answered(kind, body, content_type))
    assert failed == "crashed"
    assert "Model is not loaded: it needs 14 GB" in message


@pytest.mark.parametrize(
    ("words", "expected"),
    [("529 Overloaded", "rate_limit"), ("Invalid API key", "needs_auth"), ("fetch failed", "network")],
)
def test_words_without_a_code_have_their_kind(kind, words, expected):
    assert failure_of(answered(kind, f'{{"error": "{words}"}}'.encode(), "application/json"))[0] == expected


def test_an_error_after_half_a_reply_keeps_the_half(kind):
    half = chunk({"content": "half"})
    if kind[0] is Anthropic:
        half = backends_anthropic.piece("half")
    for error in (b'error: {"message":"gone"}\n\n', b'{"error":"gone"}\n', b'event: error\ndata: "gone"\n\n'):
        received = answered(kind, events([half]) + error + b"data: [DONE]\n\n")
        assert text_of(received) == "half"
        assert "gone" in failure_of(received)[1]


# --- replies in other shapes ------------------------------------------------------------------------


def test_a_server_that_does_not_stream_is_understood():
    whole = b'{"model":"m","choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]}'
    received = answered(KINDS[0], whole, "application/json")
    assert (text_of(received), done_of(received)) == ("hello", Done(stop_reason="end_turn"))
    whole = (
        b'{"type":"message","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn"}'
    )
    received = answered(KINDS[1], whole, "application/json")
    assert (text_of(received), done_of(received)) == ("hello", Done(stop_reason="end_turn"))


@pytest.mark.parametrize(
    ("content", "text", "thought"),
    [
        ([{"type": "text", "text": "hello"}], "hello", ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}], "", "hm"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hello"}], "hello", "hm"),
        ({"type": "text", "text": "hello"}, "hello", ""),
        (["hel", {"text": "lo"}, 3, None, {"type": "hologram"}], "hello", ""),
    ],
)
def test_content_in_parts(content, text, thought):
    stream = [chunk({"content": content}), chunk({"content": "!"}), chunk(finish_reason="stop"), "[DONE]"]
    received = answered(KINDS[0], events(stream))
    assert text_of(received) == f"{text}!"
    assert "".join(event.text for event in received if isinstance(event, Thought)) == thought


def test_text_after_the_reason_of_the_end_is_part_of_the_reply():
    def behave(exchange):
        exchange.begin()
        exchange.write(events([chunk({"role": "assistant", "content": ""}, finish_reason="stop")]))
        exchange.wait(0.5)
        exchange.write(events([chunk({"content": "hello "})]))
        exchange.write(events([chunk(finish_reason="stop"), chunk({"content": "world"}), "[DONE]"]))
        exchange.end()

    with ModelServer(behave) as server:
        received = played(OpenAI(backends_openai.config(server)))
    assert (text_of(received), done_of(received)) == ("hello world", Done(stop_reason="end_turn"))


def test_an_early_end_that_nothing_follows_is_no_reply():
    def behave(exchange):
        exchange.begin()
        exchange.write(events([chunk({"content": ""}, finish_reason="stop")]))
        exchange.wait(3)

    with ModelServer(behave) as server:
        received = played(OpenAI(backends_openai.config(server, timeout=0.3, retries=0)))
    assert failure_of(received)[0] == "timeout"


@pytest.mark.parametrize("cut", [rb"\ud83e", rb"\udd8a"])
def test_half_a_surrogate_pair_loses_only_itself(kind, cut):
    piece = events([chunk({"content": "a X b"})])
    end = events([chunk(finish_reason="stop"), "[DONE]"])
    if kind[0] is Anthropic:
        whole = events(backends_anthropic.text("a X b"))
        received = answered(kind, whole.replace(b"X", cut))
    else:
        received = answered(kind, piece.replace(b"X", cut) + end)
    text = text_of(received)
    assert (text[:2], text[-2:]) == ("a ", " b")
    assert done_of(received).failure is None


# --- the decoder ------------------------------------------------------------------------------------

FIELDS = st.sampled_from(
    [b"data: x", b"data:y", b"event: e", b": c", b"id: 1", b"retry: 3", b"", b"data", b"{}"]
)


def decoded(pieces):
    decoder = EventDecoder()
    received = []
    for piece in pieces:
        if piece:
            received += decoder.feed(piece)
    return received + decoder.end()


@given(st.lists(FIELDS), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(1, 9)))
def test_any_cut_and_any_line_end_gives_the_same_events(lines, end, cuts):
    stream = end.join([*lines, b""])
    pieces, rest = [], stream
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    assert decoded([*pieces, rest]) == decoded([b"\n".join([*lines, b""])])


def test_an_event_is_named_and_its_lines_are_joined():
    stream = b"\xef\xbb\xbfevent: e\ndata: one\ndata: two\n\ndata: three\n\n: ping\n\ndata: last"
    assert decoded([stream]) == [(b"e", b"one\ntwo"), (b"", b"three"), (b"", b"last")]


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing(data):
    decoded([data[:100], data[100:]])
