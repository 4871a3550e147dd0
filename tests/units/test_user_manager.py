"""The user manager itself: it is real, an ordinary user's, and leaves nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from units.user_manager import UID, UserManager

pytestmark = pytest.mark.once


def test_a_service_runs_as_an_ordinary_user_and_is_restarted(user_manager: UserManager) -> None:
    user_manager.write("one.service", "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=0\n")
    user_manager.systemctl("start", "one.service")
    pid = user_manager.show("one.service", "MainPID")
    assert user_manager.run("id", "-u").stdout == f"{UID}\n"
    user_manager.run("kill", "-KILL", pid)
    user_manager.until(lambda: user_manager.show("one.service", "MainPID") not in {pid, "0"})
    assert user_manager.show("one.service", "NRestarts") == "1"


def test_the_project_is_there_for_it(user_manager: UserManager) -> None:
    assert user_manager.run("port42", "--version").stdout.startswith("port42")
    where = user_manager.run(sys.executable, "-c", "import port42_daemon as d; print(d.__file__)").stdout
    import port42_daemon

    assert Path(where.strip()) == Path(port42_daemon.__file__)


def test_a_command_that_fails_says_so(user_manager: UserManager) -> None:
    with pytest.raises(AssertionError, match=r"no-such\.service"):
        user_manager.systemctl("start", "no-such.service")
