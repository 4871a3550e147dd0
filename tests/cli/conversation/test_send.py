"""What possess and the conversation share, against the real daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from port42_cli.conversation.send import go_on, mark_used, send
from port42_cli.conversation.show import BareReply
from port42_client.client import Client
from port42_client.dial import dial
from port42_client.errors import DaemonError
from port42_protocol.messages.sessions import GetLastSession, GetSession


@pytest.fixture
def client(daemon):
    with Client(lambda: dial(str(daemon.socket))) as client:
        yield client


def test_a_session_that_begins_knows_its_client_and_folder(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = send(client, "@ai-muse", "hi", None, BareReply())
    whole = client.call(GetSession(said["session_id"]))
    assert (whole.client, Path(whole.session.cwd)) == ("cli", tmp_path)
    assert said["session_id"].startswith("cli-")


def test_every_message_has_a_key_of_its_own(client):
    begun = send(client, "ai-muse", "same", None, BareReply())["session_id"]
    send(client, "ai-muse", "same", begun, BareReply())
    one, two = client.call(GetSession(begun)).messages
    assert one.key != two.key
    assert isinstance(one.key, str)


def test_what_begins_and_what_goes_on_is_announced(client, capsys):
    begun = send(client, "ai-muse", "hi", None, BareReply())["session_id"]
    for ref in ("last", begun, begun[:8]):
        assert go_on(client, "@ai-muse", ref)["session_id"] == begun
    line = f"🔄 Resuming session {begun} for @ai-muse (1 message)\n"
    assert capsys.readouterr() == ("", f"Session: {begun}\n" + line * 3)


def test_resume_finds_the_last_one_of_a_folder(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = send(client, "ai-muse", "here", None, BareReply())["session_id"]
    monkeypatch.chdir("/")
    send(client, "ai-muse", "elsewhere", None, BareReply())
    assert go_on(client, "ai-muse", "last", cwd=str(tmp_path))["session_id"] == begun


def test_nothing_is_announced_when_nothing_is_found(client, capsys):
    with pytest.raises(DaemonError) as caught:
        go_on(client, "ai-muse", "last")
    assert caught.value.kind == "no_sessions"
    assert capsys.readouterr() == ("", "")


def test_a_session_that_was_marked_is_the_last_one(client):
    first = send(client, "ai-muse", "first", None, BareReply())["session_id"]
    send(client, "ai-muse", "second", None, BareReply())
    mark_used(client, client.ask("find_session", {"ref": first}))
    assert client.call(GetLastSession("ai-muse")).session_id == first
