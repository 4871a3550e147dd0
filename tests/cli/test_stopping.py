"""A daemon told to stop and waited for. (`daemon stop` in test_daemon.py is the same, as typed.)"""

from __future__ import annotations

import os

import pytest

from port42_cli import stopping
from port42_cli.autostart import Daemon
from port42_cli.errors import Refused


def test_a_daemon_that_does_not_stop_is_told(daemon, monkeypatch):
    monkeypatch.setattr(stopping, "STOP_TIMEOUT", 0.1)
    monkeypatch.setattr(stopping.os, "kill", lambda *_: None)
    said = stopping.status(Daemon(None, os.environ))
    assert said["pid"] == daemon.pid
    with pytest.raises(Refused, match=rf"\(pid {daemon.pid}\) was told to stop and is still there"):
        stopping.stop(said)


def test_a_stopped_daemon_has_let_go_of_everything(daemon, home):
    said = stopping.running(Daemon(None, os.environ))
    stopping.stop(said)
    assert not (home / "daemon.json").exists()
    daemon.process.wait(30)
    daemon.process = None
    assert stopping.running(Daemon(None, os.environ)) is None
