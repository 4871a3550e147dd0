"""The home seen from outside; what a whole command says of it is in test_doctor."""

from __future__ import annotations

import os
import socket

import pytest

from port42_client import unreached as subject
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon


@pytest.fixture
def look(home):
    return lambda: [
        finding
        for finding in subject.look(Daemon(None, os.environ), NoDaemon("no daemon"))
        if finding.about != "daemon" and finding.level != "ok"
    ]


def test_what_is_there_and_whole_is_no_problem(look, home):
    assert look() == []
    (home / "sessions").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / "agent_sessions.json").touch(mode=0o600)
    assert look() == []


def test_modes_are_said_with_what_to_type(look, home):
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    (home / "config.toml").touch()
    (home / "config.toml").chmod(0o644)
    assert [finding.do for finding in look()] == [f"chmod 700 {home}", f"chmod 600 {home}/config.toml"]


def test_a_folder_that_others_need_is_not_to_be_closed(look, home):
    home.mkdir()
    home.chmod(0o1777)
    assert [finding.do for finding in look()] == ["name another with PORT42_HOME"]
    daemon = Daemon(None, os.environ)
    with pytest.raises(NoDaemon, match="others need that folder"), daemon.start_lock():
        pass
    assert list(home.iterdir()) == []


def test_links_that_lead_nowhere_are_to_be_moved_away(look, home):
    home.mkdir(mode=0o700)
    (home / "daemon.lock").symlink_to("/nowhere/at/all")
    (home / "start.lock").symlink_to(home / "start.lock")
    assert [(finding.what.split()[0], finding.do) for finding in look()] == [
        (f"{home}/daemon.lock", "move it away"),
        (f"{home}/start.lock", "move it away"),
    ]


def test_who_is_at_the_socket(look, home):
    address = home.parent / "port42.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(address))
        other.listen()
        (finding,) = look()
        assert finding.what == f"another program listens at {address}"
    assert look() == []  # nobody listens there any more: the next daemon removes it


def test_a_folder_that_is_not_there_yet(look, monkeypatch, home):
    monkeypatch.setenv("PORT42_SOCKET", str(home.parent / "later" / "s"))
    assert look() == []
