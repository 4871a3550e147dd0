"""`port42 dial-stdio`, and `--host` through it: without ssh, by a command that is run on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from peers.cli_fixtures import COMMAND

from port42_protocol import PROTOCOL_VERSION, __version__

REQUEST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "list_sessions"}) + "\n"


# --- by itself ----------------------------------------------------------------------------------------


def test_what_is_piped_in_is_answered_and_what_was_reached_is_told(port42):
    done = port42("dial-stdio", "--json", stdin=REQUEST)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"]["sessions"] == []
    told = json.loads(done.stderr)
    assert told == {"port42": "reached", "version": __version__, "protocol_version": PROTOCOL_VERSION}


def test_it_is_a_pipe_both_ways_until_stdin_ends(daemon, process):
    child = process([*COMMAND, "dial-stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(2):
        child.stdin.write(REQUEST)
        child.stdin.flush()
        assert "result" in json.loads(child.stdout.readline())
    child.stdin.close()
    assert child.wait(60) == 0


def test_it_ends_when_nobody_reads_any_more(daemon, process):
    child = process([*COMMAND, "dial-stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(REQUEST.encode())
    child.stdin.flush()
    assert child.stdout.readline()
    child.stdout.close()
    assert child.wait(60) == 0


def test_it_ends_when_the_daemon_does(daemon, process):
    child = process([*COMMAND, "dial-stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(REQUEST.encode())
    child.stdin.flush()
    assert child.stdout.readline()
    daemon.kill()
    assert child.wait(60) == 0


def test_a_large_answer_comes_whole_through_a_slow_reader(daemon, process):
    text = "x" * 200_000
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    params = {"agent": "ai-muse", "session_id": session_id, "role": "user", "content": text}
    for _ in range(5):
        daemon.call("append_message", **params)
    request = {"jsonrpc": "2.0", "id": 1, "method": "get_session", "params": {"session_id": session_id}}
    child = process([*COMMAND, "dial-stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    os.set_blocking(child.stdout.fileno(), True)
    child.stdin.write(json.dumps(request).encode() + b"\n")
    child.stdin.close()
    answer = json.loads(child.stdout.read())
    assert [record["content"] for record in answer["result"]["messages"]] == [text] * 5


def test_the_socket_for_reading_refuses_to_change_anything(daemon, port42):
    request = {"jsonrpc": "2.0", "id": 1, "method": "create_session", "params": {"agent": "ai-muse"}}
    done = port42("dial-stdio", "--read", stdin=json.dumps(request))
    assert json.loads(done.stdout)["error"]["data"]["kind"] == "read_only"


def test_without_a_daemon_it_says_so_in_the_form_that_was_wanted(port42, home):
    plain = port42("dial-stdio", "--no-start", stdin=REQUEST)
    assert (plain.returncode, plain.stdout) == (69, "")
    assert plain.stderr.startswith("Error: no daemon answers at ")
    told = port42("dial-stdio", "--no-start", "--json", stdin=REQUEST)
    assert told.returncode == 69
    error = json.loads(told.stderr)
    assert error["port42"] == "error"
    assert error["text"].startswith("no daemon answers at ")
    assert not home.exists()


def test_a_daemon_of_another_protocol_gets_nothing(port42):
    done = port42("dial-stdio", "--protocol", str(PROTOCOL_VERSION + 1), stdin=REQUEST)
    assert (done.returncode, done.stdout) == (69, "")
    assert f"speaks protocol version {PROTOCOL_VERSION} and not {PROTOCOL_VERSION + 1}" in done.stderr


# --- as what --host runs ------------------------------------------------------------------------------


def box(home, *command, program="port42"):
    home.mkdir(mode=0o700, exist_ok=True)
    table = f"[hosts.box]\ncommand = {json.dumps(command)}\nprogram = {json.dumps(program)}\n"
    (home / "config.toml").write_text(table)


def test_a_command_of_config_toml_leads_to_a_daemon(port42, daemon, home):
    daemon.call("create_session", agent="ai-muse", title="over there")
    box(home, *COMMAND[:2], program=COMMAND[2])
    done = port42("--host", "box", "sessions", env={"PORT42_SOCKET": ""})
    assert done.returncode == 0, done.stderr
    assert "over there" in done.stdout


def test_the_variable_that_names_a_host_does_not_reach_it(port42, daemon, home):
    """Each `dial-stdio` would start the next one."""
    box(home, *COMMAND[:2], program=COMMAND[2])
    listed = port42("sessions", env={"PORT42_SOCKET": "", "PORT42_HOST": "box"})
    assert listed.returncode == 0, listed.stderr


def test_commands_that_are_suggested_lead_to_the_same_machine(port42, daemon, home):
    box(home, *COMMAND[:2], program=COMMAND[2])
    there = {"env": {"PORT42_SOCKET": ""}}
    recorded = port42("--host", "box", "possess", "@ai-muse", "hi", **there)
    assert "port42 --host box agents connect --help" in recorded.stderr
    gone = port42("--host", "box", "rm", "-y", "last", **there)
    assert "To bring it back: port42 --host box restore cli-" in gone.stderr
    unknown = port42("--host", "box", "show", "nothing-such", **there)
    assert "To see them: port42 --host box sessions" in unknown.stderr


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "ended (code 3): it gave no reason"),
        ("echo one >&2; echo ' last ' >&2; exit 1", "ended (code 1): last"),
        ("exit 127", "was not found on box"),
        ("echo \"Error: No such command 'dial-stdio'.\" >&2; exit 2", "is too old for --host"),
        ('echo \'{"port42":"error","text":"no","advice":["  do"]}\' >&2; exit 69', "on box: no\n  do"),
        ('echo \'{"port42":"error","text":3,"advice":4}\' >&2; exit 69', "on box: 3"),
        ('echo \'{"port42":"reached","version":"0.0.1","protocol_version":0}\' >&2', "update port42 on box"),
        ('echo \'{"port42":"reached","version":"99","protocol_version":9}\' >&2', "update port42 here"),
        ("echo '{'; sleep 60", "does not speak JSON-RPC"),
        ("printf '\\033]0;x\\007' >&2; exit 1", "ended (code 1)"),
    ],
)
def test_a_program_that_fails_has_its_text(port42, home, script, words):
    box(home, "sh", "-c", script)
    done = port42("--host", "box", "sessions")
    assert (done.returncode, done.stdout) == (69, "")
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")
    assert "\x1b" not in done.stderr


def test_notices_from_there_are_shown_with_the_machines_name(port42, home):
    box(home, "sh", "-c", 'echo \'{"port42":"notice","text":"slow today"}\' >&2; exit 1')
    assert port42("--host", "box", "sessions").stderr.startswith("box: slow today\n")


def test_a_program_that_is_not_there_is_named(port42, home):
    box(home, "port42-no-such-program")
    done = port42("--host", "box", "sessions")
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "cannot start port42-no-such-program to reach box: No such file" in done.stderr


def test_commands_about_the_process_are_for_its_own_machine(port42):
    for command in (["daemon", "stop"], ["service", "status"], ["socket-path"]):
        done = port42("--host", "box", *command)
        assert done.returncode == 2
        assert "run it there, or with --host '' here" in done.stderr
    assert port42("--host", "", "socket-path", env={"PORT42_HOST": "box"}).returncode == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--socket", "/x", "sessions"], "expected no --host with it"),
        (["sessions", "--here"], "the sessions are on box"),
        (["possess", "@a", "--here", "hi"], "the sessions are on box"),
        (["import", "x"], "PATH: expected an absolute path on box, got x"),
        (["capture", "on", "claude", "--path", "x"], "--path: expected an absolute path on box, got x"),
        (["possess", "@a", "-r", "file:nothing", "hi"], "expected a file that can be read"),
        (["possess", "@a", "-r", "file:/dev/null", "hi"], "expected an ordinary file"),
    ],
)
def test_what_names_something_of_this_machine_is_refused(port42, home, args, words):
    box(home, sys.executable, "-c", "raise SystemExit('must not be started')")
    done = port42("--host", "box", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
