"""A fork that stands for `python -m PACKAGE` is what that would be: state, output, exit status, end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peers import forks
from peers.cli_fixtures import COMMAND

pytestmark = [pytest.mark.once, pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux")]

STARTED = {"PYTHONNODEBUGRANGES": ""}
"""With a variable of the interpreter a process is started in the usual way; an empty one says nothing."""


def state(pid):
    """What a process has of whoever began it: signals, umask, folder, group, descriptors, variables."""
    process = Path(f"/proc/{pid}")
    facts = dict(re.findall(r"(Sig(?:Blk|Ign|Cgt)|Umask):\s(\w+)", (process / "status").read_text()))
    targets = []
    for file in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(re.sub(r"\d+", "N", str(file.readlink())))
    return facts | {
        "folder": (process / "cwd").readlink(),
        "group": (os.getpgid(pid), os.getsid(pid)),
        # Not the files that it opens, and closes.
        "descriptors": sorted(target for target in targets if target.startswith(("pipe", "socket", "/dev"))),
    }


def test_a_daemon_has_the_state_of_one_that_was_started(start_daemon, home):
    forked = start_daemon()
    started = start_daemon(home.with_name("other"), socket=home.with_name("other.sock"), env=STARTED)
    assert isinstance(forked.process, forks.Forked)
    assert not isinstance(started.process, forks.Forked)
    until = time.monotonic() + 30
    while state(forked.pid) != state(started.pid) and time.monotonic() < until:
        pass  # they open and close pipes, too, as long as they load what they will need
    assert state(forked.pid) == state(started.pid)


@pytest.mark.parametrize("typed", [["agents", "--json"], ["--help"], ["sessions", "--nothing"], ["rpc", "x"]])
def test_a_command_prints_and_returns_the_same(port42, daemon, typed, tmp_path):
    forked, started = (port42(*typed, env=env, cwd=tmp_path) for env in ({}, STARTED))
    assert forked.returncode == started.returncode
    for told, expected in ((forked.stdout, started.stdout), (forked.stderr, started.stderr)):
        assert re.sub(r"\d+", "N", told) == re.sub(r"\d+", "N", expected)


def test_what_a_command_starts_is_a_fork_in_a_session_of_its_own(port42):
    pid = port42.json("status", "--json")["pid"]
    assert b"forks.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert os.getsid(pid) == pid


def test_a_fork_that_is_killed_says_by_what(daemon):
    assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL


def test_a_fork_that_does_not_end_in_time_is_killed(fork_servers, home):
    argv = [sys.executable, "-m", "port42_daemon", "--home", str(home), "--socket", f"{home}.sock"]
    with pytest.raises(subprocess.TimeoutExpired):
        forks.run(argv, None, 0)


def test_a_reader_that_left_ends_a_fork_as_it_ends_a_process(process):
    argv = [*COMMAND, "--help"]
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as unread:
        forked, started = (
            begin(argv, stdin=subprocess.DEVNULL, stdout=unread) for begin in (forks.popen, process)
        )
        assert forked.wait(60) == started.wait(60)
