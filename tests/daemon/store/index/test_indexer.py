"""What a start finds in the folder, with and without an index."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from peers.session_files import contents, header, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index.query import parse
from port42_daemon.store.session_file import document
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.records import Message


def test_a_start_among_rubbish(tmp_path):
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
    assert store.counts() == {"ai-muse": 1}
    store.close()
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / ".cli-9.json.new").exists()


def test_a_broken_index_keeps_no_session_from_being_read_or_written(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "agent_sessions.json").write_text("{}")
    (tmp_path / "home" / "index.db").mkdir()
    store = FileStore(tmp_path / "home")
    store.open()
    store.create(header("cli-1"), [said("one")])
    store.append("cli-1", lambda _: [said("two")])
    assert contents(store, "cli-1") == ["one", "two"]
    with pytest.raises(StorageFailed, match="cannot ask the index"):
        store.counts()
    store.close()


def test_a_mapping_is_rebuilt_from_the_files_when_there_is_no_index_either(tmp_path):
    store = FileStore(tmp_path / "home")
    store.open()
    for number, session_id in enumerate(["cli-1", "cli-3", "cli-2"]):
        made = header(session_id)
        at = f"2026-01-01T00:00:0{number}.000Z"
        store.create(made, [Message(seq=0, role="user", content="x", timestamp=at)])
    store.close()
    for left in ("agent_sessions.json", "index.db"):
        (tmp_path / "home" / left).unlink()
    (tmp_path / "home" / "index.db").mkdir()
    again = FileStore(tmp_path / "home")
    again.open()
    assert again.last("ai-muse") == "cli-2"
    again.close()


# --- while the daemon serves ------------------------------------------------------------------------


def eventually(look: Callable[[], bool]) -> None:
    """Wait until it is so; half a minute is longer than any machine takes."""
    ends = time.monotonic() + 30
    while not look():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.01)


def found(store: FileStore, text: str) -> list[tuple[str, int]]:
    hits, *_ = store.search(parse(text), None, 0, 1000)
    return sorted((hit.session.session_id, hit.seq) for hit in hits)


def listed(store: FileStore) -> list[str]:
    return sorted(one.session_id for one in store.page(limit=100))


def test_what_was_written_without_an_index_is_listed_and_found(tmp_path):
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    for number in range(5):
        store.create(header(f"cli-{number}"), [said(f"parser {number}")])
    store.append("cli-0", lambda _: [said(f"lexer {number}") for number in range(600)])
    store.close()
    (home / "index.db").unlink()
    store = FileStore(home)
    store.open()
    assert len(listed(store)) == 5
    eventually(lambda: store.index_status().complete)
    assert found(store, "parser") == [(f"cli-{number}", 1) for number in range(5)]
    assert len(found(store, "lexer")) == 600, "a session of several batches is whole"
    store.close()


def test_a_kill_loses_no_word(tmp_path):
    """The index as it was before, beside files that went on."""
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    store.create(header("cli-1"), [said("one")])
    store.close()
    before = (home / "index.db").read_bytes()
    store = FileStore(home)
    store.open()
    store.append("cli-1", lambda _: [said("two")])
    store.create(header("cli-2"), [said("three")])
    store.close()
    for one in home.glob("index.db*"):
        one.unlink()
    (home / "index.db").write_bytes(before)
    store = FileStore(home)
    store.open()
    eventually(lambda: store.index_status().complete)
    assert [found(store, word) for word in ("one", "two", "three")] == [
        [("cli-1", 1)],
        [("cli-1", 2)],
        [("cli-2", 1)],
    ]
    store.close()


def test_a_file_that_a_hand_edits_adds_or_removes_is_noticed(store, path):
    assert found(store, "two") == [("cli-1", 2)]
    path.write_bytes(path.read_bytes().replace(b'"two"', b'"twenty"'))
    store.page(limit=1)
    eventually(lambda: found(store, "twenty") == [("cli-1", 2)])
    assert found(store, "two") == []
    data, _ = document.compose(header("by-hand"), [document.place(said("added"), 1)])
    (path.parent / "by-hand.json").write_bytes(data)
    eventually(lambda: listed(store) == ["by-hand", "cli-1"])
    eventually(lambda: found(store, "added") == [("by-hand", 1)])
    path.unlink()
    assert listed(store) == ["by-hand"]
    assert found(store, "twenty") == []


def test_a_key_is_known_for_a_session_that_a_hand_put_there(store, path):
    keyed = Message(seq=1, role="user", content="x", timestamp="2026-01-01T00:00:00.000Z", key="k")
    (path.parent / "by-hand.json").write_bytes(document.compose(header("by-hand"), [keyed])[0])
    assert store.with_key("ai-muse", "k", "by-hand") == ("by-hand", 1)
    assert store.with_key("ai-muse", "k", "nowhere") is None


def test_an_index_that_is_damaged_inside_is_made_anew_by_who_meets_it(store, path):
    store.append("cli-1", lambda _: [said(f"word{number} and more") for number in range(500)])
    assert found(store, "word77") == [("cli-1", 80)]
    eventually(lambda: store.index_status().complete)
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

    def mended() -> bool:
        try:
            return found(again, "word77") == [("cli-1", 80)]
        except StorageFailed:
            return False

    eventually(mended)
    again.close()


def test_it_is_made_anew_while_questions_are_answered(store):
    store.rebuild_index()
    assert listed(store) == ["cli-1"]
    eventually(lambda: store.index_status().complete)
    assert found(store, "two") == [("cli-1", 2)]
