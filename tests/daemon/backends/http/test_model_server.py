"""Model servers that behave badly, against both back ends that talk to them."""

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import backends_anthropic, backends_openai
from peers.http_back_ends import ENVIRON, KEY, Kind
from peers.model_server import (
    ModelServer,
    breaks_off,
    events,
    falls_silent,
    refuses,
    says,
    says_nothing,
    sends,
)
from peers.turns import done_of, events_of, failure_of, nobody, played, text_of, turn

from port42_daemon.backends.base import Done, Notice, Text
from port42_daemon.backends.http import conversation
from port42_daemon.backends.http.anthropic import Anthropic
from port42_daemon.backends.http.openai import OpenAI

# No deadline, no slowness check: these tests are about results, and the machine may be busy.
PROPERTY = settings(max_examples=30, suppress_health_check=list(HealthCheck))


# --- streams that go wrong ------------------------------------------------------------------------


def test_a_stream_that_ends_too_early_was_cut(kind: Kind) -> None:
    with ModelServer(sends(kind.begun("half"))) as server:
        received = played(kind.backend(server))
    assert text_of(received) == "half"
    assert failure_of(received)[0] == "network"


@pytest.mark.parametrize("stream", [b"", b": only a comment\n\n", b"event: ping\n\n"])
def test_a_stream_of_nothing_was_cut(kind: Kind, stream: bytes) -> None:
    with ModelServer(sends(stream)) as server:
        assert failure_of(played(kind.backend(server)))[0] == "network"


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[1]",
        '"text"',
        "null",
        '{"type": 3, "choices": 3}',
        '{"type": "message_start", "choices": [3], "message": 3}',
    ],
)
def test_what_is_not_the_protocol_ends_the_turn_as_crashed(kind: Kind, bad: str) -> None:
    with ModelServer(sends(kind.begun("half") + events([bad]))) as server:
        received = played(kind.backend(server))
    assert text_of(received) == "half"
    assert failure_of(received)[0] == "crashed"


@pytest.mark.parametrize("bad", ["text/html", "application/json", ""])
def test_an_answer_that_is_no_stream_is_crashed_and_names_base_url(kind: Kind, bad: str) -> None:
    with ModelServer(sends(b"<html></html>", kind=bad)) as server:
        failure_kind, message = failure_of(played(kind.backend(server)))
    assert (failure_kind, "base_url" in message) == ("crashed", True)


def test_a_page_in_place_of_a_reply_is_told_in_its_own_words(kind: Kind) -> None:
    page = "<!DOCTYPE html><html><head><title>Sign in</title><script>var a = '<b>';\nlet b</script>"
    page += f"<style>p {{ color: red }}</style></head>\n<body><p>Your key {KEY}\n&amp; plan</p></body></html>"
    with ModelServer(sends(page.encode(), kind="text/html")) as server:
        _, message = failure_of(played(kind.backend(server, api_key_env="TEST_KEY")))
    assert message.endswith("is base_url right? It says: Sign in Your key … & plan")


@pytest.mark.parametrize("key", ["x", "sk-short", "fifteen-chars-1"])
def test_a_short_key_is_not_repeated(kind: Kind, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRON, "TEST_KEY", key)
    words = f"exceeded: your key '{key}' (Bearer {key})"
    answers = [
        refuses(400, {"error": {"message": words}}),
        refuses(500, {"detail": words}),
        sends(json.dumps({"error": {"message": words}}).encode(), kind="application/json"),
        sends(f"error: {words}\n\n".encode()),
        sends(words.encode(), kind="text/plain"),
    ]
    for answer in answers:
        with ModelServer(answer) as server:
            _, message = failure_of(played(kind.backend(server, api_key_env="TEST_KEY", retries=0)))
        assert "exceeded: your key '…' (Bearer …)" in message


def test_an_event_without_end_is_crashed_and_not_kept(kind: Kind) -> None:
    with ModelServer(sends(b"data: " + b"x" * (17 * 1024 * 1024))) as server:
        failure_kind, message = failure_of(played(kind.backend(server)))
    assert (failure_kind, "16 MiB" in message) == ("crashed", True)


def test_an_event_of_several_mebibytes_is_taken(kind: Kind) -> None:
    long = "y" * (4 * 1024 * 1024)
    with ModelServer(sends(kind.reply(long))) as server:
        assert text_of(played(kind.backend(server))) == long


def test_silence_before_the_reply_is_a_timeout_and_not_asked_again(kind: Kind) -> None:
    with ModelServer(says_nothing) as server:
        failure_kind, message = failure_of(played(kind.backend(server, timeout=0.3)))
        assert len(server.requests) == 1
    assert (failure_kind, "0.3 s" in message) == ("timeout", True)


