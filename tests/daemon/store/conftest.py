"""A store with one session, and that session's file."""

from __future__ import annotations

import pytest
from peers.session_files import header, said

from port42_daemon.store.file_store import FileStore


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [said("one"), said("two")])
    yield store
    store.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "sessions" / "cli-1.json"
