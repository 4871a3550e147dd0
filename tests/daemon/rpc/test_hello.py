"""`hello`: what a client learns, what it may need, and how it opts out of notifications."""

from __future__ import annotations

import pytest
from peers.parts import RecordingPeer
from peers.talk import Talk

from port42_daemon.rpc.hello import Handshake
from port42_daemon.settings import Settings
from port42_protocol import __version__
from port42_protocol.errors import MissingCapability
from port42_protocol.messages.daemon import Hello
from port42_protocol.methods import METHODS


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path, tmp_path / "socket")


def test_who_asks_for_nothing_learns_everything(daemon):
    welcome = daemon.call("hello")
    assert welcome == {
        "version": __version__,
        "protocol_version": 1,
        "capabilities": list(METHODS),
        "limits": daemon.call("status")["limits"],
        "read_only": False,
        "notifications": True,
    }


def test_every_method_and_parameter_can_be_needed(settings):
    needs = [f"{row.name}.{name}" for row in METHODS.values() for name in row.params.__dataclass_fields__]
    Handshake(settings).hello(Hello(needs=[*METHODS, *needs]), RecordingPeer())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Hello("vim", "1.4", ["possess", "possess.detpth", "juggle"]),
            f"port42d {__version__} does not have possess.detpth, juggle, which vim 1.4 needs"
            " (did you mean possess.depth?): update port42d",
        ),
        (
            Hello(needs=["rpc.discover.depth"]),
            f"port42d {__version__} does not have rpc.discover.depth, which the client needs: update port42d",
        ),
    ],
)
def test_what_is_missing_is_named_and_the_side_to_update(settings, request_, message):
    peer = RecordingPeer()
    with pytest.raises(MissingCapability) as caught:
        Handshake(settings).hello(Hello(request_.client, request_.version, request_.needs, False), peer)
    assert caught.value.message.startswith(message.partition(" (did")[0].partition(": update")[0])
    assert caught.value.message.endswith(": update port42d")
    assert caught.value.data["update"] == "port42d"
    assert set(caught.value.data["missing"]) == set(request_.needs) - {"possess"}
    assert peer.notifications, "a hello that is refused changes nothing"


def test_what_was_removed_is_the_clients_to_update(settings, monkeypatch):
    monkeypatch.setattr("port42_daemon.rpc.hello.REMOVED", {"juggle": "possess"})
    with pytest.raises(MissingCapability) as caught:
        Handshake(settings).hello(Hello("vim", needs=["juggle"]), RecordingPeer())
    said = f"port42d {__version__} no longer has juggle (instead: possess): update vim"
    assert (caught.value.message, caught.value.data["update"]) == (said, "client")


def test_the_socket_for_reading_says_what_it_does_not_serve(settings):
    handshake = Handshake(settings, read_only=True)
    welcome = handshake.hello(Hello(needs=["get_session", "subscribe.since_seq"]), RecordingPeer())
    assert welcome.read_only
    assert set(welcome.capabilities) == {name for name, row in METHODS.items() if row.read_only}
    with pytest.raises(MissingCapability, match=r"does not serve possess\.depth") as caught:
        handshake.hello(Hello(needs=["get_session", "possess.depth"]), RecordingPeer())
    assert caught.value.data["update"] is None


def test_who_wants_no_notifications_gets_none_and_what_sends_them_is_refused(daemon):
    daemon.call("create_session", agent="ai-muse", session_id="cli-1")
    with Talk(daemon) as talk, Talk(daemon) as other:
        talk.call("subscribe", session_id="cli-1")
        assert talk.call("hello", notifications=False)["notifications"] is False
        append = {"agent": "ai-muse", "session_id": "cli-1", "role": "user"}
        other.call("append_message", **append, content="one")
        refused = [
            talk.answer(talk.send(method, **params))["error"]["code"]
            for method, params in [
                ("subscribe", {"session_id": "cli-1"}),
                ("possess", {"agent": "ai-muse", "message": "hi", "stream": True}),
                ("retry_turn", {"agent": "ai-muse", "session_id": "cli-1", "stream": True}),
            ]
        ]
        assert refused == [-32600] * 3
        assert talk.call("possess", agent="ai-muse", message="hi")["status"] == "recorded"
        assert talk.call("hello")["notifications"] is False, "it stays as it was said"
        assert talk.events == []
        talk.call("hello", notifications=True)
        talk.call("subscribe", session_id="cli-1", since_seq=0)
        assert talk.event("message")["message"]["content"] == "one"
