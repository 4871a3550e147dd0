"""CLI and daemon of two versions, as processes on a real socket: worked with, handed over, refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from peers import versions
from peers.talk import Tap, configure

from port42_protocol import __version__

HANDED_OVER = f"port42d {versions.OLD} → {__version__}\n"
BEHIND = f"port42d {versions.OLD} is older than this port42 {__version__}"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return versions.older(tmp_path_factory.mktemp("older"))


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return versions.newer(tmp_path_factory.mktemp("newer"))


@pytest.fixture
def tap(home):
    """An agent that says what the test writes."""
    home.mkdir(mode=0o700)
    tap = Tap(home.parent)
    configure(home, tap=tap.command)
    return tap


def noted(home):
    return json.loads((home / "daemon.json").read_bytes())


def contents(port42, session_id):
    return [message["content"] for message in port42.json("show", session_id, "--json")["messages"]]


def work(port42, **version):
    """Every command that people use most, in `version`; gives the daemon's status."""
    session_id = port42.begin("@ai-muse", "one", **version)
    events = port42.events("@ai-muse", "-s", "last", "two", **version)
    assert events[-1]["session_id"] == session_id
    shown = port42.json("show", session_id, "--json", **version)
    assert [message["content"] for message in shown["messages"]] == ["one", "two"]
    listed = port42.json("sessions", "--json", **version)["sessions"]
    assert [session["session_id"] for session in listed] == [session_id]
    for command in (["show", session_id], ["status"], []):
        done = port42(*command, **version)
        assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr
    return port42.json("status", "--json", **version)


def test_an_idle_older_daemon_that_started_by_itself_is_replaced(port42, home, old):
    session_id = port42.begin("@ai-muse", "before", env=old.environ)
    first = noted(home)
    assert (first["version"], first["started_by"]) == (old.number, "autostart")
    done = port42("possess", "@ai-muse", "-s", "last", "after")
    assert (done.returncode, done.stderr.count(HANDED_OVER)) == (0, 1), done.stderr
    second = noted(home)
    assert (second["version"], second["started_by"]) == (__version__, "autostart")
    assert (second["socket"], second["pid"] != first["pid"]) == (first["socket"], True)
    assert contents(port42, session_id) == ["before", "after"]
    assert port42("status").stderr == ""


def test_a_daemon_that_somebody_started_is_worked_with_and_never_replaced(port42, home, old):
    assert port42("daemon", "start", env=old.environ).returncode == 0
    pid = noted(home)["pid"]
    assert work(port42)["pid"] == pid
    done = port42("status")
    assert done.stderr == f"{BEHIND}: `port42 daemon restart` starts this version's\n"
    assert port42("daemon", "restart").returncode == 0
    assert (noted(home)["version"], noted(home)["started_by"]) == (__version__, "hand")


def test_where_nothing_may_be_started_nothing_is_replaced(port42, home, old):
    port42("status", env=old.environ)
    done = port42("status", "--json", env={"PORT42_NO_AUTOSTART": "1"})
    assert json.loads(done.stdout)["version"] == old.number
    assert BEHIND in done.stderr


def test_an_older_cli_works_with_this_versions_daemon(port42, home, old):
    port42("status")
    pid = noted(home)["pid"]
    status = work(port42, env=old.environ)
    assert (status["pid"], status["version"]) == (pid, __version__)
    assert noted(home)["pid"] == pid
    stopped = port42("daemon", "stop", env=old.environ)
    assert stopped.stderr == f"port42d stopped (pid {pid})\n"


def test_this_cli_works_with_a_newer_daemon_and_does_not_replace_it(start_daemon, port42, home, new):
    start_daemon(env=new.environ)
    pid = noted(home)["pid"]
    status = work(port42)
    assert (status["pid"], status["version"]) == (pid, new.number)
    assert port42("status").stderr == ""


def test_a_newer_daemon_of_another_protocol_is_not_talked_to(start_daemon, port42, home, tmp_path):
    foreign = versions.newer(tmp_path / "foreign", protocol=2)
    start_daemon(env=foreign.environ)
    pid = noted(home)["pid"]
    done = port42("possess", "@ai-muse", "hello")
    assert (done.returncode, done.stdout) == (69, "")
    assert f"port42d {foreign.number} is newer than this port42 {__version__}: update port42" in done.stderr
    assert "speaks version 1 of the protocol and not 2" in done.stderr
    assert noted(home)["pid"] == pid


def test_a_turn_under_way_ends_with_the_old_daemon(port42, process, home, tap, old):
    asking = [sys.executable, "-m", "port42_cli", "possess", "@tap", "a long question", "--json"]
    turn = process(
        asking, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | old.environ, text=True
    )
    with tap.open() as say:
        say("half ")
        pid = noted(home)["pid"]
        done = port42("sessions")
        assert (done.returncode, done.stderr) == (0, "")
        assert noted(home)["pid"] == pid
        (home / "daemon.json").write_text(json.dumps(noted(home) | {"protocol_version": 0}))
        waits = f"{BEHIND} and has a turn under way: it is replaced when it has none\n"
        assert port42("sessions").stderr == waits
        say("and half")
    printed, complaint = turn.communicate(timeout=60)
    assert turn.returncode == 0, complaint
    session_id = json.loads(printed.splitlines()[-1])["session_id"]
    assert port42("status").stderr == HANDED_OVER
    assert contents(port42, session_id) == ["a long question", "half and half"]


def rush(port42, home, old, ours, theirs):
    """Commands of both versions at once on an old daemon; every message was recorded once."""
    session_id = port42.begin("@ai-muse", "begin", env=old.environ)

    def say(number):
        env = {} if number < ours else old.environ
        return port42("possess", "@ai-muse", "-s", "last", f"message {number}", env=env)

    with ThreadPoolExecutor(ours + theirs) as pool:
        done = list(pool.map(say, range(ours + theirs)))
    assert [command.returncode for command in done] == [0] * len(done), [command.stderr for command in done]
    assert sum(command.stderr.count(HANDED_OVER) for command in done) == 1
    assert noted(home)["version"] == __version__
    messages = contents(port42, session_id)
    assert (messages[0], sorted(messages[1:])) == ("begin", sorted(f"message {n}" for n in range(len(done))))


def test_many_commands_at_once_hand_over_once_and_lose_nothing(port42, home, old):
    rush(port42, home, old, ours=7, theirs=3)


@pytest.mark.torture
@pytest.mark.parametrize("_", range(20))
def test_many_hand_overs_lose_nothing(port42, home, old, _):
    rush(port42, home, old, ours=6, theirs=6)


def test_a_note_that_is_not_true_replaces_nobody(start_daemon, port42, home):
    """A killed daemon's, or nobody's: who answers is this version's, and stays."""
    daemon = start_daemon()
    true = noted(home)
    for wrong in (
        {"pid": 1, "version": "0.0.1", "started_by": "autostart"},
        {"pid": None, "version": "0.0.1", "started_by": "autostart", "protocol_version": {}},
        {"version": ["0.0.1"], "protocol_version": 1},
        {"version": None, "started_by": []},
    ):
        (home / "daemon.json").write_text(json.dumps(true | wrong))
        assert port42.json("status", "--json")["pid"] == daemon.pid
    assert daemon.process.poll() is None
