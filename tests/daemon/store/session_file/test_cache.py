"""Session files that were damaged, or changed by other programs."""

from __future__ import annotations

import json
import logging
import os

import pytest
from peers.session_files import add, contents, header, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.session_file import cache, document
from port42_protocol.errors import SessionDamaged, SessionNotFound, StorageFailed


def test_a_damaged_session_is_recovered_and_logged(store, path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("port42_daemon"), "propagate", True)
    path.write_bytes(path.read_bytes()[:-50])
    assert contents(store, "cli-1") == ["one", "two"]
    (original,) = path.parent.glob("*.damaged-*")
    assert original.name in caplog.text
    assert "2 messages kept" in caplog.text
    add(store, "cli-1", said("three"))
    assert [record["content"] for record in json.loads(path.read_bytes())["messages"]] == [
        "one",
        "two",
        "three",
    ]


@pytest.mark.parametrize("data", [b"", b"\x00" * 500, b"junk\n", b'{"a":1}\n', b"[" * 100_000 + b"\n"])
def test_a_file_that_cannot_be_recovered_is_refused_and_not_changed(store, path, data):
    path.write_bytes(data)
    for action in (store.summary, store.ends, lambda session_id: add(store, session_id, said("x"))):
        with pytest.raises(SessionDamaged, match="session cli-1 cannot be read"):
            action("cli-1")
    assert path.read_bytes() == data
    assert store.catalogue.counts() is not None


def test_damage_in_the_middle_is_found_when_it_is_read(store, path):
    add(store, "cli-1", said("three"))
    path.write_bytes(path.read_bytes().replace(b'"two"', b'"two'))
    assert contents(store, "cli-1") == ["one", "three"]
    json.loads(path.read_bytes())


def test_a_seq_of_too_many_digits_is_recovered(store, path):
    """In a file that is long enough for bisection."""
    add(store, "cli-1", *[said("x" * 50_000) for _ in range(6)])
    path.write_bytes(path.read_bytes().replace(b'{"seq":6,', b'{"seq":66666666666666666666,'))
    store.read("cli-1", after_seq=7, limit=10, max_bytes=1 << 20, events=False)


def test_a_file_under_another_sessions_name_is_neither_session(store, path):
    path.rename(path.with_name("cli-2.json"))
    for session_id in ("cli-1", "cli-2"):
        with pytest.raises(SessionNotFound):
            store.summary(session_id)


def test_a_removed_file_is_noticed_at_once(store, path):
    assert store.remembered("cli-1") is not None
    path.unlink()
    assert store.remembered("cli-1") is None
    assert store.where("cli-1") != "sessions"
    with pytest.raises(SessionNotFound):
        add(store, "cli-1", said("x"))


def test_an_edited_file_is_read_again(store, path):
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"one"', b'"ONE!"'))
    assert contents(store, "cli-1") == ["ONE!", "two"]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_a_reformatted_session_is_read_and_its_original_kept(store, path, indent, before):
    pretty = before + json.dumps(json.loads(path.read_bytes()), indent=indent).encode()
    path.write_bytes(pretty)
    assert contents(store, "cli-1") == ["one", "two"]
    add(store, "cli-1", said("x"))
    assert contents(store, "cli-1") == ["one", "two", "x"]
    (original,) = path.parent.glob("cli-1.json.damaged-*")
    assert original.read_bytes() == pretty


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "dangling"])
def test_what_is_not_a_file_is_an_error_that_names_no_path(store, path, kind, tmp_path):
    path.rename(tmp_path / "elsewhere.json")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere.json")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    for action in (store.summary, lambda session_id: add(store, session_id, said("x"))):
        with pytest.raises((SessionDamaged, StorageFailed)) as refused:
            action("cli-1")
        assert str(tmp_path) not in refused.value.message
    store.catalogue.counts()


def test_more_sessions_than_are_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_MAX_CACHED", 10)
    store = FileStore(tmp_path / "home")
    store.open()
    for number in range(30):
        store.create(header(f"cli-{number}"), [said(str(number))])
    assert store.remembered("cli-29") is not None
    assert store.remembered("cli-0") is None
    assert contents(store, "cli-0") == ["0"]
    add(store, "cli-1", said("more"))
    assert contents(store, "cli-1") == ["1", "more"]
    assert store.catalogue.counts() == {"ai-muse": 30}
    store.close()


@pytest.mark.parametrize("hole", ["behind its end", "between its records", "behind its header"])
def test_a_hole_of_terabytes_is_not_read(store, path, hole):
    data = path.read_bytes()
    cut = {"behind its end": len(data), "behind its header": data.index(b"\n") + 1}.get(hole, 0)
    cut = cut or data.index(b'{"seq":2')
    with path.open("wb") as file:
        file.write(data[:cut])
        file.seek(1 << 42)
        file.write(data[cut:])
        file.truncate(max((1 << 42) + len(data) - cut, 1 << 42))
    assert contents(store, "cli-1") == ["one", "two"]
    assert add(store, "cli-1", said("three")) == 3
    assert path.stat().st_size < 1 << 20
    (original,) = path.parent.glob("cli-1.json.damaged-*")
    assert original.stat().st_size >= 1 << 42


def test_a_record_of_many_megabytes_is_read(store):
    long = "x" * 20_000_000
    add(store, "cli-1", said(long))
    assert contents(store, "cli-1") == ["one", "two"]  # a page has its limit
    page = store.read("cli-1", after_seq=2, limit=1, max_bytes=1, events=False)
    assert [record.content for record in page.records] == [long]


@pytest.mark.parametrize("line", ["header", "record"])
def test_a_line_over_the_limit_is_damage_and_changes_nothing(store, path, monkeypatch, line):
    header_limit, line_limit = (100, 10**9) if line == "header" else (10**6, 60_000)
    add(store, "cli-1", said("x" * 300_000), said("three"))
    data = path.read_bytes()
    monkeypatch.setattr(document, "_HEADER_LIMIT", header_limit)
    monkeypatch.setattr(document, "_LINE_LIMIT", line_limit)
    os.utime(path)
    for _ in range(2):
        with pytest.raises(SessionDamaged, match="session cli-1 cannot be read"):
            contents(store, "cli-1")
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == ["cli-1.json"]
