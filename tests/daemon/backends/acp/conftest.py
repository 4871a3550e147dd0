"""What tests of ACP agents start from."""

from pathlib import Path

import pytest
from peers.backends_acp import Journal

from port42_daemon.backends import process
from port42_daemon.backends.acp import agent as acp_agent

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stubborn agents are given tenths of seconds where the daemon gives them seconds."""
    monkeypatch.setattr(acp_agent, "_CANCEL_GRACE", 0.3)
    monkeypatch.setattr(acp_agent, "_END_GRACE", 0.2)
    monkeypatch.setattr(process, "_PATIENCE", 0.3)
