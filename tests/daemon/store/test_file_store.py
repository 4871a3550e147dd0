"""The store on real files: their modes, and what a refused write leaves."""

from __future__ import annotations

import errno
import stat

import pytest
from peers.session_files import header, said

from port42_daemon import durable
from port42_protocol.errors import StorageFailed


def test_files_and_folders_are_private(store, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("failing", ["sync_folder", "sync", "write_all"])
def test_of_many_sessions_none_exists_whose_creation_failed(store, path, monkeypatch, failing):
    real, calls = getattr(durable, failing), []

    def refuse(target, *rest):
        calls.append(target)
        if len(calls) == 1:
            raise OSError(errno.EIO, "no")
        real(target, *rest)

    monkeypatch.setattr(durable, failing, refuse)
    names = [f"cli-{number}" for number in range(10, 30)]
    created = store.create_all([(header(name), [said("a")]) for name in names])
    monkeypatch.undo()
    failed = [name for name, one in zip(names, created, strict=True) if isinstance(one, StorageFailed)]
    assert len(failed) == (len(names) if failing == "sync_folder" else 1)
    for name in names:
        assert (store.where(name) is None) == (name in failed)
    assert not list(path.parent.glob(".*"))
    assert all(isinstance(one, tuple) for one in store.create_all([(header(name), []) for name in failed]))


def test_a_session_whose_creation_failed_does_not_exist(store, monkeypatch):
    def refuse(path):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr("port42_daemon.durable.sync_folder", refuse)
    with pytest.raises(StorageFailed, match="cannot create session cli-9"):
        store.create(header("cli-9"))
    monkeypatch.undo()
    assert store.where("cli-9") != "sessions"
    assert store.create(header("cli-9")).session_id == "cli-9"