def test_silence_within_the_reply_is_a_timeout_and_keeps_the_text(kind: Kind) -> None:
    with ModelServer(falls_silent(kind.begun("half"))) as server:
        received = played(kind.backend(server, timeout=0.3))
    assert text_of(received) == "half"
    assert failure_of(received)[0] == "timeout"


def test_comments_keep_a_slow_server_from_the_timeout(kind: Kind) -> None:
    def behave(exchange):
        exchange.begin()
        for _ in range(6):
            exchange.write(b": still at work\n\n")
            exchange.wait(0.1)
        exchange.write(kind.reply("hello"))
        exchange.end()

    with ModelServer(behave) as server:
        assert text_of(played(kind.backend(server, timeout=0.4))) == "hello"


def test_a_whole_reply_is_whole_though_the_stream_never_ends(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_AFTER_FINISH", 3600)
    with ModelServer(falls_silent(kind.reply("hello") + kind.reply("after the end"))) as server:
        received = played(kind.backend(server))
        assert server.hung_up.wait(5)
    assert (text_of(received), done_of(received)) == ("hello", Done(stop_reason="end_turn"))


def test_an_error_after_a_whole_reply_is_ignored(kind: Kind) -> None:
    with ModelServer(breaks_off(kind.reply("hello") + b"data: {\n\n")) as server:
        assert done_of(played(kind.backend(server))) == Done(stop_reason="end_turn")


# --- connections ----------------------------------------------------------------------------------


def test_nobody_listens(kind: Kind) -> None:
    with kind.peer.CASES["missing"]() as config:
        failure_kind, message = failure_of(played(kind.build(config)))
    assert failure_kind == "network"
    assert "connection refused" in message
    assert "127.0.0.1" in message


@pytest.mark.parametrize(
    "address", ["http://", "http://[::1", "http://h:port/v1", "https:///v1", "http://h:99999999"]
)
def test_an_address_that_is_none_is_refused_when_it_is_used(kind: Kind, address: str) -> None:
    backend = kind.build(kind.peer.config(SimpleNamespace(url=""), base_url=address, retries=0))
    assert failure_of(played(backend))[0] in ("refused", "network")


def test_a_certificate_that_is_none_is_named(kind: Kind) -> None:
    with ModelServer(says([])) as server:
        address = server.url.replace("http:", "https:")
        backend = kind.build(kind.peer.config(server, base_url=address, retries=0))
        failure_kind, message = failure_of(played(backend))
    assert (failure_kind, "TLS" in message) == ("network", True)


def test_two_turns_share_a_connection(kind: Kind) -> None:
    with ModelServer(sends(kind.reply("hello"))) as server:
        assert text_of(played(kind.backend(server), turn(), turn(), turn())) == "hello"
        assert (len(server.requests), server.connections) == (3, 1)


def test_many_turns_at_once(kind: Kind) -> None:
    async def both(server: ModelServer) -> list[str]:
        backend = kind.backend(server)
        turns = [events_of(backend, turn()) for _ in range(20)]
        received = await asyncio.gather(*turns)
        await backend.aclose()
        return [text_of(events) for events in received]

    with ModelServer(sends(kind.reply("hel", "lo"))) as server:
        assert asyncio.run(both(server)) == ["hello"] * 20


@pytest.mark.parametrize("behaviour", ["before", "within"])
def test_a_cancelled_turn_closes_the_connection_at_once(kind: Kind, behaviour: str) -> None:
    async def cancel(server: ModelServer, first: asyncio.Event) -> None:
        backend = kind.backend(server)

        async def play() -> None:
            async with aclosing(backend.run(turn(), nobody)) as stream:
                async for event in stream:
                    if isinstance(event, Text):
                        first.set()

        task = asyncio.create_task(play())
        if behaviour == "within":
            await first.wait()
        else:
            await asyncio.to_thread(server.asked.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The back end is still open: the turn closed the connection.
        assert await asyncio.to_thread(server.hung_up.wait, 2)
        await backend.aclose()

    slow = says_nothing if behaviour == "before" else falls_silent(kind.begun("tick"))
    with ModelServer(slow) as server:
        asyncio.run(cancel(server, asyncio.Event()))


def test_a_turn_whose_reader_leaves_closes_the_connection(kind: Kind) -> None:
    async def leave(server: ModelServer) -> None:
        backend = kind.backend(server)
        async with aclosing(backend.run(turn(), nobody)) as stream:
            async for event in stream:
                if isinstance(event, Text):
                    break
        assert await asyncio.to_thread(server.hung_up.wait, 2)
        await backend.aclose()

    with ModelServer(falls_silent(kind.begun("tick"))) as server:
        asyncio.run(leave(server))


def test_a_wait_before_another_attempt_can_be_cancelled(kind: Kind) -> None:
    async def cancel(server: ModelServer) -> None:
        backend = kind.backend(server)
        async with aclosing(backend.run(turn(), nobody)) as stream:
            assert isinstance(await anext(stream), Notice)
            task = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await backend.aclose()

    with ModelServer(refuses(429, Retry_After="50")) as server:
        asyncio.run(cancel(server))
        assert len(server.requests) == 1


def test_a_proxy_of_the_environment_does_not_stand_before_this_machine(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(says([])) as proxy, ModelServer(sends(kind.reply("hello"))) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert text_of(played(kind.backend(server))) == "hello"
        assert proxy.connections == 0


def test_a_proxy_that_cannot_be_used_is_refused(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://proxy")
    backend = kind.build(kind.peer.config(SimpleNamespace(url=""), base_url="http://models.example/v1"))
    failure_kind, message = failure_of(played(backend))
    assert (failure_kind, "proxy" in message) == ("refused", True)


# --- how the stream is cut does not matter --------------------------------------------------------


@PROPERTY
@given(
    pieces=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6),
    ends=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(1, 40), max_size=60),
)
def test_any_cut_of_the_stream_gives_the_same_reply(pieces: list[str], ends: bytes, cuts: list[int]) -> None:
    """Bytes into chunks anywhere, within a character or between CR and LF."""
    for protocol in (Kind(backends_openai, OpenAI), Kind(backends_anthropic, Anthropic)):
        stream = (b": hello\n\nretry: 3\n\n" + protocol.reply(*pieces)).replace(b"\n", ends)

        def behave(exchange, stream=stream):
            exchange.begin()
            for cut in cuts:
                if stream[:cut]:
                    exchange.write(stream[:cut])
                stream = stream[cut:]
            if stream:
                exchange.write(stream)
            exchange.end()

        with ModelServer(behave) as server:
            assert text_of(played(protocol.backend(server))) == "".join(pieces)


# --- probes and costs -----------------------------------------------------------------------------


def test_a_probe_of_a_server_on_this_machine(kind: Kind) -> None:
    with ModelServer(says([])) as server:
        health = asyncio.run(kind.backend(server, api_key_env="TEST_KEY").probe())
        asked = server.requests[0]
    assert health.state == "ready"
    assert asked.path == "/v1/models"
    assert KEY in (asked.headers["authorization"] or asked.headers["x-api-key"])


def test_a_probe_where_nobody_listens(kind: Kind) -> None:
    with kind.peer.CASES["missing"]() as config:
        health = asyncio.run(kind.build(config).probe())
    assert (health.state, "connection refused" in health.detail) == ("unreachable", True)


def test_a_probe_of_a_server_that_does_not_speak(kind: Kind) -> None:
    began = time.monotonic()
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as deaf:  # the kernel takes the connection, nobody the request
        server = SimpleNamespace(url=f"http://127.0.0.1:{deaf.getsockname()[1]}")
        health = asyncio.run(kind.backend(server).probe())
    assert health.state == "unreachable"
    assert time.monotonic() - began < 10


def test_a_probe_asks_nobody_beyond_this_machine(kind: Kind) -> None:
    # The name cannot be resolved; a request to it would fail.
    backend = kind.build(
        kind.peer.config(
            SimpleNamespace(url=""), base_url="https://models.invalid/v1", api_key_env="TEST_KEY"
        ),
        ENVIRON,
    )
    health = asyncio.run(backend.probe())
    assert (health.state, "the key is there" in health.detail) == ("ready", True)


def test_a_probe_without_its_key(kind: Kind) -> None:
    with ModelServer(says([])) as server:
        health = asyncio.run(kind.backend(server, api_key_env="NOT_THERE").probe())
    assert (health.state, "NOT_THERE" in health.detail) == ("needs_auth", True)


def test_the_client_is_not_imported_before_a_turn(kind: Kind) -> None:
    with ModelServer(says([])) as server:
        name = kind.build.__name__
        code = f"""
import asyncio, sys
from port42_daemon.backends.http.{name.lower()} import {name}
from port42_daemon.config import {name}Backend
async def main():
    backend = {name}({name}Backend(model="m", base_url="{server.url}/v1"))
    assert (await backend.probe()).state == "ready"
    await backend.aclose()
asyncio.run(main())
print("aiohttp" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_defect_ends_the_turn_and_is_logged_without_its_words(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]  # it is broken
            raise RuntimeError(f"illegal header {KEY}")

    caplog.set_level(logging.DEBUG)
    settings = kind.peer.config(SimpleNamespace(url="http://127.0.0.1:1"), api_key_env="TEST_KEY")
    failure_kind, message = failure_of(played(kind.build(settings, Broken())))
    assert (failure_kind, KEY in message) == ("crashed", False)
    assert "RuntimeError" in caplog.text
    assert KEY not in caplog.text
