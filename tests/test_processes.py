"""The machinery of the tests itself: whatever hangs, the run ends, says so, and leaves no process behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers.lifeline import Lifeline

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.once

HANGS = """
import itertools, subprocess, sys, threading, time
import pexpect, pytest

@pytest.fixture
def child(process):
    return start(process, 'trap "" HUP INT TERM; exec 9>"$0"; echo up; exec sleep 1000')

def start(process, script):
    child = process(["sh", "-c", script, LIFELINE], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"up\\n"
    return child

def test_fails_beside_a_child(child):
    pytest.fail("on purpose")

def test_waits_for_ever(child):
    child.wait()

def test_a_terminal_never_ends(process):
    terminal = process.at_terminal(["sh", "-c", 'trap "" HUP INT TERM; exec 9>"$0"; cat', LIFELINE])
    terminal.expect(pexpect.EOF, timeout=None)

def test_a_thread_never_ends():
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()

def test_runs_after_them():
    pass
"""

IN_C = """
def test_never_leaves_c(process):
    start(process, 'exec 9>"$0"; sleep 1000 & echo up; wait')
    sum(itertools.repeat(0))

def test_runs_after_that():
    pass
"""

SIGNALS = """
import os, signal, subprocess, sys

import pytest

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_a_signal_ends_a_child(process, number):
    child = process([sys.executable, "-c", "import time; print(flush=True); time.sleep(1000)"],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.stdout.readline()
    child.send_signal(number)
    assert child.wait(30) == -number

def test_stdin_is_empty():
    done = subprocess.run([sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"],
                          capture_output=True, check=True, timeout=30)
    assert done.stdout == b"0\\n"
"""


def run(folder, tests, *options, before=""):
    """A run of pytest with this project's settings, but for shorter limits, as a shell starts it."""
    (folder / "test_inner.py").write_text(tests)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(folder),
    ]
    command += [
        "-p",
        "peers.processes",
        "-p",
        "no:cacheprovider",
        "-o",
        "timeout=1",
        "-o",
        "faulthandler_timeout=3",
    ]
    command += [*options, str(folder / "test_inner.py")]
    return subprocess.run(
        ["sh", "-c", f'{before} exec "$@"', "sh", *command],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        | {"PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def outcomes(done):
    return set(re.findall(r"(FAILED|ERROR) \S*::(\w+)", done.stdout))


def test_a_hanging_test_fails_and_its_processes_end(tmp_path):
    with Lifeline(tmp_path) as lifeline:
        done = run(tmp_path, f"LIFELINE = {lifeline.path!r}\n" + HANGS)
        assert lifeline.released()
    failed = {"test_fails_beside_a_child", "test_waits_for_ever", "test_a_terminal_never_ends"}
    assert outcomes(done) == {("FAILED", name) for name in failed}, done.stdout + done.stderr
    assert "3 failed, 2 passed" in done.stdout
    assert "Timeout (>1.0s)" in done.stdout


def test_a_test_that_hangs_in_c_ends_its_process_and_the_run_goes_on(tmp_path):
    with Lifeline(tmp_path) as lifeline:
        done = run(
            tmp_path,
            f"LIFELINE = {lifeline.path!r}\n" + HANGS + IN_C,
            "-n",
            "1",
            "-k",
            "leaves_c or after_that",
        )
        assert lifeline.released()
    assert ("FAILED", "test_never_leaves_c") in outcomes(done), done.stdout + done.stderr
    assert "crashed while running" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


@pytest.mark.parametrize("before", ["", "trap '' INT QUIT HUP; exec <&-;"])
def test_a_run_in_the_background_is_like_any_other(tmp_path, before):
    done = run(tmp_path, SIGNALS, before=before)
    assert done.returncode == 0, done.stdout + done.stderr
