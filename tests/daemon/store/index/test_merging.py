"""Segments of FTS5 are merged when all is read, and what is new does not wait for that."""

from __future__ import annotations

import threading

from peers.capturing import eventually
from peers.session_files import add, find, header, keyed, listed, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import indexer, writer
from port42_daemon.store.session_file import document


def segments(store: FileStore) -> int:
    """Of what was said: FTS5 looks into each for every word."""
    with store._index._database.read_lock:
        reading = store._index._database.reading
        return int(reading.execute("SELECT count(DISTINCT segid) FROM said_idx").fetchone()[0])


def test_an_index_that_was_made_anew_is_merged(tmp_path, monkeypatch):
    """Also where the daemon stopped in the middle of it."""
    monkeypatch.setattr(indexer, "BATCH_BYTES", 1)
    monkeypatch.setattr(writer, "_MERGED_PAGES", 1)
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    for number in range(30):
        words = " ".join(f"word{number}x{each}" for each in range(500))
        store.create(header(f"cli-{number}"), [said(f"parser {words}")])
    eventually(lambda: store.catalogue.status().complete)
    store.maintenance.rebuild_index()
    eventually(lambda: segments(store) == 1 and store.catalogue.status().complete)
    merging = threading.Event()
    merge = writer.IndexWriter.merge

    def begin(index: writer.IndexWriter, table: str, *, everything: bool) -> bool:
        more = merge(index, table, everything=everything)
        assert more, "there is as much to merge as before"
        merging.set()
        store._index._indexer._closing.wait(30)
        return more

    with monkeypatch.context() as patch:
        patch.setattr(writer.IndexWriter, "merge", begin)
        store.maintenance.rebuild_index()
        assert merging.wait(30)
        store.close()
    store = FileStore(home)
    store.open()
    eventually(lambda: segments(store) == 1)
    assert find(store, "word7x7") == [("cli-7", 1)]
    assert len(find(store, "parser")) == 30
    with store._index._database.write_lock, store._index._database.writing as database:
        database.execute("INSERT INTO said (said, rank) VALUES ('integrity-check', 0)")
    store.close()


def test_what_is_appended_is_merged_with_what_was_before(store):
    for number in range(40):
        add(store, "cli-1", said(f"okapi {number}"))
        assert len(find(store, "okapi")) == number + 1  # each search indexes what was said before it
    eventually(lambda: segments(store) < 16)


def test_what_is_new_is_noticed_though_there_is_much_to_merge(store, path, monkeypatch):
    eventually(lambda: store.catalogue.state == "ready")
    merging = threading.Event()

    def endless(*_, **__) -> bool:
        merging.set()
        return True

    monkeypatch.setattr(writer.IndexWriter, "merge", endless)
    add(store, "cli-1", said("three"))
    assert merging.wait(30)
    data, _ = document.compose(header("by-hand"), [document.numbered(keyed("added", "k"), 1)])
    (path.parent / "by-hand.json").write_bytes(data)
    eventually(lambda: listed(store) == ["by-hand", "cli-1"])
    assert store.catalogue.with_key("ai-muse", "k", None) == ("by-hand", 1)
