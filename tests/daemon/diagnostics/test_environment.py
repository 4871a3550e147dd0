"""What the daemon stands in: each thing that can be wrong is named, with what to do about it."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from port42_daemon.config import Config, parse
from port42_daemon.diagnostics import environment as subject
from port42_daemon.process.home_lock import HomeLock
from port42_daemon.settings import Settings
from port42_protocol.messages.agents import Agent


@pytest.fixture
def settings(home):
    home.mkdir(mode=0o700)
    return Settings(home=home, socket=home.parent / "port42.sock")


@pytest.fixture
def listening(settings):
    before = os.umask(0o177)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(settings.socket))
        os.umask(before)
        listener.listen()
        note = {"pid": os.getpid(), "socket": str(settings.socket)}
        (settings.home / "daemon.json").write_text(json.dumps(note))
        yield settings


def test_the_lock_that_we_hold(settings):
    with HomeLock(settings.home, 1) as held:
        assert subject.lock(held).level == "ok"
        settings.home.rename(settings.home.with_name("moved"))
        assert subject.lock(held).level == "problem"
        settings.home.with_name("moved").rename(settings.home)
        (settings.home / "daemon.lock").unlink()
        assert subject.lock(held).level == "ok"  # it locked its home anew


def test_a_socket_that_is_ours(listening):
    (found,) = subject.address(listening)
    assert (found.level, found.about) == ("ok", "socket")


def test_a_socket_that_is_gone_or_not_where_we_listen(listening):
    listening.socket.unlink()
    assert [one.level for one in subject.address(listening)] == ["problem"]
    listening.socket.touch(mode=0o600)
    (found,) = subject.address(listening)
    assert found.what == f"{listening.socket} is not where this daemon listens"


def test_modes_of_the_socket_and_its_folder(listening):
    listening.socket.chmod(0o666)
    listening.home.parent.chmod(0o755)
    found = subject.address(listening)
    assert [(one.level, one.about) for one in found] == [("notice", "socket"), ("problem", "socket")]
    assert found[0].do == f"chmod 600 {listening.socket}"
    assert found[1].do.startswith(f"chmod 700 {listening.home.parent}")


@pytest.mark.parametrize("note", ["", "[]", '{"pid": 1, "socket": "/x"}', None])
def test_a_note_that_says_something_else(listening, note):
    path = listening.home / "daemon.json"
    path.unlink() if note is None else path.write_text(note)
    (found,) = subject.address(listening)
    assert (found.level, found.what.split()[0]) == ("notice", "daemon.json")


def test_looking_at_the_socket_does_not_wait_for_whoever_does_not_accept(listening):
    """The backlog answers for us; nobody here calls accept."""
    found: list = []
    looking = threading.Thread(target=lambda: found.extend(subject.address(listening)))
    looking.start()
    looking.join(30)
    assert [one.level for one in found] == ["ok"]


@pytest.mark.parametrize(
    ("free", "files", "level"),
    [
        (5 * 1024**3, None, "ok"),
        (5 * 1024**3, 10_000, "ok"),
        (900 * 1024**2, None, "notice"),
        (10 * 1024**2, None, "problem"),
        (5 * 1024**3, 12, "problem"),
    ],
)
def test_room_on_the_disk(free, files, level):
    assert subject.room(free, files).level == level


def test_the_disk_of_the_home_is_asked(settings):
    assert "on the home's disk" in subject.disk(settings.home).what


# --- what answers -------------------------------------------------------------------------------


def agent(name: str, backend: str = "none", health: str = "none", source: str = "config") -> Agent:
    return Agent(name, source, None, backend, None, health, "why", 0, None)


def test_a_config_that_is_refused():
    assert subject.config(None, Config()).level == "ok"
    found = subject.config("config.toml: line 3: agents.x: no", Config())
    assert (found.level, found.what) == ("problem", "config.toml: line 3: agents.x: no")


def test_back_ends_are_named_once_with_those_they_answer_for():
    agents = [agent(f"a{number}", "llm", "missing") for number in range(5)]
    found = subject.backends((*agents, agent("b", "claude", "ready"), agent("c")))
    assert [(one.level, one.what) for one in found] == [
        ("problem", "llm, which answers for @a0, @a1, @a2 and 2 more: missing (why)"),
        ("ok", "claude, which answers for @b: ready (why)"),
    ]
    (nothing,) = subject.backends((agent("c"),))
    assert nothing.level == "ok"


CONFIG = parse("""
[backends.mine]
type = "openai"
model = "m"
api_key_env = "MY_KEY"
[backends.tool]
type = "command"
command = ["tool"]
env_pass = ["TOOL_HOME"]
[agents.a]
backend = "mine"
""")


def named(found):
    return [(one.level, one.what.split()[0]) for one in found if one.level != "ok"]


def test_variables_that_the_shell_has_and_the_daemon_has_not():
    agents = (agent("a", "mine", "needs_auth"),)
    shell = ("HOME", "MY_KEY", "TOOL_HOME", "OPENAI_API_KEY")
    assert named(subject.environment(agents, CONFIG, shell, {})) == [
        ("problem", "MY_KEY"),
        ("notice", "TOOL_HOME"),
    ]
    assert named(subject.environment(agents, CONFIG, shell, {"MY_KEY": "x", "TOOL_HOME": "/"})) == []
    assert named(subject.environment(agents, CONFIG, (), {})) == []


def test_a_key_in_the_shell_would_have_served_the_built_in_agents():
    built_in = (agent("ai-muse", source="built-in"),)
    assert named(subject.environment(built_in, Config(), ("OPENAI_API_KEY",), {})) == [
        ("notice", "OPENAI_API_KEY")
    ]
    connected = (agent("ai-muse", "claude", "ready"),)
    assert named(subject.environment(connected, Config(), ("OPENAI_API_KEY",), {})) == []
