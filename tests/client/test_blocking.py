"""The client for scripts against real daemons: turns, subscriptions over restarts, what is missing."""

from __future__ import annotations

import itertools
import json
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from peers import versions
from peers.cli_fixtures import COMMAND
from peers.talk import configure, outline

import port42_client
from port42_client import (
    BadInput,
    Client,
    MissingCapability,
    NoDaemon,
    RequestCancelled,
    UnknownAgent,
    WrongAgent,
)
from port42_client._shared import PossessOptions, RetryOptions
from port42_protocol.messages.events import EndedEvent, MessageEvent, TextEvent, WaitingEvent
from port42_protocol.messages.sessions import AppendMessage, CreateSession, GetSession
from port42_protocol.messages.turns import Possess, RetryTurn, Unsubscribe
from port42_protocol.methods import METHODS


def append(client, content, session_id="s-1"):
    return client.call(AppendMessage("ai-muse", session_id, "user", content))


def messages(events, count):
    """The records of the next `count` message events."""
    found = (event.message for event in events if isinstance(event, MessageEvent))
    return list(itertools.islice(found, count))


def test_a_script_with_a_thousand_open_files_is_served(daemon):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = 1100
    if before[1] != resource.RLIM_INFINITY and before[1] < 2 * many:
        pytest.skip(f"no more than {before[1]} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2 * many, before[0]), before[1]))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(many)]
    try:
        with Client() as client:
            assert client.ask("status")["pid"] == daemon.pid
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_turn_is_events_and_a_result(tap, daemon):
    with Client() as client:
        turn = client.possess("shout", "hello", cwd="/", client="demo")
        events = list(turn)
        assert "".join(event.text for event in events if isinstance(event, TextEvent)) == "HELLO"
        assert isinstance(events[-1], EndedEvent)
        assert (turn.result.status, turn.result.reply) == ("answered", "HELLO")
        assert turn.session_id == turn.result.session_id == events[0].session_id
        assert turn.session_id.startswith("demo-")
        more = client.possess("shout", "again", session_id=turn.session_id)
        assert more.result.reply == "AGAIN", "who wants no events asks for the result"
    assert [content for _, content in outline(daemon, turn.session_id)] == [
        "hello",
        "HELLO",
        "again",
        "AGAIN",
    ]


def test_errors_are_of_their_kind(tap, daemon):
    with Client() as client:
        client.call(CreateSession("ai-muse", "s-1"))
        with pytest.raises(WrongAgent) as caught:
            client.call(GetSession("s-1", "shout"))
        assert (caught.value.kind, caught.value.data["owner"]) == ("wrong_agent", "ai-muse")
        with pytest.raises(UnknownAgent):
            client.possess("nobody", "hello")
        configure(daemon.home, bad=["false"])
        turn = client.possess("bad", "hello")
        with pytest.raises(port42_client.BackendFailed) as failed:
            _ = turn.result
        assert failed.value.kind == "crashed"
        turn = client.retry("bad", failed.value.data["session_id"])
        with pytest.raises(port42_client.BackendFailed):
            _ = turn.result


def test_every_error_of_the_protocol_has_its_class():
    from port42_client import daemon_errors
    from port42_protocol import errors

    for row in METHODS.values():
        for kind in (*errors.STANDARD, *row.errors):
            error = daemon_errors.of(kind.code, "text", {"kind": kind.kind})
            assert type(error).__name__ == kind.__name__
            assert getattr(port42_client, kind.__name__) is type(error)
    assert type(daemon_errors.of(9999, "of a newer daemon", None)) is port42_client.DaemonError


def test_a_turn_is_cancelled_from_another_thread_and_one_that_waits_is_not_recorded(tap, daemon):
    with Client() as client:
        turn = client.possess("tap", "hello")
        with tap.open() as say:
            say("half")
            while not isinstance(next(turn), TextEvent):
                pass
            waiting = client.possess("tap", "me too", session_id=turn.session_id)
            assert isinstance(next(waiting), WaitingEvent)
            waiting.cancel()
            with pytest.raises(RequestCancelled):
                _ = waiting.result
            threading.Timer(0, turn.cancel).start()
            assert (turn.result.status, turn.result.reply) == ("interrupted", "half")
    assert outline(daemon, turn.session_id) == [("user", "hello"), ("assistant", "half")]


def test_closing_a_turn_ends_it(tap, daemon):
    with Client() as client, client.possess("tap", "hello") as turn:
        with tap.open() as say:
            say("half")
            while not isinstance(next(turn), TextEvent):
                pass
            events = client.subscribe(turn.session_id, since_seq=1)
            assert isinstance(next(events), TextEvent)
            turn.close()
            assert messages(events, 1)[0].status == "interrupted"
            events.close()
        with pytest.raises(NoDaemon):
            _ = turn.result


def test_a_subscription_goes_on_after_a_restart_and_a_kill_and_misses_nothing(daemon):
    """What is written before the subscription is back is sent after it, once."""
    with Client(start=False) as client:
        client.call(CreateSession("ai-muse", "s-1"))
        append(client, "before")
        events = client.subscribe("s-1", since_seq=0)
        assert [record.content for record in messages(events, 1)] == ["before"]
        for end in (daemon.stop, daemon.kill):
            append(client, "read late")
            end()
            client.close()
            daemon.start()
            append(client, "of the next daemon")
            got = messages(events, 2)
            assert [record.content for record in got] == ["read late", "of the next daemon"]
        append(client, "last")
        assert [record.seq for record in messages(events, 1)] == [6]
        events.close()


def test_a_subscription_begins_now_though_it_is_read_later(daemon):
    with Client() as client:
        client.call(CreateSession("ai-muse", "s-1"))
        append(client, "before")
        with closing(client.subscribe("s-1")) as events:
            append(client, "now")
            assert [record.content for record in messages(events, 1)] == ["now"]


def test_all_sessions_can_be_subscribed_to(daemon):
    with Client() as client, closing(client.subscribe()) as events, ThreadPoolExecutor(1) as thread:
        got = thread.submit(messages, events, 2)
        while daemon.call("status")["subscriptions"] == 0:
            pass
        for session_id in ("s-1", "s-2"):
            client.call(CreateSession("ai-muse", session_id))
            append(client, session_id, session_id)
        assert [record.content for record in got.result()] == ["s-1", "s-2"]


def test_a_question_is_asked_once_though_the_daemon_is_killed(tap, daemon):
    with Client() as client:
        turn = client.possess("tap", "hello")
        with tap.open() as say:
            say("half of it")
            while not isinstance(next(turn), TextEvent):
                pass
            daemon.kill()
        daemon.start()
        with pytest.raises(port42_client.BackendFailed, match="the daemon was stopped during this turn"):
            _ = turn.result
    roles = [role for role, _ in outline(daemon, turn.session_id)]
    assert (roles[0], roles[-1], roles.count("user")) == ("user", "error", 1)


def test_what_is_needed_is_there_or_the_error_says_which_side_to_update(daemon):
    with Client() as client:
        assert client.require("possess.depth", "$/cancel").version
        with pytest.raises(
            MissingCapability, match=r"juggle, which demo 3 needs.*: update port42d"
        ) as caught:
            client.require("juggle", name="demo", version="3")
        assert caught.value.data["missing"] == ["juggle"]


def test_a_daemon_from_before_hello_is_said_to_be_too_old(start_daemon, tmp_path):
    start_daemon(env=versions.older(tmp_path).environ)
    with Client() as client, pytest.raises(MissingCapability, match="update port42d") as caught:
        client.require("possess.depth")
    assert caught.value.data["missing"] == ["hello", "possess.depth"]


def test_another_home_and_no_start(home, daemon, tmp_path):
    with Client(home=tmp_path / "other", start=False) as client, pytest.raises(NoDaemon):
        client.call(Unsubscribe())
    with Client(home=home, socket_path=daemon.socket, start=False) as client:
        assert client.call(Unsubscribe()).subscriptions == 0
    assert not (tmp_path / "other").exists()
    assert os.environ["PORT42_SOCKET"] == str(daemon.socket)


def test_another_machine_is_an_option_too(home, daemon):
    """By a command that is run here; tests/e2e/test_ssh.py has the way over ssh."""
    program = json.dumps(COMMAND[-1])
    argv = json.dumps(COMMAND[:-1])
    (home / "config.toml").write_text(f"[hosts.box]\ncommand = {argv}\nprogram = {program}\n")
    with Client(host="box", start=False) as client:
        assert client.call(CreateSession("ai-muse", "s-1")).session_id == "s-1"
        append(client, "there")
        with closing(client.subscribe("s-1", since_seq=0)) as events:
            assert messages(events, 1)[0].content == "there"
    with pytest.raises(BadInput, match="host"):
        Client(host="box", socket_path=daemon.socket)


@pytest.mark.parametrize(
    ("kind", "others", "options"),
    [
        (Possess, {"agent", "message", "stream"}, PossessOptions),
        (RetryTurn, {"agent", "session_id", "stream"}, RetryOptions),
    ],
)
def test_every_parameter_of_a_turn_is_an_option(kind, others, options):
    assert set(options.__annotations__) == set(kind.__dataclass_fields__) - others


@pytest.mark.parametrize(
    "call",
    [
        lambda: Client(hom="x"),
        lambda: Client().possess("a", "b", detatch=True),
        lambda: Client().retry("a", "s-1", detatch=True),
    ],
)
def test_an_option_that_there_is_not_is_refused(home, call):
    with pytest.raises(TypeError, match=r"unknown option: (hom|detatch)"):
        call()
