"""`--host` over a real ssh to a real sshd on loopback, with its own keys: see `peers/sshd.py`."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path

import pexpect
import pytest
from peers.talk import Tap, configure


@pytest.fixture
def there(machine):
    """Agents of the other machine: `shout` shouts, `tap` says what the test writes."""
    machine.tap = Tap(machine.folder)
    configure(machine.home, shout=["tr", "a-z", "A-Z"], tap=machine.tap.command)
    return machine


@pytest.fixture
def remote(there, port42):
    """The command for the other machine."""
    port42.environment["PORT42_HOST"] = "devbox"
    return port42


def contents(remote, session_id):
    records = remote.rpc("get_session", session_id=session_id)["messages"]
    return [(record["role"], record["content"]) for record in records]


def next_event(following, kind):
    """The next event of that kind that `follow --json` prints."""
    while True:
        event = json.loads(following.stdout.readline())
        if event["kind"] == kind:
            return event


def end(following):
    following.send_signal(signal.SIGINT)
    assert following.wait(60) == 130


def test_everything_works_as_at_home_through_one_connection(there, remote, home):
    (there.folder / "note.txt").write_text("a note of this machine")
    answered = remote("possess", "@shout", "look", "--ref", f"file:{there.folder}/note.txt")
    assert (answered.returncode, answered.stdout.splitlines()[0]) == (0, "LOOK"), answered.stderr
    assert "A NOTE OF THIS MACHINE" in answered.stdout
    (session,) = remote.rpc("list_sessions")["sessions"]
    assert (session["agent"], session["message_count"], session["cwd"]) == ("shout", 2, None)
    out = there.folder / "out.json"
    assert remote("export", session["session_id"], "-o", str(out)).returncode == 0
    assert "a note of this machine" in out.read_text()
    assert (there.home / "sessions" / f"{session['session_id']}.json").is_file()
    assert not home.exists()  # nothing was started here
    advised = remote("agents", "connect", "@ai-muse", "copilot").stderr
    assert "if it is on yours, `port42 daemon restart` on devbox makes it known" in advised
    named = remote("doctor").stdout
    assert "`port42 daemon restart` on devbox makes it known" in named
    assert "`port42 agents test @ai-muse` checks again" in named
    named = remote("--host", "devbox", "doctor", env={"PORT42_HOST": ""})
    assert "`port42 --host devbox agents test @ai-muse` checks again" in named.stdout
    assert there.logins() == 1
    (socket,) = there.sockets()
    assert (socket.stat().st_mode & 0o777, socket.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_lost_connection_is_replaced_by_the_next_command(there, remote):
    assert remote("sessions").returncode == 0
    there.hang_up()
    assert remote("sessions").returncode == 0
    assert there.logins() == 2


def test_a_turn_goes_on_when_the_connection_is_lost_and_follow_takes_it_up(there, remote):
    asking = remote.start("possess", "@tap", "count")
    with there.tap.open() as say:
        say("one ")
        assert asking.stdout.read(4) == "one "
        there.hang_up()
        assert asking.wait(60) == 69
        lost, _, typed = asking.stderr.read().splitlines()[-3:]
        assert lost == "Error: the connection to devbox was lost"
        program, *args = shlex.split(typed)
        assert (program, args[:3]) == ("port42", ["--host", "devbox", "follow"])
        following = remote.start(*args, "--json")
        assert next_event(following, "text")["text"] == "one "
        say("two")
    message = next_event(following, "message")["message"]
    assert (message["seq"], message["content"]) == (2, "one two")
    end(following)
    assert contents(remote, args[3]) == [("user", "count"), ("assistant", "one two")]


def test_follow_takes_up_a_lost_connection_by_itself(there, remote):
    remote("possess", "@shout", "one")
    session_id = remote.rpc("get_last_session", agent="shout")["session_id"]
    following = remote.start("follow", session_id, "--since", "0", "--json")
    seen = [next_event(following, "message")["message"]["content"] for _ in range(2)]
    there.hang_up()
    assert remote("possess", "@shout", "-s", session_id, "two").returncode == 0
    seen += [next_event(following, "message")["message"]["content"] for _ in range(2)]
    assert seen == ["one", "ONE", "two", "TWO"]
    end(following)


def test_ctrl_c_stops_the_reply_and_keeps_the_connection(there, remote, terminal):
    child = terminal("--host devbox possess @tap count")
    with there.tap.open() as say:
        say("one ")
        child.expect("one")
        child.sendintr()
        child.expect("Interrupted. The reply so far is kept.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    session_id = remote.rpc("get_last_session", agent="tap")["session_id"]
    assert contents(remote, session_id) == [("user", "count"), ("assistant", "one ")]
    assert there.logins() == 1


def test_permissions_are_asked_for_at_this_terminal(there, remote, terminal):
    agent = [sys.executable, str(Path(__file__).parents[1] / "peers" / "acp_permission.py")]
    (there.home / "config.toml").write_text(
        f'[agents.careful]\nbackend = "careful"\n'
        f'[backends.careful]\ntype = "acp"\ncommand = {json.dumps(agent)}\n'
    )
    child = terminal("--host devbox possess @careful edit allow_once reject_once")
    child.expect("1 to 2, or Enter to refuse: ")
    child.sendline("1")
    child.expect('"selected"')
    child.expect(pexpect.EOF)


@pytest.mark.parametrize(
    ("host", "key", "words"),
    [
        ("nowhere.invalid", "host", "is unknown: no machine of that name was found"),
        ("ssh://127.0.0.1:9", "host", "refused the connection: no ssh server listens there"),
        ("other", "host", "denied permission: it accepted none of your keys"),
        ("devbox", None, "the host key of devbox was not accepted"),
        ("devbox", "other", "the host key of devbox is not the one that ssh knows"),
    ],
)
def test_each_way_it_can_fail_has_its_text(machine, port42, host, key, words):
    machine.set_host_key(key)
    done = port42("--host", host, "sessions")
    assert (done.returncode, done.stdout) == (69, "")
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")


def test_without_port42_or_with_one_that_is_too_old_the_text_says_so(machine, port42, home):
    old = machine.folder / "old"
    old.write_text("#!/bin/sh\necho \"Error: No such command 'dial-stdio'.\" >&2\nexit 2\n")
    old.chmod(0o700)
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        f'[hosts.bare]\naddress = "devbox"\nprogram = "~/no such/port42"\n'
        f'[hosts.old]\naddress = "devbox"\nprogram = "{old}"\n'
    )
    bare, old = port42("--host", "bare", "sessions"), port42("--host", "old", "sessions")
    assert (bare.returncode, old.returncode) == (69, 69)
    assert "~/no such/port42 was not found on bare" in bare.stderr
    assert "[hosts.bare] can name its path, as program" in bare.stderr
    assert old.stderr == "Error: port42 on old is too old for --host: update port42 there\n"


def test_without_ssh_the_text_says_so(port42, home):
    folder = home.parent
    done = port42("--host", "devbox", "sessions", env={"PATH": str(folder), "XDG_RUNTIME_DIR": str(folder)})
    assert (done.returncode, done.stdout) == (69, "")
    assert "ssh was not found on this machine" in done.stderr
