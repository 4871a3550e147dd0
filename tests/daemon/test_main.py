"""The whole daemon as a process: it starts, answers, stops cleanly, and starts again."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_when_told(daemon, number):
    assert daemon.socket.exists()
    assert daemon.stop(number) == 0
    assert not daemon.socket.exists()
    assert not (daemon.home / "daemon.json").exists()
    assert daemon.logged("port42d stopped")
    assert "Traceback" not in daemon.log()


def test_a_second_signal_does_not_tear_the_stop(daemon):
    process = daemon.process
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_the_scene_of_the_specification(daemon):
    engineer = daemon.call("possess", agent="@ai-engineer", message="build a parser", client="cli")
    analyst = daemon.call("possess", agent="@ai-analyst", message="analyze this data", client="cli")
    assert engineer["session_id"].startswith("cli-")
    assert (engineer["seq"], engineer["status"]) == (1, "recorded")
    assert daemon.call("get_last_session", agent="ai-engineer")["session_id"] == engineer["session_id"]
    mapping = {"ai-engineer": engineer["session_id"], "ai-analyst": analyst["session_id"]}
    assert (daemon.home / "agent_sessions.json").read_text() == json.dumps(mapping, indent=2) + "\n"
    daemon.stop()
    daemon.start()
    again = daemon.call(
        "possess", agent="ai-engineer", message="and now a lexer", session_id=engineer["session_id"]
    )
    assert again == {**engineer, "seq": 2}
    assert daemon.call("get_last_session", agent="ai-engineer")["message_count"] == 2
    with pytest.raises(pytest.RpcFailed, match="No sessions found for ai-muse"):
        daemon.call("get_last_session", agent="ai-muse")


def test_what_is_under_way_at_the_stop_is_answered_and_what_was_answered_is_kept(daemon):
    """Clients that write while the daemon stops: each message was acknowledged and is there, or was not."""
    ids = [daemon.call("create_session", agent="a")["session_id"] for _ in range(6)]
    acknowledged: dict[str, list[str]] = {session_id: [] for session_id in ids}
    going = threading.Barrier(len(ids) + 1)

    def write(session_id: str) -> None:
        with daemon.connect() as peer, peer.makefile("rb") as lines:
            for number in range(10_000):
                params = {"agent": "a", "session_id": session_id, "role": "user", "content": str(number)}
                request = {"jsonrpc": "2.0", "id": 1, "method": "append_message", "params": params}
                try:
                    peer.sendall(json.dumps(request).encode() + b"\n")
                    line = lines.readline()
                except OSError:
                    return
                if not line:
                    return
                answer = json.loads(line)
                if "error" in answer:
                    assert answer["error"]["code"] == -32002
                    return
                acknowledged[session_id].append(str(number))
                if number == 10:
                    going.wait()

    threads = [threading.Thread(target=write, args=[session_id]) for session_id in ids]
    for thread in threads:
        thread.start()
    going.wait()
    assert daemon.stop() == 0
    for thread in threads:
        thread.join()
    daemon.start()
    for session_id, sent in acknowledged.items():
        kept = [record["content"] for record in daemon.call("get_session", session_id=session_id)["messages"]]
        assert kept[: len(sent)] == sent
        assert len(kept) <= len(sent) + 1
    assert "Traceback" not in daemon.log()


def test_a_long_answer_under_way_at_the_stop_arrives_whole(daemon):
    session_id = daemon.call("create_session", agent="a")["session_id"]
    for _ in range(3):
        params = {"agent": "a", "session_id": session_id, "role": "user", "content": "x" * 1_000_000}
        daemon.call("append_message", **params)
    request = {"jsonrpc": "2.0", "id": 1, "method": "get_session", "params": {"session_id": session_id}}
    with daemon.connect() as peer, peer.makefile("rb") as lines:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(json.dumps(request).encode() + b"\n")
        head = lines.read(10)  # it is being answered
        daemon.process.send_signal(signal.SIGTERM)
        answer = json.loads(head + lines.readline())
    assert len(answer["result"]["messages"]) == 3
    assert daemon.stop() == 0


def test_limits_of_config_toml_are_in_force_and_shown(start_daemon):
    daemon = start_daemon(config="[daemon]\nrequest_bytes = 5000\nconnections = 3\n")
    limits = daemon.call("status")["limits"]
    assert (limits["request_bytes"], limits["connections"]) == (5000, 3)


BAD_CONFIGS = [b"[daemon]\nrequest_bytes = 1\n", b"not toml", b"[agents.x]\ntypo = 1\n", b"\xff"]


@pytest.mark.parametrize("text", BAD_CONFIGS)
def test_a_bad_config_is_said_and_does_not_stop_it(start_daemon, home, text):
    home.mkdir()
    (home / "config.toml").write_bytes(text)
    daemon = start_daemon()
    assert daemon.call("status")["config_error"].startswith("config.toml: ")
    assert daemon.call("create_session", agent="ai-muse")["agent"] == "ai-muse"
    with pytest.raises(pytest.RpcFailed, match=r"config\.toml: "):
        daemon.call("possess", agent="ai-muse", message="hello")
    assert daemon.logged("config.toml")


def test_the_log_says_in_a_line_what_a_person_wants_to_know(daemon):
    session_id = daemon.call("possess", agent="ai-engineer", message="hello")["session_id"]
    daemon.stop()
    log = daemon.log()
    assert f"📌 ai-engineer → {session_id}" in log
    assert "hello" not in log


@pytest.mark.parametrize("who", ["systemd", "launchd", "autostart", "hand"])
def test_who_started_it_is_noted(start_daemon, who):
    daemon = start_daemon(args=["--started-by", who])
    assert json.loads((daemon.home / "daemon.json").read_bytes())["started_by"] == who


def test_who_cannot_have_started_it_is_refused():
    command = [sys.executable, "-m", "port42_daemon", "--started-by", "cron"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'cron'" in done.stderr


def test_help_and_version_need_no_home():
    for option in ("--help", "--version"):
        command = [sys.executable, "-m", "port42_daemon", option]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "port42d" in done.stdout


def test_a_log_level_that_is_none_is_said(start_daemon):
    with pytest.raises(pytest.CannotStart, match=r"^error: PORT42_LOG_LEVEL: expected DEBUG"):
        start_daemon(env={"PORT42_LOG_LEVEL": "loud"})


def test_a_log_file_that_cannot_be_made_is_said(start_daemon, home):
    with pytest.raises(pytest.CannotStart, match=r"^error: .*nowhere"):
        start_daemon(args=["--log-file", str(home.parent / "nowhere" / "daemon.log")])


def test_the_log_goes_to_the_file_that_is_named(start_daemon, home):
    path = home.parent / "daemon.log"
    daemon = start_daemon(args=["--log-file", str(path)])
    daemon.stop()
    assert "port42d stopped" in path.read_text()
    assert daemon.log() == ""


def test_a_start_imports_nothing_that_only_some_need():
    """Each of these costs from 2 to 200 ms, and what it imports on its own."""
    listing = "import sys, port42_daemon.main; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    heavy = {
        *("aiohttp", "attr", "html.parser", "http.client", "http.server", "jsonschema", "markdown_it"),
        *("multiprocessing", "oslash.list", "pydantic", "pygments", "referencing", "rich", "yaml"),
        *("port42_cli", "port42_client", "unittest", "xml", "zipfile"),
    }
    assert heavy & imported == set()
    assert {"jsonrpcserver.dispatcher", "uvloop", "sqlite3"} <= imported


def test_garbage_is_looked_for_once_ready_and_not_before(tmp_path):
    script = """
