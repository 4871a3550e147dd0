"""What model servers refuse, and what is tried again."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers.http_back_ends import KEY, Kind
from peers.model_server import (
    ModelServer,
    breaks_off,
    events,
    hangs_up,
    refuses,
    says,
    sends,
)
from peers.turns import failure_of, played, text_of

from port42_daemon.backends.base import Notice
from port42_daemon.backends.http.errors import LONGEST_WAIT, pause_before, seconds_of


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, "refused"),
        (401, "needs_auth"),
        (403, "needs_auth"),
        (404, "refused"),
        (408, "timeout"),
        (413, "refused"),
        (429, "rate_limit"),
        (500, "network"),
        (503, "network"),
        (529, "rate_limit"),
    ],
)
def test_a_status_is_a_kind_of_failure(kind: Kind, status: int, expected: str) -> None:
    with ModelServer(refuses(status, {"error": {"message": "no,\nnot today"}})) as server:
        failure_kind, message = failure_of(played(kind.backend(server, retries=0)))
    assert failure_kind == expected
    assert str(status) in message
    assert ("no, not today" in message) == (expected != "needs_auth")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": "model 'x' not found"}, "model 'x' not found"),
        ({"message": "out of memory"}, "out of memory"),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "too high"}]}, "body.top_p: too high"),
        ({"error": {"code": 3}}, "answers 400"),
        ({"detail": [{"loc": 3}]}, "answers 400"),
        ([1, 2], "answers 400"),
        (b"<html>an error page</html>", "answers 400"),
        (b"\xff\x00{", "answers 400"),
        ({"error": {"message": "\x1b[31mred\x07 " + "x" * 5000}}, "[31mred xxx"),
    ],
)
def test_what_a_server_says_is_one_safe_line(kind: Kind, body: object, expected: str) -> None:
    with ModelServer(refuses(400, body)) as server:
        _, message = failure_of(played(kind.backend(server)))
    assert expected in message
    assert message.isprintable()
    assert "html" not in message
    assert len(message) < 400


def test_a_refused_key_is_called_by_its_variable_and_never_shown(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ModelServer(refuses(401, {"error": {"message": f"bad key {KEY}"}})) as server:
        events = played(kind.backend(server, api_key_env="TEST_KEY"))
        headers = server.requests[0].headers
    assert KEY in (headers["authorization"] or headers["x-api-key"])
    failure_kind, message = failure_of(events)
    assert failure_kind == "needs_auth"
    assert "TEST_KEY" in message
    assert "when the daemon started" in message
    assert KEY not in repr(events) + caplog.text
    assert "bad key" not in message


def test_a_missing_key_is_said_before_anything_is_sent(kind: Kind) -> None:
    with ModelServer(says([])) as server:
        failure_kind, message = failure_of(played(kind.backend(server, api_key_env="NOT_THERE")))
        assert server.connections == 0
    assert failure_kind == "needs_auth"
    assert "NOT_THERE" in message
    assert "never reaches it" in message


def test_nothing_that_repeats_the_key_brings_it_into_an_event(kind: Kind) -> None:
    streams = [
        kind.reply(f"you sent {KEY}!"),
        events([{"type": "error", "error": {"message": f"bad {KEY}"}}]),
    ]
    for stream in streams:
        with ModelServer(sends(stream)) as server:
            assert KEY not in repr(played(kind.backend(server, api_key_env="TEST_KEY")))
    with ModelServer(refuses(400, {"error": "x" * 290 + KEY})) as server:
        received = repr(played(kind.backend(server, api_key_env="TEST_KEY")))
    assert KEY[:8] not in received


@pytest.mark.parametrize("key", ["k", "text", "ollama", "lm-studio"])
def test_a_stand_in_for_a_key_takes_nothing_out_of_the_reply(kind: Kind, key: str) -> None:
    """Local servers take any key, and people use words that also occur in replies and in their JSON."""
    words = "ask ollama or lm-studio for text"
    with ModelServer(sends(kind.reply(words))) as server:
        settings = kind.peer.config(server, api_key_env="TEST_KEY")
        assert text_of(played(kind.build(settings, {"TEST_KEY": key}))) == words


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_leaks_no_key(kind: Kind, status: int) -> None:
    with ModelServer(says([])) as elsewhere:
        with ModelServer(refuses(status, Location=f"{elsewhere.url}/v1/messages")) as server:
            failure_kind, message = failure_of(played(kind.backend(server, api_key_env="TEST_KEY")))
            assert len(server.requests) == 1
        assert elsewhere.connections == 0
    assert (failure_kind, "base_url" in message) == ("refused", True)


def test_a_provider_itself_is_not_asked_without_a_key(kind: Kind) -> None:
    config = kind.peer.config(SimpleNamespace(url=""), base_url=f"{kind.build.own_url}/v1")
    backend = kind.build(config, {})
    failure_kind, message = failure_of(played(backend))
    assert (failure_kind, "api_key_env" in message) == ("needs_auth", True)
    assert asyncio.run(backend.probe()).state == "needs_auth"


@pytest.mark.parametrize("first", [refuses(500), refuses(408), refuses(429, Retry_After="0"), hangs_up])
def test_a_turn_is_tried_again_before_the_first_byte(kind: Kind, first: object) -> None:
    with ModelServer(first, sends(kind.reply("hello"))) as server:
        assert text_of(played(kind.backend(server))) == "hello"
        assert len(server.requests) == 2
        assert server.bodies[0] == server.bodies[1]


def test_a_turn_fails_after_the_configured_attempts(kind: Kind) -> None:
    with ModelServer(refuses(500, Retry_After="0")) as server:
        assert failure_of(played(kind.backend(server, retries=2)))[0] == "network"
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_request_that_would_be_refused_again_is_not_repeated(kind: Kind, status: int) -> None:
    with ModelServer(refuses(status)) as server:
        played(kind.backend(server))
        assert len(server.bodies) == 1


def test_retry_after_is_waited_for_and_said(kind: Kind) -> None:
    began = time.monotonic()
    with ModelServer(refuses(429, Retry_After="2"), sends(kind.reply("hello"))) as server:
        received = played(kind.backend(server))
    assert time.monotonic() - began >= 2
    assert text_of(received) == "hello"
    notices = [event.text for event in received if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "429" in notices[0]
    assert "trying again in 2 s" in notices[0]


def test_a_retry_after_beyond_reason_is_told_and_not_waited_for(kind: Kind) -> None:
    with ModelServer(refuses(429, Retry_After="3600")) as server:
        failure_kind, message = failure_of(played(kind.backend(server)))
        assert len(server.requests) == 1
    assert (failure_kind, "3600 s" in message) == ("rate_limit", True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_a_retry_after_is_a_number_of_seconds(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


def test_a_retry_after_is_a_date() -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=30)
    received = seconds_of(format_datetime(ahead, usegmt=True))
    assert received is not None
    assert 25 < received <= 30
    assert seconds_of(format_datetime(ahead - timedelta(hours=1), usegmt=True)) == 0


@given(st.integers(0, 10), st.none() | st.floats(0, LONGEST_WAIT))
def test_a_pause_is_never_short_of_the_wish_nor_endless(attempt: int, wish: float | None) -> None:
    pause = pause_before(attempt, wish)
    assert pause >= (wish if wish is not None else 0.25)
    assert pause <= (wish + 0.25 if wish is not None else 8)


def test_nothing_is_tried_again_after_the_first_byte(kind: Kind) -> None:
    with ModelServer(breaks_off(kind.begun("half"))) as server:
        received = played(kind.backend(server))
        assert len(server.requests) == 1
    assert text_of(received) == "half"
    assert failure_of(received)[0] == "network"
