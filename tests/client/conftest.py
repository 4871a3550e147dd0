"""What the tests of both Python clients stand on."""

from __future__ import annotations

import pytest
from peers.talk import Tap, configure


@pytest.fixture
def tap(home):
    """An agent that says what the test writes; beside it one that shouts."""
    tap = Tap(home.parent)
    configure(home, tap=tap.command, shout=["tr", "a-z", "A-Z"])
    return tap
