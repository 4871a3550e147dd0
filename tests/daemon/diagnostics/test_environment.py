"""The daemon's environment: each problem is named, with what to do about it."""

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


def test_the_lock_of_the_home(settings):
    with HomeLock(settings.home, 1) as held:
        assert subject.lock(held).level == "ok"
        settings.home.rename(settings.home.with_name("moved"))
        assert subject.lock(held).level == "problem"
        settings.home.with_name("moved").rename(settings.home)
        (settings.home / "daemon.lock").unlink()
        assert subject.lock(held).level == "ok"  # it locked its home anew


def test_the_socket_of_this_daemon(listening):
    (finding,) = subject.address(listening)
    assert (finding.level, finding.about) == ("ok", "socket")


def test_a_socket_that_is_gone_or_not_where_we_listen(listening):
    listening.socket.unlink()
    assert [finding.level for finding in subject.address(listening)] == ["problem"]
    listening.socket.touch(mode=0o600)
    (finding,) = subject.address(listening)
    assert finding.what == f"{listening.socket} is not where this daemon listens"


def test_modes_of_the_socket_and_its_folder(listening):
    listening.socket.chmod(0o666)
    listening.home.parent.chmod(0o755)
    findings = subject.address(listening)
    assert [(finding.level, finding.about) for finding in findings] == [
        ("notice", "socket"),
        ("problem", "socket"),
    ]
    assert findings[0].do == f"chmod 600 {listening.socket}"
    assert findings[1].do.startswith(f"chmod 700 {listening.home.parent}")


@pytest.mark.parametrize("note", ["", "[]", '{"pid": 1, "socket": "/x"}', None])
def test_a_daemon_json_of_another_content(listening, note):
    path = listening.home / "daemon.json"
    path.unlink() if note is None else path.write_text(note)
    (finding,) = subject.address(listening)
    assert (finding.level, finding.what.split()[0]) == ("notice", "daemon.json")


def test_the_check_of_the_socket_does_not_wait_for_accept(listening):
    findings: list = []
    looking = threading.Thread(target=lambda: findings.extend(subject.address(listening)))
    looking.start()
    looking.join(30)
    assert [finding.level for finding in findings] == ["ok"]


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


def test_the_disk_of_the_home_is_checked(settings):
    assert "on the home's disk" in subject.disk(settings.home).what


# --- configuration and back ends ----------------------------------------------------------------


def agent(name: str, backend: str = "none", health: str = "none", source: str = "config") -> Agent:
    return Agent(name, source, None, backend, None, health, "why", 0, None)


def test_an_invalid_config():
    assert subject.config(None, Config()).level == "ok"
    finding = subject.config("config.toml: line 3: agents.x: no", Config())
    assert (finding.level, finding.what) == ("problem", "config.toml: line 3: agents.x: no")
    assert finding.do == "correct it; until then its last valid version is used"


def test_back_ends_are_named_once_with_their_agents():
    agents = [agent(f"a{number}", "llm", "missing") for number in range(5)]
    findings = subject.backends((*agents, agent("b", "claude", "ready"), agent("c")))
    assert [(finding.level, finding.what) for finding in findings] == [
        ("problem", "llm, which answers for @a0, @a1, @a2 and 2 more: missing: why"),
        ("ok", "claude, which answers for @b: ready: why"),
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


def named(findings):
    return [(finding.level, finding.what.split()[0]) for finding in findings if finding.level != "ok"]


def test_variables_that_the_shell_has_and_the_daemon_has_not():
    agents = (agent("a", "mine", "needs_auth"),)
    shell = ("HOME", "MY_KEY", "TOOL_HOME", "OPENAI_API_KEY")
    assert named(subject.environment(agents, CONFIG, shell, {})) == [
        ("problem", "MY_KEY"),
        ("notice", "TOOL_HOME"),
    ]
    assert named(subject.environment(agents, CONFIG, shell, {"MY_KEY": "x", "TOOL_HOME": "/"})) == []
    assert named(subject.environment(agents, CONFIG, (), {})) == []


def test_an_api_key_in_the_shell_that_built_in_agents_would_use():
    built_in = (agent("ai-muse", source="built-in"),)
    assert named(subject.environment(built_in, Config(), ("OPENAI_API_KEY",), {})) == [
        ("notice", "OPENAI_API_KEY")
    ]
    connected = (agent("ai-muse", "claude", "ready"),)
    assert named(subject.environment(connected, Config(), ("OPENAI_API_KEY",), {})) == []
