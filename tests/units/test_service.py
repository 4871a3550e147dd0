"""The service under a real user manager: started by a connection, restarted under load, killed, hung."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from units.user_manager import UID, UserManager

ROOT = Path(__file__).resolve().parents[2]
SOCKET = f"/run/user/{UID}/port42/port42.sock"

pytestmark = pytest.mark.once


class Service:
    """Port42's units, as they are in the repository, under a manager."""

    def __init__(self, manager: UserManager) -> None:
        self.manager = manager
        for unit in ("port42.service", "port42.socket"):
            self.install(unit)
        self.home = manager.own_folder(manager.home / ".port42")
        manager.systemctl("daemon-reload")
        manager.systemctl("enable", "--now", "port42.socket")

    def install(self, name: str, **settings: str) -> None:
        program = Path(sys.executable).with_name("port42d")
        text = (ROOT / "systemd" / name).read_text().replace("%h/.local/bin/port42d", str(program))
        for key, value in settings.items():
            before = next(line for line in text.splitlines() if line.startswith(f"{key}="))
            text = text.replace(before, f"{key}={value}")
        self.manager.write(name, text)

    def port42(self, *arguments: str, check: bool = True) -> str:
        env = {"PORT42_NO_AUTOSTART": "1"}
        return self.manager.run("port42", *arguments, env=env, check=check).stdout

    def rpc(self, method: str, **params: object) -> dict:
        return json.loads(self.port42("rpc", method, json.dumps(params)))

    def configure(self, text: str) -> None:
        path = self.home / "config.toml"
        path.write_text(text)
        os.chown(path, UID, UID)

    @property
    def pid(self) -> int:
        return int(self.manager.show("port42.service", "MainPID"))

    def another_than(self, pid: int) -> int:
        """The pid of the next one, once it is there."""
        return self.manager.until(lambda: self.pid not in {pid, 0} and self.state == "active" and self.pid)

    @property
    def state(self) -> str:
        return self.manager.show("port42.service", "ActiveState")


def answering(**commands: list[str]) -> str:
    """A config.toml in which each name is an agent, answered by that command."""
    return "".join(
        f'[agents.{name}]\nbackend = "{name}"\n'
        f'[backends.{name}]\ntype = "command"\ncommand = {json.dumps(command)}\n'
        for name, command in commands.items()
    )


@pytest.fixture
def service(user_manager: UserManager) -> Service:
    return Service(user_manager)


def test_the_first_connection_starts_it_and_its_life_is_seen(service: Service) -> None:
    """Started by a connection, reloaded, stopped by hand, started again, stopped for good."""
    manager = service.manager
    assert (service.state, service.pid) == ("inactive", 0)
    session = service.rpc("create_session", agent="a")["session_id"]
    status = service.rpc("status")
    assert (status["pid"], status["socket"]) == (service.pid, SOCKET)
    assert service.state == "active"
    manager.until(lambda: "0 turns under way" in manager.show("port42.service", "StatusText"))

    service.configure(answering(shout=["tr", "a-z", "A-Z"]))
    manager.systemctl("reload", "port42.service")
    manager.until(lambda: "config.toml: " in manager.log())
    assert service.rpc("possess", agent="shout", message="hello")["reply"] == "HELLO"
    service.configure("agents = 1\n")
    manager.systemctl("reload", "port42.service")
    manager.until(lambda: "config.toml" in manager.show("port42.service", "StatusText"))
    assert service.rpc("possess", agent="shout", message="hello")["reply"] == "HELLO"

    first = service.pid
    service.port42("daemon", "stop")
    manager.until(lambda: service.state == "inactive")
    assert manager.show("port42.service", "Result") == "success"
    assert service.rpc("get_last_session", agent="a")["session_id"] == session
    assert service.pid not in {0, first}

    manager.systemctl("stop", "port42.socket", "port42.service")
    assert manager.run("test", "-e", SOCKET, check=False).returncode == 1
    assert manager.systemctl("--failed", "--plain", "--no-legend") == ""
    assert "Traceback" not in manager.log()