import gc
from port42_daemon import __main__, main
from port42_daemon.process import memory

def run(*_):
    print(gc.isenabled())
    memory.exempt_from_collection()
    print(gc.isenabled())

main.run = run
__main__.main()
"""
    argv = [sys.executable, "-c", script, "--home", tmp_path, "--socket", tmp_path / "s"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.fixture
def installed(tmp_path):
    """A copy of the daemon's packages that a daemon can run from, and lose."""
    folder = tmp_path / "lib"
    for package in ("port42_daemon", "port42_protocol"):
        source = Path(importlib.util.find_spec(package).origin).parent
        shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_an_upgrade_under_a_daemon_takes_no_turn_from_it(start_daemon, installed):
    config = (
        '[backends.b]\ntype = "command"\ncommand = ["cat"]\nhistory = "none"\n[agents.t1]\nbackend = "b"\n'
    )
    daemon = start_daemon(env={"PYTHONPATH": str(installed)}, config=config)
    # At once: a daemon may be writing bytecode into the folder, which a removal file by file would meet.
    (installed / "port42_daemon").rename(installed / "upgraded")
    assert daemon.call("possess", agent="t1", message="x")["status"] == "answered"
    assert daemon.call("list_agents")["agents"]


def test_what_an_upgrade_took_away_is_answered_with_what_to_do(start_daemon, home, installed):
    (installed / "port42_daemon" / "backends" / "http" / "openai.py").write_text(
        "import port42_daemon.gone\n"
    )
    home.mkdir(mode=0o700)
    daemon = start_daemon(env={"PYTHONPATH": str(installed)})
    (home / "config.toml").write_text(
        '[backends.b]\ntype = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\n'
        '[agents.t1]\nbackend = "b"\n'
    )
    with pytest.raises(pytest.RpcFailed, match="`port42 daemon restart`") as refused:
        daemon.call("possess", agent="t1", message="x")
    assert (refused.value.code, refused.value.data["kind"]) == (-32005, "restart_needed")
    shutil.rmtree(installed / "port42_protocol" / "examples")
    with pytest.raises(pytest.RpcFailed, match="`port42 daemon restart`") as refused:
        daemon.call("rpc.discover")
    assert refused.value.code == -32005


@pytest.mark.parametrize("option", ["--home", "--socket", "--log-file"])
def test_an_empty_path_is_not_the_current_folder(option, tmp_path):
    command = [sys.executable, "-m", "port42_daemon", option, ""]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"argument {option}: expected a path, got an empty text" in done.stderr
    assert list(tmp_path.iterdir()) == []
