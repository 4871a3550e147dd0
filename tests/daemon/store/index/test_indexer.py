"""The indexer: a start with and without an index, files that change, and words that are erased."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.capturing import eventually
from peers.session_files import AT, add, find, header, keyed, listed, page, said, trash

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import entries, indexer
from port42_daemon.store.index.state import Phase
from port42_daemon.store.session_file import document
from port42_daemon.store.session_file.cache import OpenSessions
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.records import Record, ToolRecord, UserMessage


def test_a_start_with_files_that_are_no_sessions(tmp_path):
    folder = tmp_path / "home" / "sessions"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "empty.json").touch()
    (folder / "junk.json").write_bytes(b"\xff" * 100)
    (folder / "a b.json").write_text("{}")
    (folder / "deep.json").write_bytes(b'{"format":1,"metadata":' + b"[" * 100_000 + b"\n")
    (folder / "sub.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / ".cli-9.json.new").write_text("half")
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"))
    assert store.catalogue.counts() == {"ai-muse": 1}
    store.close()
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / ".cli-9.json.new").exists()


def test_files_may_go_during_a_scan(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "home")
    store.open()
    for number in range(5):
        store.create(header(f"cli-{number}"), [said("one")])
    store.close()
    (tmp_path / "home" / "index.db").unlink()
    folder = tmp_path / "home" / "sessions"
    scan = OpenSessions.scan

    def scan_while_files_go(sessions):
        for number, entry in enumerate(scan(sessions)):
            (folder / f"cli-{4 - number}.json").unlink(missing_ok=True)
            yield entry

    monkeypatch.setattr(OpenSessions, "scan", scan_while_files_go)
    store = FileStore(tmp_path / "home")
    store.open()
    assert store.catalogue.with_key("ai-muse", "k", None) is None
    eventually(lambda: listed(store) == sorted(path.stem for path in folder.iterdir()))
    store.close()


def test_a_mapping_is_rebuilt_from_the_files_when_there_is_no_index_either(tmp_path):
    store = FileStore(tmp_path / "home")
    store.open()
    for number, session_id in enumerate(["cli-1", "cli-3", "cli-2"]):
        made = header(session_id)
        at = f"2026-01-01T00:00:0{number}.000Z"
        store.create(made, [UserMessage(seq=0, content="x", timestamp=at)])
    store.close()
    for left in ("agent_sessions.json", "index.db"):
        (tmp_path / "home" / left).unlink(missing_ok=True)
    (tmp_path / "home" / "index.db").mkdir()
    again = FileStore(tmp_path / "home")
    again.open()
    assert again.last_sessions["ai-muse"] == "cli-2"
    again.close()


def test_a_store_opens_where_last_sessions_cannot_be_rebuilt_yet(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [UserMessage(seq=0, content="x", timestamp=AT)])
    store.close()
    (tmp_path / "home" / "agent_sessions.json").unlink(missing_ok=True)

    def refuse(_):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(OpenSessions, "scan", refuse)
        again = FileStore(tmp_path / "home")
        again.open()
        assert not again.last_sessions_complete
        with pytest.raises(StorageFailed, match="cannot be rebuilt yet"):
            again.complete_last_sessions()
    again._index._indexer.rebuild()
    eventually(lambda: again._index._state.phase is Phase.READY)
    again.complete_last_sessions()
    assert again.last_sessions["ai-muse"] == "cli-1"
    again.close()


# --- while the daemon serves ------------------------------------------------------------------------


def test_what_was_written_without_an_index_is_listed_and_found(tmp_path):
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    for number in range(5):
        store.create(header(f"cli-{number}"), [said(f"parser {number}")])
    add(store, "cli-0", *[said(f"lexer {number}") for number in range(600)])
    store.close()
    (home / "index.db").unlink()
    store = FileStore(home)
    store.open()
    assert len(listed(store)) == 5
    eventually(lambda: store.catalogue.status().complete)
    assert find(store, "parser") == [(f"cli-{number}", 1) for number in range(5)]
    assert len(find(store, "lexer")) == 600, "a session of several batches is whole"
    store.close()


def test_a_search_right_after_a_start_waits_for_a_few_messages(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [said("parser")])
    store.close()
    (tmp_path / "home" / "index.db").unlink()
    store = FileStore(tmp_path / "home")
    state, waited = store._index._state, threading.Event()
    wait, read = state.wait_caught_up, entries.read_part

    def waiting(timeout: float | None = None) -> bool:
        waited.set()
        return wait(timeout)

    def read_when_waited_for(*args: Any) -> entries.Part:
        assert waited.wait(10), "the search did not wait"
        return read(*args)

    monkeypatch.setattr(state, "wait_caught_up", waiting)
    monkeypatch.setattr(entries, "read_part", read_when_waited_for)
    monkeypatch.setattr(indexer, "_PATIENCE", 10)
    store.open()
    hits, *_, incomplete, _ = store.catalogue.search("parser", None, None, 0, 10)
    assert incomplete is None
    assert [hit.session.session_id for hit in hits] == ["cli-1"]
    store.close()


def test_the_first_append_after_a_start_does_not_have_the_session_read_again(tmp_path, monkeypatch):
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [said("one"), said("two")])
    assert find(store, "two") == [("cli-1", 2)]
    store.close()
    store = FileStore(tmp_path / "home")
    store.open()
    eventually(lambda: store.catalogue.status().complete)
    read: list[tuple[int, int]] = []
    read_part = entries.read_part

    def noted(fed_seq: int, after_seq: int, *opened: Any) -> entries.Part:
        read.append((fed_seq, after_seq))
        return read_part(fed_seq, after_seq, *opened)

    monkeypatch.setattr(entries, "read_part", noted)
    add(store, "cli-1", keyed("three", "k3"))
    assert find(store, "three") == [("cli-1", 3)]
    assert store.catalogue.with_key("ai-muse", "k3", None) == ("cli-1", 3)
    assert read == [(2, 2)]
    store.close()


def test_a_kill_loses_no_text(tmp_path):
    """The index is older than the files beside it."""
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    store.create(header("cli-1"), [said("one")])
    store.close()
    before = (home / "index.db").read_bytes()
    store = FileStore(home)
    store.open()
    add(store, "cli-1", *[said("two")])
    store.create(header("cli-2"), [said("three")])
    store.close()
    for path in home.glob("index.db*"):
        path.unlink()
    (home / "index.db").write_bytes(before)
    store = FileStore(home)
    store.open()
    eventually(lambda: store.catalogue.status().complete)
    assert [find(store, word) for word in ("one", "two", "three")] == [
        [("cli-1", 1)],
        [("cli-1", 2)],
        [("cli-2", 1)],
    ]
    store.close()


def test_a_file_that_is_edited_added_or_removed_is_noticed(store, path):
    assert find(store, "two") == [("cli-1", 2)]
    path.write_bytes(path.read_bytes().replace(b'"two"', b'"twenty"'))
    page(store, limit=1)
    eventually(lambda: find(store, "twenty") == [("cli-1", 2)])
    assert find(store, "two") == []
    data, _ = document.compose(header("by-hand"), [document.numbered(said("added"), 1)])
    (path.parent / "by-hand.json").write_bytes(data)
    eventually(lambda: listed(store) == ["by-hand", "cli-1"])
    eventually(lambda: find(store, "added") == [("by-hand", 1)])
    path.unlink()
    assert listed(store) == ["by-hand"]
    assert find(store, "twenty") == []


def test_the_key_of_an_added_file_is_known(store, path):
    keyed = UserMessage(seq=1, content="x", timestamp=AT, key="k")
    (path.parent / "by-hand.json").write_bytes(document.compose(header("by-hand"), [keyed])[0])
    assert store.catalogue.with_key("ai-muse", "k", "by-hand") == ("by-hand", 1)
    assert store.catalogue.with_key("ai-muse", "k", "nowhere") is None


def test_a_rebuild_runs_while_queries_are_answered(store):
    store.maintenance.rebuild_index()
    assert listed(store) == ["cli-1"]
    eventually(lambda: store.catalogue.status().complete)
    assert find(store, "two") == [("cli-1", 2)]


def test_a_list_reads_no_file_that_is_as_it_was(store, path, monkeypatch):
    assert listed(store) == ["cli-1"]
    monkeypatch.setattr(OpenSessions, "passing", None)
    assert listed(store) == ["cli-1"]


def test_a_file_of_the_far_future_is_listed(store, path):
    os.utime(path, ns=(2**62, 2**64))
    assert listed(store) == ["cli-1"]


def tool(content: str) -> Record:
    return ToolRecord(
        seq=0,
        timestamp=AT,
        id="t",
        name="Bash",
        title="ls",
        state="done",
        output=content,
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "rewrite", "trash", "reopen", "search", "rebuild"]),
        st.sampled_from(["cli-1", "cli-2"]),
        st.integers(1, 40),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(steps=STEPS)
def test_words_of_files_are_found_whatever_happens_to_them(  # noqa: C901  # a branch for each step
    tmp_path_factory, steps
):
    home = tmp_path_factory.mktemp("h") / "home"
    store = FileStore(home)
    store.open()
    words: dict[str, list[str]] = {}
    gone: list[str] = []
    counter = itertools.count()
    try:
        for step, session_id, number in steps:
            fresh = [f"word{next(counter)}" for _ in range(number)]
            records = [said(word) if index % 3 else tool(word) for index, word in enumerate(fresh)]
            if step == "append" and session_id in words:
                add(store, session_id, *records)
                words[session_id] += fresh
            elif step == "append" and store.where(session_id) is None:
                store.create(header(session_id), records)
                words[session_id] = fresh
            elif step == "rewrite" and session_id in words:
                numbered = [document.numbered(record, seq) for seq, record in enumerate(records, 1)]
                data, _ = document.compose(header(session_id), numbered)
                (home / "written").write_bytes(data)  # aside: the indexer may be reading
                (home / "written").replace(home / "sessions" / f"{session_id}.json")
                gone += words[session_id]
                words[session_id] = fresh
                page(store)  # which notices the change
            elif step == "trash" and session_id in words:
                trash(store, session_id)
                gone += words.pop(session_id)
            elif step == "search":
                find(store, "word0")
            elif step == "rebuild":
                store.maintenance.rebuild_index()
            elif step == "reopen":
                store.close()
                store = FileStore(home)
                store.open()
        eventually(lambda: store.catalogue.status().complete)
        for session_id, own in words.items():
            for seq, word in enumerate(own, 1):
                assert find(store, word) == [(session_id, seq)]
        assert [word for word in gone if find(store, word)] == []
        total = sum(map(len, words.values()))
        assert len(find(store, "role:tool")) + len(find(store, "role:user")) == total
    finally:
        store.close()
    with contextlib.closing(sqlite3.connect(home / "index.db")) as database:
        for table in ("said", "done"):
            database.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 0)")
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_memory_is_given_back_when_much_was_read_and_only_then(tmp_path, monkeypatch):
    given_back = threading.Event()
    store = FileStore(tmp_path / "home", given_back.set)
    store.open()
    store.create(header("cli-1"), [said("a few words")])
    assert find(store, "few") == [("cli-1", 1)]
    assert not given_back.is_set()
    monkeypatch.setattr(indexer, "BATCH_BYTES", 1)
    store.create_all([(header(f"cli-{number}"), [said("words")]) for number in range(2, 20)])
    assert given_back.wait(30)
    store.close()


def test_words_of_what_was_deleted_are_overwritten_after_a_stop_that_came_before(tmp_path, monkeypatch):
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    store.create(header("cli-1"), [said("zebrafish")])
    store.create(header("cli-2"), [said("parser")])
    assert find(store, "zebrafish") == [("cli-1", 1)]
    monkeypatch.setattr(indexer, "_DELAY", 60.0)
    trash(store, "cli-1")
    store.purge(store.trashed(None, None, 10))
    store.close()
    assert has_word(home, b"zebrafish")
    monkeypatch.undo()
    store = FileStore(home)
    store.open()
    assert find(store, "parser") == [("cli-2", 1)]
    eventually(lambda: not store._index._writer.erasure_is_due())
    assert not has_word(home, b"zebrafish")
    store.close()
    assert not has_word(home, b"zebrafish")


def has_word(home: Path, word: bytes) -> bool:
    return any(word in path.read_bytes() for path in home.glob("index.db*"))
