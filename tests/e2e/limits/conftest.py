"""A session to send messages to."""

from __future__ import annotations

import pytest


@pytest.fixture
def session(daemon):
    return daemon.call("create_session", agent="ai-engineer", session_id="one")["session_id"]
