"""Sending messages and resuming sessions, against the real daemon."""

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


def test_a_new_session_records_its_client_and_folder(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = send(client, "@ai-muse", "hi", None, BareReply())
    whole = client.call(GetSession(result["session_id"]))
    assert (whole.client, Path(whole.session.cwd)) == ("cli", tmp_path)
    assert result["session_id"].startswith("cli-")


def test_every_message_has_a_key_of_its_own(client):
    begun = send(client, "ai-muse", "same", None, BareReply())["session_id"]
    send(client, "ai-muse", "same", begun, BareReply())
    first, second = client.call(GetSession(begun)).messages
    assert first.key != second.key
    assert isinstance(first.key, str)


def test_new_and_resumed_sessions_are_announced(client, capsys):
    begun = send(client, "ai-muse", "hi", None, BareReply())["session_id"]
    for ref in ("last", begun, begun[:8]):
        assert go_on(client, "@ai-muse", ref)["session_id"] == begun
    line = f"🔄 Resuming session {begun} for @ai-muse (1 message)\n"
    assert capsys.readouterr() == ("", f"Session: {begun}\n" + line * 3)


def test_the_last_session_of_a_folder_is_resumed(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun = send(client, "ai-muse", "here", None, BareReply())["session_id"]
    monkeypatch.chdir("/")
    send(client, "ai-muse", "elsewhere", None, BareReply())
    assert go_on(client, "ai-muse", "last", cwd=str(tmp_path))["session_id"] == begun


def test_without_a_session_nothing_is_announced(client, capsys):
    with pytest.raises(DaemonError) as caught:
        go_on(client, "ai-muse", "last")
    assert caught.value.kind == "no_sessions"
    assert capsys.readouterr() == ("", "")


def test_mark_used_makes_a_session_the_last_one(client):
    first = send(client, "ai-muse", "first", None, BareReply())["session_id"]
    send(client, "ai-muse", "second", None, BareReply())
    mark_used(client, client.ask("find_session", {"ref": first}))
    assert client.call(GetLastSession("ai-muse")).session_id == first
