"""A daemon told to stop and waited for. (`daemon stop` in commands/test_daemon.py is the same, as typed.)"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from port42_client import process
from port42_client.daemon import Daemon
from port42_client.errors import Refused


def test_a_daemon_that_does_not_stop_is_told(daemon, monkeypatch):
    running = Daemon(None, os.environ).running()
    assert running.pid == daemon.pid
    with monkeypatch.context() as patch:
        patch.setattr(process, "STOP_TIMEOUT", 0.1)
        patch.setattr(process.os, "kill", lambda *_: None)
        with pytest.raises(Refused, match=rf"\(pid {daemon.pid}\) was told to stop and is still there"):
            process.stop(running.pid, Path(running.home), print)


def test_a_stopped_daemon_has_let_go_of_everything(daemon, home):
    process.stop(daemon.pid, home, print)
    assert not (home / "daemon.json").exists()
    daemon.process.wait(30)
    daemon.process = None
    assert Daemon(None, os.environ).running() is None
