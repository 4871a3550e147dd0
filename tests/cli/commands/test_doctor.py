"""`port42 doctor` as a person types it: with a daemon, and where none would start."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

import pytest

from port42_protocol import __version__


def faults(report):
    return [finding for finding in report["findings"] if finding["level"] != "ok" and not finding["fixed"]]


def test_a_healthy_home_is_0_and_every_part_is_named(port42):
    port42.begin("@ai-muse", "hi")
    done = port42("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    cells = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(row) for row in cells} == {4}
    assert [row[1] for row in cells][:4] == ["daemon", "lock", "socket", "disk"]
    assert {row[0] for row in cells} == {"ok"}
    assert cells[-1][1:3] == ["sessions", "1 file checked"]
    assert port42.json("doctor", "--json")["healthy"]


def test_damage_is_1_until_it_is_fixed(port42, home):
    session_id = port42.begin("@ai-muse", "hi")
    path = home / "sessions" / f"{session_id}.json"
    path.write_bytes(path.read_bytes().replace(b'"message_count":1', b'"message_count":9'))
    (home / "sessions" / "notes.txt").touch(mode=0o644)
    (home / "config.toml").touch()
    (home / "config.toml").chmod(0o644)
    done = port42("doctor")
    assert done.returncode == 1
    assert f"problem\tsessions\tsessions/{session_id}.json is damaged: its footer" in done.stdout
    assert "problem\tpermissions\tconfig.toml can be looked into by other users" in done.stdout
    fixed = port42("doctor", "--fix")
    assert fixed.returncode == 0, fixed.stdout
    assert fixed.stdout.splitlines()[-1].startswith("backup\thome\tkept in backups/")
    assert port42("doctor").returncode == 0
    assert faults(port42.json("doctor", "--json")) == []


def test_at_a_terminal_it_is_drawn_and_says_what_to_do(port42, terminal, home):
    port42.begin("@ai-muse", "hi")
    (home / "sessions" / "notes\x1b[31m.txt").touch(mode=0o600)
    screen = terminal("doctor", TERM="dumb")
    screen.expect("✓ daemon +version")
    screen.expect("! sessions +sessions/notes␛.31m.txt is not a file of port42's")
    screen.expect("→ `port42 doctor --fix` moves it")
    screen.expect("Healthy; `port42 doctor --fix` repairs 1 of what is above")
    screen.wait()
    assert screen.exitstatus == 0


def test_a_variable_of_this_shell_that_the_daemon_lacks(port42, home):
    port42("daemon", "start")
    (home / "config.toml").write_text(
        '[backends.b]\ntype = "command"\ncommand = ["cat"]\nenv_pass = ["P42_HERE"]\n'
        '[agents.a]\nbackend = "b"\n'
    )
    (home / "config.toml").chmod(0o600)
    done = port42("doctor", env={"P42_HERE": "a secret", "PORT42_DEBUG": "1"})
    assert "notice\tenvironment\tP42_HERE is set in this shell and not in the daemon" in done.stdout
    assert done.returncode == 0
    assert "a secret" not in done.stdout + done.stderr
    assert "ok\tenvironment" in port42("doctor").stdout


# --- without a daemon ---------------------------------------------------------------------------


def why(port42, **options):
    """What is found where no daemon starts."""
    done = port42("doctor", "--json", **options)
    assert done.returncode == 1, done.stdout
    report = json.loads(done.stdout)
    assert report["findings"][0]["about"] == "daemon"
    assert not report["healthy"]
    return {finding["about"]: finding for finding in faults(report)}


def test_a_home_that_is_a_file(port42, home):
    home.write_text("mine")
    assert why(port42)["home"]["what"] == f"{home} is not a folder"
    assert home.read_text() == "mine"


def test_a_folder_that_is_a_file(port42, home):
    home.mkdir(mode=0o700)
    (home / "sessions").write_text("")
    assert why(port42)["home"]["what"] == f"{home}/sessions is not a folder"


def test_a_socket_folder_that_is_open_to_others(port42, home):
    home.parent.chmod(0o755)
    assert why(port42)["socket"]["do"].startswith(f"chmod 700 {home.parent}")


def test_something_else_at_the_socket(port42, home):
    address = home.parent / "port42.sock"
    address.write_text("mine")
    assert why(port42)["socket"]["what"] == f"{address} is not a socket"
    assert address.read_text() == "mine"


def test_a_socket_path_that_is_too_long(port42, home):
    long = str(home.parent / ("x" * 120))
    assert "may have at most" in why(port42, env={"PORT42_SOCKET": long})["socket"]["what"]


def test_a_daemon_that_holds_the_home_and_does_not_answer(port42, home):
    """Its lock is held, its socket gone: what a hang looks like from outside."""
    home.mkdir(mode=0o700)
    with (home / "daemon.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for note in ({"pid": os.getpid(), "socket": "/nowhere"}, {"pid": 1}, "junk"):
            (home / "daemon.json").write_text(json.dumps(note))
            lock = why(port42, env={"PORT42_NO_AUTOSTART": "1"})["lock"]
            assert lock["what"] == f"pid {os.getpid()} holds the home and does not answer"
            assert lock["do"] == "port42 daemon stop"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_somebody_else(port42, home):
    home.mkdir(mode=0o700)
    os.chown(home, 12345, -1)
    finding = why(port42)["home"]
    assert finding["what"] == f"{home} belongs to uid 12345, and this command runs as another user"
    assert "without sudo" in finding["do"]


def test_what_nobody_answers_at_is_no_problem_of_its_own(port42, home):
    """A home that is not there, and an address nobody took: only that nothing may be started is said."""
    assert set(why(port42, env={"PORT42_NO_AUTOSTART": "1"})) == {"daemon"}
    assert not home.exists()


# --- other versions -----------------------------------------------------------------------------


STATUS = {"version": "0.0.1", "protocol_version": 1, "pid": 4242, "home": "/h"}


def run_doctor(peer, *answers):
    """What doctor says of a daemon that answers so."""

    def play(talk):
        for answer in answers:
            answer(talk, talk.request())

    fake = peer(play)
    command = [sys.executable, "-m", "port42_cli", "--socket", fake.path, "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    return done.returncode, json.loads(done.stdout)["findings"], fake.requests


def test_an_older_daemon_that_cannot_be_asked(peer):
    code, findings, _ = run_doctor(
        peer,
        lambda talk, request: talk.answer(request, STATUS),
        lambda talk, request: talk.refuse(request, -32601, "Method not found"),
        lambda talk, request: talk.answer(request, STATUS),  # which tells whether it is the older side
    )
    assert code == 1
    assert f"the daemon is version 0.0.1, and this is {__version__}" in [
        finding["what"] for finding in findings
    ]
    assert (findings[-1]["level"], findings[-1]["do"]) == ("problem", "`port42 daemon restart`")


def test_a_daemon_of_another_protocol_that_cannot_say_how_it_is(peer):
    checkup = {"findings": [], "examined": 0, "remaining": 0, "backup": None, "next_cursor": None}
    _, findings, _ = run_doctor(
        peer,
        lambda talk, request: talk.answer(request, STATUS | {"protocol_version": 9}),
        lambda talk, request: talk.answer(request, checkup),
    )
    assert [finding["level"] for finding in findings if "version 0.0.1" in finding["what"]] == ["problem"]


def test_a_daemon_of_another_home(port42, home):
    port42("daemon", "start")
    done = port42("doctor", env={"PORT42_HOME": str(home.parent / "other")})
    assert f"notice\tdaemon\tthe daemon that answers keeps {home}, and this shell's home is" in done.stdout
    assert done.returncode == 0


def test_names_of_variables_go_out_and_values_stay(peer, monkeypatch):
    monkeypatch.setenv("P42_SECRET", "hunter2")
    monkeypatch.setenv("P42_EMPTY", "")
    checkup = {"findings": [], "examined": 0, "remaining": 0, "backup": None, "next_cursor": None}
    _, _, requests = run_doctor(
        peer,
        lambda talk, request: talk.refuse(request, 1008, "cannot ask the index: the index failed"),
        lambda talk, request: talk.answer(request, checkup),
    )
    sent = requests[1]["params"]
    assert "P42_SECRET" in sent["environment"]
    assert "P42_EMPTY" not in sent["environment"]
    assert "hunter2" not in json.dumps(requests)
