"""What a start finds in the folder, with and without an index."""

from __future__ import annotations

import os

import pytest
from peers.session_files import contents, header, said

from port42_daemon.store.files import FileStore
from port42_protocol.errors import StorageFailed
from port42_protocol.messages import Message


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