def test_restarts_under_load_refuse_and_lose_nothing(service: Service) -> None:
    manager = service.manager
    load = manager.spawn(sys.executable, str(Path(__file__).with_name("load.py")), SOCKET, "6")
    manager.until(lambda: service.state == "active")
    pids = [service.pid]
    for _ in range(3):
        manager.systemctl("restart", "port42.service")
        pids.append(service.pid)
    stdout, _ = load.communicate(timeout=60)
    seen = json.loads(stdout)
    assert len(set(pids)) == 4
    assert (seen["refused"], seen["lost"], seen["errors"]) == (0, 0, [])
    assert seen["sent"] == 6 * 200
    assert seen["answered"] == seen["sent"] + 8
    for session, acknowledged in seen["acknowledged"].items():
        document = json.loads((service.home / "sessions" / f"{session}.json").read_text())
        there = Counter(message["content"] for message in document["messages"] if message["role"] == "user")
        assert there == Counter(acknowledged)
    print({name: seen[name] for name in ("sent", "answered", "dialled")})


def test_killed_or_hung_it_comes_back(service: Service) -> None:
    manager = service.manager
    service.install("port42.service", WatchdogSec="1")
    manager.systemctl("daemon-reload")
    session = service.rpc("create_session", agent="a")["session_id"]
    killed = service.pid
    manager.run("kill", "-KILL", str(killed))
    hung = service.another_than(killed)
    assert service.rpc("get_last_session", agent="a")["session_id"] == session
    manager.run("kill", "-STOP", str(hung))
    # Whoever asks meanwhile waits, and is answered by the next one.
    assert service.rpc("get_last_session", agent="a")["session_id"] == session
    assert service.another_than(hung) != killed
    assert manager.show("port42.service", "NRestarts") == "2"
    assert "Fatal Python error: Aborted" in manager.log()  # and where it hung


def test_a_turn_under_way_at_a_restart_ends_within_the_grace(service: Service) -> None:
    manager = service.manager
    tap = manager.home / "tap"
    manager.run("mkfifo", str(tap))
    service.configure(answering(tap=["cat", str(tap)]))
    asking = manager.spawn("port42", "rpc", "possess", '{"agent": "tap", "message": "hello"}')
    with tap.open("wb", buffering=0) as say:  # waits until the agent runs
        say.write(b"the whole ")
        restarting = manager.spawn("systemctl", "--user", "restart", "port42.service")
        manager.until(lambda: "stopping: no new turns" in manager.log())
        say.write(b"answer")
    reply = json.loads(asking.communicate(timeout=30)[0])
    assert (reply["status"], reply["reply"]) == ("answered", "the whole answer")
    assert restarting.communicate(timeout=30) == ("", None)
    recorded = service.rpc("get_session", session_id=reply["session_id"])["messages"]
    assert [message["content"] for message in recorded] == ["hello", "the whole answer"]


AGENT = """
import json, socket, subprocess, sys, threading
with socket.create_server(("127.0.0.1", 0)) as server:
    threading.Thread(target=lambda: server.accept()[0].sendall(b"network"), daemon=True).start()
    with socket.create_connection(server.getsockname()) as peer:
        print(peer.recv(99).decode(), socket.getaddrinfo("localhost", 80)[0][4][0] in {"127.0.0.1", "::1"})
"""
NODE = "console.log([1,2,3].map(x => x * 14)[2], require('os').networkInterfaces().lo !== null)"


def test_agents_work_under_the_hardening(service: Service) -> None:
    commands = {"python": [sys.executable, "-c", AGENT]}
    if node := shutil.which("node", path="/usr/local/bin:/usr/bin:/bin"):
        commands["node"] = [node, "-e", NODE]
    service.configure(answering(**commands))
    replies = {name: service.rpc("possess", agent=name, message="go")["reply"].split() for name in commands}
    assert replies.pop("python") == ["network", "True"]
    if node:
        assert replies == {"node": ["42", "true"]}
    filtered = service.manager.run("grep", "Seccomp:", f"/proc/{service.pid}/status")
    assert filtered.stdout.split() == ["Seccomp:", "2"]
