"""Every system call of the disk fails once, then for good: nothing acknowledged is missing afterwards."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from peers import session_files
from peers.session_files import add, page

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import Header
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.records import EventRecord, ForkPoint, Record, UserMessage

CALLS = ["open", "pwrite", "fdatasync", "fsync", "replace", "link", "ftruncate"]


@dataclass
class Fault:
    """The Nth call of a function of `os` fails, or every one from then on; `torn`: half is written first."""

    call: str
    error: int
    torn: bool = False
    lasting: bool = False
    fired: int = 0

    @contextlib.contextmanager
    def at(self, nth: int) -> Iterator[None]:
        real, calls = getattr(os, self.call), itertools.count(1)

        def failing(*args: Any, **named: Any) -> Any:
            number = next(calls)
            if number < nth or (number > nth and not self.lasting):
                return real(*args, **named)
            self.fired += 1
            if self.torn:
                descriptor, data, offset = args
                real(descriptor, bytes(data)[: len(data) // 2], offset)
            raise OSError(self.error, os.strerror(self.error))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, self.call, failing)
            yield


def said(content: str) -> Record:
    return UserMessage(seq=0, content=content, timestamp="2026-01-01T00:00:01.000Z")


def header(session_id: str) -> Header:
    return Header(id=session_id, agent="ai-muse", created_at="2026-01-01T00:00:00.000Z", client="cli")


def contents(store: FileStore, session_id: str) -> list[str]:
    got = store.read(session_id, after_seq=0, limit=1000, max_bytes=1 << 20, events=False).records
    return [record.content for record in got]


@contextlib.contextmanager
def opened(home: Path) -> Iterator[FileStore]:
    store = FileStore(home)
    store.open()
    for session_id in store.last_sessions.values():
        store.summary(session_id)  # so that its last use is known
    store.catalogue.counts()  # waits until the index is up to date: no thread makes calls of its own any more
    try:
        yield store
    finally:
        store.close()


def create(store: FileStore) -> None:
    store.create(header("cli-2"), [said("first")])


def append(store: FileStore) -> None:
    add(store, "cli-1", said("four"))


def append_much(store: FileStore) -> None:
    add(store, "cli-1", *[said("x" * 50_000), said("y")])


def set_last(store: FileStore) -> None:
    store.set_last("ai-muse", "cli-0")


def recover(store: FileStore) -> None:
    store.summary("cli-torn")


def fork(store: FileStore) -> None:
    forked = EventRecord(seq=0, event="forked", timestamp="2026-01-01T00:00:02.000Z")
    original, _ = store.ends("cli-1")
    header = structs.replace(original, id="cli-2", forked_from=ForkPoint("cli-1", 2))
    store.fork("cli-1", 2, header, forked)


def trash(store: FileStore) -> None:
    session_files.trash(store, "cli-spare")


def restore(store: FileStore) -> None:
    store.restore("cli-trashed")


FAULTS = [(call, error, False) for call in CALLS for error in (errno.ENOSPC, errno.EIO)]
FAULTS += [("pwrite", errno.ENOSPC, True)]


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: f"{fault[0]}-{errno.errorcode[fault[1]]}{'-torn' * fault[2]}"
)
@pytest.mark.parametrize("operate", [create, append, append_much, set_last, recover, fork, trash, restore])
def test_after_any_fault_the_store_has_what_it_acknowledged(tmp_path, operate, fault, lasting):
    for nth in range(1, 30):
        if not fail_at(tmp_path / str(nth), operate, nth, Fault(*fault, lasting=lasting)):
            return
    pytest.fail("no end of faults")


def fail_at(home: Path, operate: Callable[[FileStore], None], nth: int, fault: Fault) -> bool:
    """Whether the operation still met its Nth fault."""
    with opened(home) as store:
        for session_id in ("cli-0", "cli-1", "cli-torn"):
            store.create(header(session_id), [said("one"), said("two")])
            add(store, session_id, said("three"))
        store.set_last("ai-muse", "cli-1")
        for session_id in ("cli-spare", "cli-trashed"):
            store.create(header(session_id), [said("one")])
        trash_one(store)
        torn = home / "sessions" / "cli-torn.json"
        torn.write_bytes(torn.read_bytes()[:-20])
        grown = home / "sessions" / "cli-1.json"
        before, refused = grown.read_bytes(), None
        with fault.at(nth):
            try:
                operate(store)
            except StorageFailed as error:
                refused = error.message
        assert (refused is None) == (not fault.fired), "a fault was passed over"
        assert str(home) not in str(refused)
        if refused and fault.fired == 1:
            assert grown.read_bytes() == before, "a refused append was not undone"
        check_trash(store, operate, refused is not None)
        expected = check(store, operate, refused is not None)
        add(store, "cli-1", said("after"))
        assert contents(store, "cli-1") == [*expected, "after"]
    with opened(home) as store:
        check_trash(store, operate, refused is not None)
        assert check(store, operate, refused is not None)[-1] == "after"
        assert store.last_sessions.get("ai-muse") == ("cli-0" if operate is set_last else "cli-1")
    for path in (home / "sessions").glob("*.json"):
        json.loads(path.read_bytes())
    assert not list(home.rglob(".*.new"))
    return bool(fault.fired)


def trash_one(store: FileStore) -> None:
    session_files.trash(store, "cli-trashed")


def check_trash(store: FileStore, operate: Callable[[FileStore], None], refused: bool) -> None:
    """Each of the two is in one place, never in both and never in none."""
    listed = {session.session_id for session in page(store, limit=99)}
    trashed = {session.session_id for session in store.trashed(None, None, 99)}
    for session_id in ("cli-spare", "cli-trashed"):
        assert (store.where(session_id) == "sessions") != (session_id in trashed)
        assert (store.where(session_id) == "sessions") == (session_id in listed)
    if not refused:
        assert (store.where("cli-spare") == "sessions") == (operate is not trash)
        assert (store.where("cli-trashed") == "sessions") == (operate is restore)


def check(store: FileStore, operate: Callable[[FileStore], None], refused: bool) -> list[str]:
    """What was acknowledged is there, in its order; what was refused may be there, whole, or not."""
    assert contents(store, "cli-0") == contents(store, "cli-torn") == ["one", "two", "three"]
    kept = contents(store, "cli-1")
    assert kept[:3] == ["one", "two", "three"]
    if operate is append and not refused:
        assert kept[3] == "four"
    if operate is append_much and not refused:
        assert kept[3:5] == ["x" * 50_000, "y"]
    if operate is create and not refused:
        assert contents(store, "cli-2") == ["first"]
    if operate is fork and not refused:
        assert contents(store, "cli-2") == ["one", "two"]
    return kept


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda descriptor, data, offset: real(descriptor, bytes(data)[:7], offset)
    )
    with opened(tmp_path) as store:
        store.create(header("cli-1"), [said("one")])
        add(store, "cli-1", *[said("x" * 1000)])
        store.set_last("ai-muse", "cli-1")
    with opened(tmp_path) as store:
        assert contents(store, "cli-1") == ["one", "x" * 1000]
        assert store.last_sessions.get("ai-muse") == "cli-1"
    json.loads((tmp_path / "sessions" / "cli-1.json").read_bytes())


def test_bytes_are_synced_before_a_message_is_acknowledged_and_folders_before_a_name(tmp_path, monkeypatch):
    """The order that durability rests on: write, sync, rename, sync the folder."""
    done: list[str] = []

    def watch(call: str) -> None:
        real = getattr(os, call)

        def watched(*args: Any, **named: Any) -> Any:
            result = real(*args, **named)
            done.append(call)
            return result

        monkeypatch.setattr(os, call, watched)

    with opened(tmp_path) as store:
        for call in ("pwrite", "fdatasync", "replace", "fsync"):
            watch(call)
        store.create(header("cli-1"), [said("one")])
        assert done == ["pwrite", "fdatasync", "replace", "fsync"]
        done.clear()
        add(store, "cli-1", said("two"))
        assert done == ["pwrite", "fdatasync"]
        done.clear()
        store.set_last("ai-muse", "cli-1")
        assert done == ["pwrite", "fdatasync", "replace", "fsync"]
        done.clear()
        store.set_last("ai-muse", "cli-1")
        assert done == [], "a mapping that does not change is not written"
