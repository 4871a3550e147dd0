"""The store on real files: their modes, and what a refused write leaves."""

from __future__ import annotations

import errno
import stat
import threading

import pytest
from peers.session_files import add, header, said

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


@pytest.mark.parametrize("allowed", [0, 2])
def test_many_sessions_are_created_where_the_system_allows_few_threads(store, path, monkeypatch, allowed):
    """And nothing is left to be done later, which would replace what was appended meanwhile."""
    start, left = threading.Thread.start, [None] * allowed

    def start_some(thread):
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    durable._sync_threads.cache_clear()
    names = [f"cli-{number}" for number in range(10, 30)]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_some)
        created = store.create_all([(header(name), []) for name in names])
    assert [summary.session_id for summary, _ in created] == names
    for name in names:
        add(store, name, said("a"))
    store.create_all([(header(f"later-{number}"), []) for number in range(20)])
    assert [store.summary(name).message_count for name in names] == [1] * 20


def test_a_session_whose_creation_failed_does_not_exist(store, monkeypatch):
    def refuse(path):
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr("port42_daemon.durable.sync_folder", refuse)
    with pytest.raises(StorageFailed, match="cannot create session cli-9"):
        store.create(header("cli-9"))
    monkeypatch.undo()
    assert store.where("cli-9") != "sessions"
    assert store.create(header("cli-9")).session_id == "cli-9"
