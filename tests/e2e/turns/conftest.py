"""Agents for turns: real programs that say what a test writes."""

from __future__ import annotations

import pytest
from peers.talk import Tap, configure


@pytest.fixture
def tap(home):
    home.mkdir(mode=0o700)
    return Tap(home.parent)


@pytest.fixture
def daemon(home, tap, start_daemon):
    """Agents: `shout` shouts, `tap` says what the test writes, `broken` says it and fails, `lost` is none."""
    configure(
        home,
        shout=["tr", "a-z", "A-Z"],
        tap=tap.command,
        broken=tap.failing,
        lost=["port42-no-such-program"],
    )
    return start_daemon()
