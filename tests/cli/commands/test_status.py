"""`port42 status`: the daemon's own facts, for programs, pipes and people."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from port42_protocol import __version__


def test_json_has_what_a_script_needs(port42):
    port42.begin("@ai-muse", "hi")
    facts = port42.json("status", "--json")
    while facts["sessions"] is None:  # not counted yet
        facts = port42.json("status", "--json")
    assert facts["version"] == __version__
    assert facts["socket"] == os.environ["PORT42_SOCKET"]
    assert facts["sessions"] == 1
    os.kill(facts["pid"], 0)


def test_piped_it_is_a_line_for_each_fact(port42, home):
    lines = port42("status").stdout.splitlines()
    while any(line.startswith("sessions: being counted") for line in lines):
        lines = port42("status").stdout.splitlines()
    assert lines[0] == f"version: {__version__}"
    assert f"home: {home}" in lines
    assert "sessions: 0" in lines


def test_on_a_terminal_it_is_laid_out(port42, terminal):
    port42.begin("@ai-muse", "hi")
    screen = terminal("status", TERM="dumb")
    screen.expect(f"port42d {__version__}")
    screen.expect(r"pid \d+, up ")
    screen.expect("socket")
    screen.expect_exact("port42 status --methods")
    screen = terminal("status", "--methods", TERM="dumb")
    screen.expect("METHOD")
    screen.expect(r"possess +1 +0 ")


@pytest.fixture
def watching(port42, process):
    """A `status --watch` whose stdout and stderr are pipes."""
    return process(
        [sys.executable, "-m", "port42_cli", "status", "--watch", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_watched_in_a_pipe_each_time_is_a_line_of_json_and_a_restart_is_survived(port42, watching):
    first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
    assert first["pid"] == second["pid"]
    assert second["uptime_seconds"] > first["uptime_seconds"]
    port42("daemon", "stop")
    assert watching.stderr.readline() == "The daemon went away. Waiting for the next one.\n"
    assert port42("status", env={"PORT42_NO_AUTOSTART": "1"}).returncode == 69, "it starts none itself"
    port42("daemon", "start")
    while (now := json.loads(watching.stdout.readline()))["pid"] == first["pid"]:
        pass
    os.kill(now["pid"], 0)
    watching.send_signal(signal.SIGINT)
    _, stderr = watching.communicate(timeout=30)
    assert (watching.returncode, stderr.strip()) == (130, "")


def test_watched_at_a_terminal_it_is_drawn_again_until_ctrl_c(port42, terminal):
    screen = terminal("status", "--watch", "0.1")
    for _ in range(3):
        screen.expect("port42d")
        screen.expect("connection")
    screen.sendintr()
    screen.wait()
    assert screen.exitstatus == 130


def test_watched_at_a_terminal_its_keys_show_the_methods_and_leave(port42, terminal):
    screen = terminal("status", "--watch", "0.1")
    screen.expect("leave")
    screen.send("m")
    screen.expect("METHOD")
    screen.send("q")
    screen.wait()
    assert screen.exitstatus == 0


@pytest.mark.parametrize("seconds", ["0", "nan", "soon", "1e9"])
def test_an_interval_that_is_none_is_refused(port42, seconds):
    done = port42("status", "--watch", seconds)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--watch" in done.stderr
