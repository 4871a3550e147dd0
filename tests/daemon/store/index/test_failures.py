"""An index that fails, or is none, and sessions that cannot be indexed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.capturing import eventually
from peers.session_files import AT, add, find, header, keyed, listed, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import entries, indexer
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.records import AssistantMessage, TurnRecord


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The database is locked by another program."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        yield


def test_without_its_file_the_index_answers_from_memory_until_there_is_one_again(tmp_path):
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [keyed("one", "k1")])
    store.close()
    store = FileStore(tmp_path / "home")
    with locked(tmp_path / "home" / "index.db"):
        store.open()
        add(store, "cli-1", *[keyed("two", "k2")])
        store.create(header("cli-2"), [said("three")])
        assert listed(store) == ["cli-1", "cli-2"]
        assert [store.catalogue.with_key("ai-muse", key, None) for key in ("k1", "k2", "k3")] == [
            ("cli-1", 1),
            ("cli-1", 2),
            None,
        ]
        assert find(store, "three") == [("cli-2", 1)]
        assert store.catalogue.state == "unusable"
    eventually(lambda: store.catalogue.state == "ready")
    assert [find(store, word) for word in ("one", "two", "three")] == [
        [("cli-1", 1)],
        [("cli-1", 2)],
        [("cli-2", 1)],
    ]
    store.close()


@pytest.mark.parametrize("how", ["junk", "empty", "folder", "fifo", "link", "gone", "dropped table", "wal"])
def test_a_start_replaces_what_is_not_an_index(tmp_path, how):
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    store.create(header("cli-1"), [said("one")])
    store.close()
    path = home / "index.db"
    if how == "dropped table":
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("DROP TABLE keys")
            database.commit()
    elif how == "wal":
        os.mkfifo(home / "index.db-wal")
        (home / "index.db-journal").mkdir()
    else:
        path.unlink()
    if how == "junk":
        path.write_bytes(b"junk" * 5000)
    elif how == "empty":
        path.touch()
    elif how == "folder":
        path.mkdir()
        (path / "inside").touch()
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "link":
        (tmp_path / "elsewhere").write_text("mine")
        path.symlink_to(tmp_path / "elsewhere")
    store = FileStore(home)
    store.open()
    assert listed(store) == ["cli-1"]
    assert store.catalogue.with_key("ai-muse", "k", None) is None
    assert find(store, "one") == [("cli-1", 1)]
    assert store.catalogue.state == "ready"
    store.close()
    assert path.is_file()
    assert not path.is_symlink()
    if how == "link":
        assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize("size", [0, 512, 5000, None])
def test_a_file_that_is_overwritten_or_cut_while_it_is_open_is_made_anew(store, path, size):
    """Each question is answered, from the new one."""
    assert find(store, "two") == [("cli-1", 2)]
    for file in path.parent.parent.glob("index.db*"):
        if size is None:
            with file.open("r+b") as overwritten:
                overwritten.write(os.urandom(60 * 4096))
        else:
            os.truncate(file, size)
    add(store, "cli-1", *[keyed("three", "k")])
    assert store.catalogue.with_key("ai-muse", "k", None) == ("cli-1", 3)
    assert listed(store) == ["cli-1"]
    eventually(lambda: find(store, "three") == [("cli-1", 3)])


def test_a_query_that_meets_damage_has_the_index_made_anew(store, path):
    add(store, "cli-1", *[said(f"word{number} and more") for number in range(500)])
    assert find(store, "word77") == [("cli-1", 80)]
    eventually(lambda: store.catalogue.status().complete)
    store.close()
    database = path.parent.parent / "index.db"
    whole = database.read_bytes()
    with database.open("r+b") as file:
        for page in range(len(whole) // 4096):
            if b"word77" in whole[page * 4096 : (page + 1) * 4096]:
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)

    again = FileStore(path.parent.parent)
    again.open()

    def is_rebuilt() -> bool:
        try:
            return find(again, "word77") == [("cli-1", 80)]
        except StorageFailed:
            return False

    eventually(is_rebuilt)
    again.close()


def test_a_session_that_cannot_be_indexed_does_not_block_others(store, path, monkeypatch):
    """The thread goes on after any exception, MemoryError too."""
    prepare = entries.prepare

    def fail(agent, prepared):
        if any(entry.text == "poison" for entry in prepared):
            raise MemoryError
        return prepare(agent, prepared)

    monkeypatch.setattr(entries, "prepare", fail)
    store.create(header("cli-2"), [keyed("poison", "k2"), said("word")])
    store.create(header("cli-3"), [keyed("word", "k3")])
    eventually(lambda: store.catalogue.status().complete)
    assert store.catalogue.with_key("ai-muse", "k3", None) == ("cli-3", 1)
    assert find(store, "word") == [("cli-3", 1)]
    assert listed(store) == ["cli-1", "cli-2", "cli-3"]


@pytest.mark.parametrize("tokens", [2**31, 2**63, 10**20, -1, -(2**70)])
def test_no_number_of_tokens_is_too_large(store, tokens):
    turn = TurnRecord(backend="b", input_tokens=tokens, output_tokens=tokens)
    reply = AssistantMessage(seq=0, content="word", timestamp=AT, status="complete", turn=turn)
    for _ in range(3):
        add(store, "cli-1", *[reply])
    eventually(lambda: store.catalogue.status().complete)
    assert len(find(store, "word")) == 3
    (agent,) = store.catalogue.statistics(None, None).agents
    assert 0 <= agent.input_tokens == agent.output_tokens <= 2**53


@pytest.mark.parametrize("number", [10**20, -(10**20), 2**63, 2**63 - 1])
@pytest.mark.parametrize("field", [b'"message_count":', b'"last_seq":'])
def test_a_session_with_impossible_numbers_is_listed_and_blocks_nothing(store, path, field, number):
    store.close()
    before, _, after = path.read_bytes().rpartition(field)
    end = re.search(rb"[,}]", after).start()
    path.write_bytes(before + field + str(number).encode() + after[end:])
    again = FileStore(path.parent.parent)
    again.open()
    try:
        assert listed(again) == ["cli-1"]
        assert again.catalogue.with_key("ai-muse", "k", None) is None
        again.create(header("cli-2"), [keyed("word", "k2")])
        assert again.catalogue.with_key("ai-muse", "k2", None) == ("cli-2", 1)
    finally:
        again.close()


def test_a_session_that_the_system_did_not_give_is_tried_again(tmp_path, monkeypatch, caplog):
    read, failures = entries.read_part, iter([True, False])

    def without_descriptors(*args: Any) -> entries.Part:
        if next(failures, False):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return read(*args)

    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [keyed("parser", "k")])
    store.close()
    (tmp_path / "home" / "index.db").unlink()
    monkeypatch.setattr(entries, "read_part", without_descriptors)
    monkeypatch.setattr(indexer, "_RETRY_SESSIONS", 3600)
    store = FileStore(tmp_path / "home")
    store.open()
    reason = "1 session could not be read, to be tried again soon"
    eventually(lambda: store.catalogue.search("parser", None, None, 0, 10).missing == reason)
    monkeypatch.setattr(store._index._indexer, "_retry_at", 0)
    store._index._state.wake()
    eventually(lambda: find(store, "parser") == [("cli-1", 1)])
    assert listed(store) == ["cli-1"]
    assert store.catalogue.with_key("ai-muse", "k", None) == ("cli-1", 1)
    store.close()
    assert "cli-1 is not in the list" in caplog.text
