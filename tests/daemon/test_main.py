"""The whole daemon as a process: it starts, answers, stops cleanly, and starts again."""

import signal

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_cleanly_when_told(daemon, number):
    assert daemon.socket.exists()
    assert daemon.stop(number) == 0
    assert not daemon.socket.exists()
    assert not (daemon.home / "daemon.json").exists()
