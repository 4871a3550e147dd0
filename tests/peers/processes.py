"""A pytest plugin: tests that end, and with them every process they start.

    def test_x(process):
        child = process([sys.executable, "-c", "…"], stdout=subprocess.PIPE, text=True)  # a Popen
        screen = process.at_terminal(["cat"])                                             # a pexpect child

Both are killed when the test is over, passed or not. `with subprocess.Popen(…)` would wait for a child
that a failing test no longer ends, and so the whole run for ever: the linter refuses it in tests.

A test that hangs fails by pytest-timeout's signal, which ends Python code and every system call. One that
hangs in C code, where no signal is looked at, ends its test process by faulthandler, which needs no
interpreter; pytest-xdist counts that as the test's failure and goes on in a new process. What the dead
process had started is killed by `survivors.py`, which waits for its end.

Both limits are in `pyproject.toml`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pexpect
import pytest
from peers import forks, survivors

Child = subprocess.Popen[Any]
Terminal = pexpect.spawn
MARK = "PORT42_TEST_RUN"
"""In the environment of everything a test starts, so that a survivor is known to be ours."""

_EXIT_WITHIN = 60.0
"""Seconds that the test process has to end after its last test: a thread that hangs would hold it."""


class Processes:
    """Starts processes and terminals, and ends them all."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._terminals: list[Terminal] = []

    def __call__(self, argv: Sequence[str | Path], **options: Any) -> Child:
        """`subprocess.Popen`, without a stdin if none is named."""
        child = subprocess.Popen(argv, **{"stdin": subprocess.DEVNULL} | options)
        self._children.append(child)
        return child

    def at_terminal(self, argv: Sequence[str | Path], **options: Any) -> Terminal:
        """`pexpect.spawn`; what it shows is UTF-8 text if no encoding is named."""
        program, *arguments = map(str, argv)
        child = pexpect.spawn(program, arguments, **{"encoding": "utf-8"} | options)
        # It is killed before it is closed: there is no goodbye to wait for.
        child.ptyproc.delayafterclose = child.ptyproc.delayafterterminate = 0.005
        self._terminals.append(child)
        return child

    def end(self) -> None:
        """Kill what runs, and close what leads to it."""
        for child in self._children:
            child.kill()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):  # what was not flushed goes nowhere
                        stream.close()
            child.wait()
        for terminal in self._terminals:
            if not terminal.closed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(terminal.pid, signal.SIGKILL)
                terminal.wait()  # on a busy machine `close` would give it up before it has ended
                terminal.close(force=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


@pytest.fixture
def process() -> Iterator[Processes]:
    """Starts processes, which end with the test."""
    with Processes() as processes:
        yield processes


@pytest.fixture(scope="session", autouse=True)
def nothing_of_this_machine() -> Iterator[None]:
    """No test sees the real home or runtime folder, and no process survives the session."""
    mark = uuid.uuid4().hex
    watcher = subprocess.Popen(
        [sys.executable, "-IS", survivors.__file__, mark], stdin=subprocess.PIPE, start_new_session=True
    )
    assert watcher.stdin is not None
    with (
        tempfile.TemporaryDirectory(prefix="p42-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in [name for name in os.environ if name.startswith("PORT42_")]:
            patch.delenv(name)
        patch.setenv("HOME", folder)
        patch.setenv("XDG_RUNTIME_DIR", folder)
        patch.setenv(MARK, mark)
        try:
            yield
            remaining = survivors.remaining(mark)
        finally:
            watcher.stdin.close()
            watcher.wait()
    if remaining:
        pytest.fail(f"what tests started was still running: {remaining}")


@pytest.fixture(scope="session")
def fork_servers(nothing_of_this_machine: None) -> Iterator[None]:
    """While this lasts, what `forks.popen` starts are forks."""
    with (
        tempfile.TemporaryDirectory(prefix="p42-", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
        forks.servers(Path(folder)),
    ):
        patch.setenv(forks.FOLDER, folder)
        yield


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Handlers end where another program begins; what is ignored stays so."""


def pytest_configure() -> None:
    """Begin as from a terminal: `&` leaves SIGINT and SIGQUIT ignored, nohup SIGHUP; for children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _pass_over)  # ignored here, as it was meant, and not by children


def pytest_unconfigure(config: pytest.Config) -> None:
    """A thread that never ends must not hold the process.

    A worker of xdist waits for the others here, and is ended by the process that started it.
    """
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(_EXIT_WITHIN, exit=True, file=sys.__stderr__)
