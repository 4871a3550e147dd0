"""A daemon that captures what a tool writes."""

from __future__ import annotations

import contextlib

import pytest
from peers.claude_code import Transcript

from port42_daemon.transfer.capture.originals import Originals


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claude" / "projects"


@pytest.fixture
def capturing(daemon, folder):
    """A daemon that captures Claude Code's sessions in `folder`."""
    folder.mkdir(parents=True)
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    return daemon


@pytest.fixture
def transcript(folder):
    return Transcript(folder)


@pytest.fixture
def originals(tmp_path):
    with contextlib.closing(Originals(tmp_path)) as originals:
        yield originals
