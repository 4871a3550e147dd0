"""What a run is set to, and that what it shows is what is in force."""

from __future__ import annotations

from pathlib import Path

from port42_daemon.settings import Settings
from port42_protocol.framing import REQUEST_LIMIT


def test_the_limits_of_the_design_are_the_ones_shown():
    limits = Settings(home=Path("/h"), socket=Path("/s")).limits
    assert (limits.request_bytes, limits.page_bytes) == (REQUEST_LIMIT, 4 * 1024 * 1024)
    assert (limits.nesting, limits.batch, limits.connections) == (64, 50, 128)


def test_what_is_set_is_what_is_shown():
    limits = Settings(home=Path("/h"), socket=Path("/s"), request_bytes=5000, connections=3).limits
    assert (limits.request_bytes, limits.connections) == (5000, 3)
