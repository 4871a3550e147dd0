"""The store on real files: their modes, and what a refused write leaves."""

from __future__ import annotations

import errno
import stat

import pytest
from peers.session_files import header

from port42_protocol.errors import StorageFailed


def test_files_and_folders_are_private(store, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_a_session_whose_creation_failed_does_not_exist(store, monkeypatch):
    def refuse(path):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr("port42_daemon.durable.sync_folder", refuse)
    with pytest.raises(StorageFailed, match="cannot create session cli-9"):
        store.create(header("cli-9"))
    monkeypatch.undo()
    assert store.where("cli-9") != "sessions"
    assert store.create(header("cli-9")).session_id == "cli-9"
