"""`port42 service` under a real user manager: from nothing, again, over a running daemon, failing, gone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from units.user_manager import UserManager

pytestmark = pytest.mark.once

WRITER = """
import itertools, os, select, sys
from port42_client.daemon import Daemon
from port42_client.client import Client
daemon = Daemon(None, os.environ)
for number in itertools.count():
    with Client(daemon.connect) as client:
        message = {"agent": "ai-muse", "session_id": sys.argv[1], "role": "user", "content": str(number)}
        client.ask("append_message", message | {"idempotency_key": f"writer-{number}"})
    print(number, flush=True)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
"""
"""Writes until its stdin is closed; each message with a connection of its own, as a command has."""


def port42(manager: UserManager, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    return manager.run("port42", *words, **how)


def run_json(manager: UserManager, *words: str, **how: Any) -> Any:
    return json.loads(port42(manager, *words, "--json", **how).stdout)


def begun(manager: UserManager, message: str) -> str:
    """The id of a new session of @ai-muse."""
    return port42(manager, "possess", "@ai-muse", message).stderr.split()[1]


def refused(manager: UserManager, *words: str, **how: Any) -> str:
    done = port42(manager, *words, check=False, **how)
    assert done.returncode == 1, done
    return done.stderr


def test_from_nothing_to_a_service_and_back(user_manager: UserManager) -> None:
    folder = user_manager.home / ".config/systemd/user"
    shown = port42(user_manager, "service", "install", "--dry-run").stdout
    assert f"create {folder}/port42.service" in shown
    assert "ExecStart=" in shown
    assert not (folder / "port42.service").exists()
    assert port42(user_manager, "service", "install", check=False).returncode == 2
    assert "not installed" in refused(user_manager, "service", "status")

    done = port42(user_manager, "service", "install", "-y")
    socket = user_manager.runtime / "port42/port42.sock"
    pid = user_manager.show("port42.service", "MainPID")
    assert f"(pid {pid}) at {socket}, and starts it at the first connection after a login" in done.stderr
    for name in ("port42.service", "port42.socket"):
        assert (folder / name).stat().st_mode & 0o777 == 0o644
        assert (folder / name).read_text().startswith("# Written by `port42 service install`")
    assert user_manager.systemctl("is-enabled", "port42.socket") == "enabled\n"
    session = begun(user_manager, "hello")

    again = port42(user_manager, "service", "install")
    assert "Nothing to change." in again.stderr
    assert user_manager.show("port42.service", "MainPID") == pid

    status = run_json(user_manager, "service", "status")
    assert (status["running"], status["pid"], status["problems"]) == (True, int(pid), [])
    assert status["current"]
    assert status["this_installation"]
    assert status["program"].startswith(sys.executable)
    assert (status["socket"], status["version"]) == (str(socket), status["cli_version"])
    assert status["since"]

    assert restarted(user_manager) != pid
    assert "systemd starts it again at the next connection" in port42(user_manager, "daemon", "stop").stderr
    assert run_json(user_manager, "service", "status")["running"] is False, "to look starts nothing"
    assert run_json(user_manager, "status")["pid"] == int(user_manager.show("port42.service", "MainPID"))
    assert "the journal has nothing of the service" in refused(user_manager, "service", "logs")

    (folder / "port42.socket").write_text("[Socket]\nListenStream=%t/mine.sock\n")
    assert "port42.socket was not written by" in refused(user_manager, "service", "install", "-y")
    assert "port42.socket was not written by" in refused(user_manager, "service", "uninstall", "-y")
    port42(user_manager, "service", "install", "-y", "--replace")
    assert run_json(user_manager, "service", "status")["problems"] == []

    assert "What it kept stays" in port42(user_manager, "service", "uninstall", "-y").stderr
    assert not (folder / "port42.service").exists()
    assert not (folder / "sockets.target.wants/port42.socket").exists()
    assert user_manager.show("port42.service", "LoadState") == "not-found"
    assert "not installed; nothing was changed" in port42(user_manager, "service", "uninstall", "-y").stderr
    assert port42(user_manager, "show", session, env={"PORT42_NO_AUTOSTART": ""}).stdout.count("hello") == 1
    port42(user_manager, "daemon", "stop")


def restarted(manager: UserManager) -> str:
    """The pid after `daemon restart`, which must say it."""
    done = port42(manager, "daemon", "restart")
    pid = manager.show("port42.service", "MainPID")
    assert done.stderr == f"port42d restarted by systemd (pid {pid})\n"
    return pid


def test_a_running_daemon_is_taken_over_and_nothing_of_a_writer_is_lost(user_manager: UserManager) -> None:
    session = begun(user_manager, "first")
    old = run_json(user_manager, "status")["pid"]
    writer = user_manager.spawn(sys.executable, "-c", WRITER, session, stdin=subprocess.PIPE)
    assert writer.stdin is not None
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(20)]
    port42(user_manager, "service", "install", "-y")
    acknowledged += [int(writer.stdout.readline()) for _ in range(200)]
    writer.stdin.close()
    acknowledged += map(int, writer.stdout)  # not `communicate`, which passes over what readline buffered
    pid = run_json(user_manager, "status")["pid"]
    assert old != pid == int(user_manager.show("port42.service", "MainPID"))
    params = {"session_id": session, "limit": 1000, "after_seq": 1}
    page = json.loads(port42(user_manager, "rpc", "get_session", json.dumps(params)).stdout)
    kept = [int(message["content"]) for message in page["messages"]]
    assert kept[: len(acknowledged)] == acknowledged == list(range(len(acknowledged)))


def test_a_service_that_does_not_come_up_leaves_everything_as_it_was(user_manager: UserManager) -> None:
    session = begun(user_manager, "first")
    broken = user_manager.write(
        "port42.service.d/broken.conf", "[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n"
    )
    why = refused(user_manager, "service", "install", "-y")
    assert why.startswith("create ")
    assert "the service did not come up: systemctl --user" in why
    assert "Everything is as it was before." in why
    assert not (user_manager.home / ".config/systemd/user/port42.service").exists()
    assert user_manager.show("port42.socket", "ActiveState") == "inactive"
    # A daemon runs by hand as before, and no command had to start it.
    assert "first" in port42(user_manager, "show", session, env={"PORT42_NO_AUTOSTART": "1"}).stdout
    broken.unlink()

    # A home whose name means something to systemd wherever a word stands in a unit.
    home = user_manager.home / "a b%h$HOME\"'\\x\t;é"
    odd = {"PORT42_HOME": str(home)}
    port42(user_manager, "service", "install", "-y", env=odd)
    assert run_json(user_manager, "status", env=odd)["home"] == str(home)
    assert "another daemon" not in port42(user_manager, "service", "status", env=odd).stderr
    port42(user_manager, "service", "uninstall", "-y", env=odd)
    port42(user_manager, "daemon", "stop")
