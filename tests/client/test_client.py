"""The client against real sockets, and peers that do all that a daemon may do, and must not."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest
from peers.cli_fixtures import answering, connected
from peers.requests import SUMMARY

from port42_client import client as subject
from port42_client import dial as dial_module
from port42_client import silence
from port42_client.client import Client
from port42_client.dial import dial
from port42_client.errors import BadInput, DaemonError, NoDaemon
from port42_protocol.messages.events import Possessed
from port42_protocol.messages.records import Summary
from port42_protocol.messages.sessions import GetLastSession
from port42_protocol.messages.turns import Possess


def shutting_down(talk):
    talk.refuse(talk.request(), -32002, "the daemon is shutting down", kind="shutting_down")


def vanishing(talk):
    talk.request()


def test_a_request_dataclass_gets_its_result_dataclass(peer):
    fake = peer(answering(SUMMARY))
    with connected(fake) as client:
        session = client.call(GetLastSession("ai-engineer"))
    assert session == Summary(**SUMMARY)
    assert fake.requests == [
        {"jsonrpc": "2.0", "method": "get_last_session", "params": {"agent": "ai-engineer"}, "id": 1}
    ]


def test_one_connection_serves_every_call(peer):
    fake = peer(answering({"pid": 1}))
    with connected(fake) as client:
        assert [client.ask("status") for _ in range(3)] == [{"pid": 1}] * 3
    assert [request["id"] for request in fake.requests] == [1, 2, 3]


def test_positional_params_stay_an_array(peer):
    fake = peer(answering(1))
    with connected(fake) as client:
        client.ask("get_last_session", ["ai-engineer"])
    assert fake.requests[0]["params"] == ["ai-engineer"]


def test_the_daemons_error_comes_with_all_it_says(peer):
    fake = peer(lambda talk: talk.refuse(talk.request(), 1004, "not yours", kind="wrong_agent", owner="b"))
    with connected(fake) as client, pytest.raises(DaemonError) as caught:
        client.call(GetLastSession("a"))
    error = caught.value
    assert (error.code, error.kind, error.message) == (1004, "wrong_agent", "not yours")
    assert error.data == {"kind": "wrong_agent", "owner": "b"}


def test_an_error_without_data_is_one_all_the_same(peer):
    def script(talk):
        number = talk.request()["id"]
        talk.send({"jsonrpc": "2.0", "error": {"code": -32000, "message": "no"}, "id": number})

    with connected(peer(script)) as client, pytest.raises(DaemonError) as caught:
        client.ask("status")
    assert (caught.value.code, caught.value.data) == (-32000, {})


def test_notifications_and_answers_to_others_are_passed_over(peer):
    def script(talk):
        request = talk.request()
        talk.send({"jsonrpc": "2.0", "method": "session_event", "params": {"seq": 1}})
        talk.send({"jsonrpc": "2.0", "result": "late", "id": 999})
        talk.answer(request, "mine")

    with connected(peer(script)) as client:
        assert client.ask("status") == "mine"


def test_an_answer_may_come_byte_by_byte(peer):
    def script(talk):
        number = talk.request()["id"]
        for byte in json.dumps({"jsonrpc": "2.0", "result": "whole ›", "id": number}).encode() + b"\r\n":
            talk.connection.sendall(bytes([byte]))

    with connected(peer(script)) as client:
        assert client.ask("status") == "whole ›"


@pytest.mark.parametrize(
    "junk", [b"hello\n", b"1\n", b'{"id":1}\n', b'"id"\n', b"\xff\n", b"[" * 200_000 + b"\n"]
)
def test_what_does_not_speak_json_rpc_is_no_daemon(peer, junk):
    def script(talk):
        talk.request()
        talk.connection.sendall(junk)

    with connected(peer(script)) as client, pytest.raises(NoDaemon, match=r"does not speak JSON-RPC"):
        client.ask("status")


def test_a_result_of_another_shape_says_how_to_get_this_versions_daemon(peer):
    with connected(peer(answering({"session_id": 5}))) as client, pytest.raises(NoDaemon) as caught:
        client.call(GetLastSession("a"))
    assert "port42 daemon restart" in caught.value.message


def test_fields_of_a_newer_daemon_are_passed_over(peer):
    with connected(peer(answering({**SUMMARY, "mood": "fine"}))) as client:
        assert client.call(GetLastSession("a")) == Summary(**SUMMARY)


def test_shutting_down_is_put_to_the_next_daemon_whatever_the_method(peer):
    fake = peer(shutting_down, answering({"seq": 1}))
    with connected(fake) as client:
        assert client.ask("append_message", {"agent": "a"}) == {"seq": 1}
    assert len(fake.requests) == 2


def test_the_next_daemon_is_not_dialled_before_the_stopping_one_hung_up(peer):
    order = []

    def dialled():
        order.append("dialled")
        return dial(fake.path)

    def leaving(talk):
        talk.refuse(talk.request(), -32002, "the daemon is shutting down", kind="shutting_down")
        order.append("hung up")

    fake = peer(leaving, answering(1))
    with Client(dialled) as client:
        client.ask("status")
    assert order == ["dialled", "hung up", "dialled"]


def test_what_could_not_be_written_is_put_to_the_next_daemon_whatever_the_method(peer):
    """A kept connection whose daemon stopped meanwhile: it never saw the request."""

    def leaving(talk):
        talk.answer(talk.request(), 1)

    fake = peer(leaving, answering({"seq": 1}))
    with connected(fake) as client:
        client.ask("status")
        client._socket.settimeout(20)
        client._socket.recv(1, socket.MSG_PEEK)  # until it has hung up
        assert client.ask("append_message", {"agent": "a"}) == {"seq": 1}
    assert [request["method"] for request in fake.requests] == ["status", "append_message"]


def test_a_daemon_that_always_shuts_down_is_believed_in_the_end(peer):
    fake = peer(*[shutting_down] * subject.ATTEMPTS)
    with connected(fake) as client, pytest.raises(DaemonError, match="shutting down"):
        client.ask("status")
    assert len(fake.requests) == subject.ATTEMPTS


@pytest.mark.parametrize("method", sorted(subject.READING))
def test_a_question_that_was_cut_off_is_asked_again(peer, method):
    fake = peer(vanishing, vanishing, answering("here"))
    with connected(fake) as client:
        assert client.ask(method) == "here"


def test_a_keyed_request_is_sent_again_with_its_key(peer):
    fake = peer(vanishing, answering({"session_id": "cli-1", "seq": 1, "status": "recorded"}))
    with connected(fake) as client:
        result = client.call(Possess("a", "hi", idempotency_key="k"))
    assert result == Possessed("cli-1", 1, "recorded")
    assert [request["params"]["idempotency_key"] for request in fake.requests] == ["k", "k"]


@pytest.mark.parametrize("method", ["append_message", "possess", "create_session", "update_last_session"])
def test_a_change_that_may_have_happened_is_never_sent_twice(peer, method):
    fake = peer(vanishing, answering("twice"))
    with connected(fake) as client, pytest.raises(NoDaemon, match="may have been carried out"):
        client.ask(method, {"agent": "a"})
    assert len(fake.requests) == 1


def test_a_daemon_that_keeps_going_away_is_given_up(peer):
    fake = peer(*[vanishing] * subject.ATTEMPTS)
    with connected(fake) as client, pytest.raises(NoDaemon, match="went away"):
        client.ask("status")


def test_a_kept_connection_survives_a_restart_between_two_calls(peer):
    fake = peer(lambda talk: talk.answer(talk.request(), 1), answering(2))
    with connected(fake) as client:
        assert client.ask("status") == 1
        assert client.ask("status") == 2


def test_a_line_refused_before_it_was_read_whole_still_gets_its_answer(peer):
    def script(talk):
        talk.connection.recv(1024)
        error = {"code": -32003, "message": "too long", "data": {"kind": "frame_too_large"}}
        talk.send({"jsonrpc": "2.0", "error": error, "id": None})

    with connected(peer(script)) as client, pytest.raises(DaemonError, match="too long"):
        client.ask("possess", {"message": "x" * 5_000_000})


def test_silence_ends_and_the_late_answer_is_nobodys(peer, monkeypatch):
    monkeypatch.setattr(silence, "PATIENCE", 0.05)

    def silent(talk):
        request = talk.request()
        talk.connection.recv(1)  # until the client hangs up
        talk.answer(request, "late")

    with connected(peer(silent, answering("fresh"))) as client:
        with pytest.raises(NoDaemon, match="did not answer within"):
            client.ask("status")
        monkeypatch.setattr(silence, "PATIENCE", 30)
        assert client.ask("status") == "fresh"


def test_a_daemon_that_never_ends_stopping_is_told(peer, monkeypatch):
    monkeypatch.setattr(silence, "PATIENCE", 0.05)

    def clinging(talk):
        shutting_down(talk)
        talk.connection.recv(1)  # until the client hangs up

    with connected(peer(clinging)) as client, pytest.raises(NoDaemon, match="is still stopping after"):
        client.ask("status")


def test_an_answer_to_a_batch_nobody_sent_is_passed_over(peer):
    def script(talk):
        request = talk.request()
        talk.send([{"jsonrpc": "2.0", "result": 1, "id": request["id"]}])
        talk.answer(request, 2)

    with connected(peer(script)) as client:
        assert client.ask("status") == 2


def test_an_endless_answer_is_cut_off(peer, monkeypatch):
    monkeypatch.setattr(subject, "ANSWER_LIMIT", 1000)

    def script(talk):
        talk.request()
        talk.connection.sendall(b"x" * 100_000)

    with connected(peer(script)) as client, pytest.raises(NoDaemon, match="more than 1,000 bytes"):
        client.ask("status")


@pytest.mark.parametrize(
    ("params", "words"),
    [({"agent": "caf\udce9"}, "not UTF-8"), ({"limit": float("nan")}, "not JSON numbers")],
)
def test_what_cannot_be_written_is_not_sent(peer, params, words):
    fake = peer(answering(1))
    with connected(fake) as client, pytest.raises(BadInput, match=words):
        client.ask("status", params)
    assert fake.requests == []


def test_somebody_elses_daemon_is_told_nothing(peer, monkeypatch):
    fake = peer(answering(1))
    ours = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
    with connected(fake) as client, pytest.raises(NoDaemon, match=rf"runs as uid {ours}, not as you"):
        client.ask("status")
    assert fake.requests == []


def test_nobody_listening_is_an_oserror_of_dial(home):
    with pytest.raises(FileNotFoundError):
        dial(str(home.parent / "nobody.sock"))
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(home.parent / "stale.sock"))
    with pytest.raises(ConnectionRefusedError):
        dial(str(home.parent / "stale.sock"))


def test_the_trace_shows_both_directions_shortened_and_harmless(peer, monkeypatch, capsys):
    monkeypatch.setenv("PORT42_DEBUG", "1")
    with connected(peer(answering("\x9b31m" + "x" * 9000 + "END"))) as client:
        client.ask("status")
    sent, received = capsys.readouterr().err.splitlines()
    assert sent == '→ {"jsonrpc": "2.0", "method": "status", "id": 1}'
    assert received.startswith('← {"jsonrpc"')
    assert "END" in received
    assert len(received) < subject.TRACE_LIMIT + 50
    assert received.endswith("bytes)")


@pytest.mark.parametrize("off", ["", "0"])
def test_there_is_no_trace_unless_asked_for(peer, monkeypatch, capsys, off):
    monkeypatch.setenv("PORT42_DEBUG", off)
    with connected(peer(answering(1))) as client:
        client.ask("status")
    assert capsys.readouterr().err == ""


def test_more_than_one_page_is_one_list_and_incomplete_when_one_of_them_is(peer):
    def two_pages(talk):
        request = talk.request()
        assert request["params"] == {"query": "x", "limit": 100}
        talk.answer(request, {"hits": [1] * 100, "next_cursor": "on", "complete": False})
        request = talk.request()
        assert request["params"] == {"query": "x", "limit": 50, "cursor": "on"}
        talk.answer(request, {"hits": [2] * 50, "next_cursor": "further", "complete": True})

    with connected(peer(two_pages)) as client:
        page = client.ask_rows("search_sessions", {"query": "x"}, "hits", limit=150, per_page=100)
    assert page == {"hits": [1] * 100 + [2] * 50, "next_cursor": "further", "complete": False}


# --- a daemon that hangs ----------------------------------------------------------------------------


class Recording:
    """A listener that does nothing but note."""

    interval = None

    def __init__(self):
        self.reader, self.writer = os.pipe()
        self.events = []

    def fileno(self):
        return self.reader

    def on_event(self, event):
        self.events.append(event["kind"])

    def on_readable(self):
        raise AssertionError("nothing was written")

    def on_tick(self):
        pass


@pytest.fixture
def listener():
    listener = Recording()
    yield listener
    os.close(listener.reader)
    os.close(listener.writer)


@pytest.fixture
def impatient(monkeypatch):
    """What is told, where nothing is waited for long."""
    monkeypatch.setattr(silence, "SLOW", 0.05)
    monkeypatch.setattr(silence, "PATIENCE", 1.2)
    return []


def hanging(talk):
    talk.request()
    talk.connection.recv(1)  # until the client hangs up


@pytest.mark.parametrize("method", ["sessions", "possess", "retry_turn"])
def test_what_is_waited_for_is_told_before_it_is_given_up(peer, impatient, method):
    notices = []
    fake = peer(hanging)
    client = Client(lambda: dial(fake.path), notices.append)
    with client, pytest.raises(NoDaemon, match=f"took {method} and did not answer") as caught:
        client.ask(method, {"idempotency_key": "k"})
    assert notices == [f"Waiting for port42d, which has not answered yet ({method})."]
    assert any("port42 doctor" in line for line in caught.value.advice)
    assert len(fake.requests) == 1


def test_a_turn_lasts_as_long_as_the_daemon_answers_between(peer, impatient, listener):
    """Each silence is broken by the answer to a `status`, which nobody waits for."""
    notices = []

    def slow_back_end(talk):
        turn = talk.request()
        talk.send({"jsonrpc": "2.0", "method": "session_event", "params": {"kind": "started"}})
        for _ in range(3):
            ping = talk.request()
            assert ping["method"] == "status"
            talk.answer(ping, {})
        talk.answer(turn, "at last")

    fake = peer(slow_back_end)
    with Client(lambda: dial(fake.path), notices.append) as client:
        assert client.ask("possess", {"idempotency_key": "k"}, listener=listener) == "at last"
    assert (notices, listener.events) == ([], ["started"])


def test_a_turn_whose_daemon_stops_answering_is_given_up(peer, impatient, listener):
    notices = []

    def dying(talk):
        talk.request()
        talk.send({"jsonrpc": "2.0", "method": "session_event", "params": {"kind": "started"}})
        assert talk.request()["method"] == "status"
        talk.connection.recv(1)  # until the client hangs up

    fake = peer(dying)
    client = Client(lambda: dial(fake.path), notices.append)
    with client, pytest.raises(NoDaemon, match="did not answer"):
        client.ask("possess", {"idempotency_key": "k"}, listener=listener)
    assert notices == ["Waiting for port42d, which has not answered yet (possess)."]


def test_one_who_follows_hears_that_the_daemon_hangs(peer, impatient, monkeypatch):
    monkeypatch.setattr(silence, "FOLLOWING", 0.05)
    notices = []

    def dying(talk):
        talk.answer(talk.request(), {"subscriptions": 1})
        assert talk.request()["method"] == "status"
        talk.connection.recv(1)  # until the client hangs up

    fake = peer(dying)
    client = Client(lambda: dial(fake.path), notices.append)
    with client, pytest.raises(NoDaemon, match="did not answer"):
        list(client.events("subscribe", {"agent": "a"}))
    assert notices == ["Waiting for port42d, which has not answered yet (subscribe)."]


def test_a_request_that_is_not_taken_is_given_up(peer, impatient):
    """One that is longer than the socket's buffer, and nobody reads it."""
    given_up = threading.Event()
    fake = peer(lambda _: given_up.wait(60))
    with connected(fake) as client:
        with pytest.raises(NoDaemon, match="did not answer"):
            client.ask("possess", {"message": "x" * 5_000_000})
        given_up.set()


def test_a_full_queue_of_connections_is_waited_for_and_told(home, impatient, monkeypatch):
    for name, seconds in (("SLOW", 0.05), ("PATIENCE", 0.2)):
        monkeypatch.setattr(dial_module, name, seconds)
    notices = []
    path = str(home.parent / "full.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        with socket.socket(socket.AF_UNIX) as filling:
            filling.connect(path)
            with pytest.raises(NoDaemon, match="accepted no connection"):
                dial(path, notices.append)
    assert notices == ["Waiting for port42d, which accepts no connections."]
