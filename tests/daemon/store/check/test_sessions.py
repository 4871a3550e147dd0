"""The files of sessions and trash: each kind of damage is found once, repaired, and then gone."""

from __future__ import annotations

import json
import os
import threading

import pytest
from peers.session_files import add, contents, header, page, said

from port42_daemon.store.check import sessions
from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import CheckPosition
from port42_daemon.store.session_file.document import compose, numbered


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(home):
    store = FileStore(home)
    store.open()
    for number in range(1, 4):
        store.create(header(f"cli-{number}"), [said("a"), said("b"), said("c")])
    yield store
    store.close()


def check_all(store, backup=None, *, seconds=60.0, in_turn=lambda _: False):
    """Findings and partials of all calls, the files examined, and how many calls these were."""
    findings, partial, examined, at, calls = [], [], 0, CheckPosition(), 0
    while at is not None:
        result = store.maintenance.check_sessions(at, seconds, in_turn, backup)
        findings += result.findings
        partial += result.partial
        examined += result.examined
        at, calls = result.position, calls + 1
    return findings, partial, examined, calls


def reported(store, backup=None):
    return [finding.what for finding in check_all(store, backup)[0]]


def edit(path, before, after):
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))


def test_whole_sessions_have_no_findings(store):
    assert check_all(store) == ([], [], 3, 1)


DAMAGE = {
    "a line": (b'"content":"b"', b'"content":b', "line 3 is not a record", ["a", "c"]),
    "the footer": (b'"message_count":3', b'"message_count":1', "its footer does not say", ["a", "b", "c"]),
    "the end": (b'],"title":"a"', b"", "it does not end in a footer", ["a", "b", "c"]),
    "a seq": (b'{"seq":2,', b'{"seq":7,', "behind 7", ["a", "c"]),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_session_is_recovered_and_its_original_kept(store, home, kind):
    before, after, why, left = DAMAGE[kind]
    path = home / "sessions" / "cli-2.json"
    edit(path, before, after)
    damaged = path.read_bytes()
    (finding,) = check_all(store)[0]
    assert (finding.level, finding.about, finding.mendable, finding.fixed) == (
        "problem",
        "sessions",
        True,
        False,
    )
    assert finding.what.startswith("sessions/cli-2.json is damaged: ")
    assert why in finding.what
    assert path.read_bytes() == damaged  # looking changes nothing
    (fixed,) = check_all(store, "b")[0]
    assert fixed.fixed
    assert f"recovered, {len(left)} messages kept" in fixed.what
    assert check_all(store)[0] == []
    assert contents(store, "cli-2") == left
    assert json.loads(path.read_bytes())["message_count"] == len(left)
    assert (home / "backups" / "b" / "sessions" / "cli-2.json").read_bytes() == damaged
    assert page(store, limit=10)[0].message_count >= len(left)  # the index heard of it


def test_stray_files_are_moved_and_a_newer_versions_session_is_left(store, home):
    folder = home / "sessions"
    (folder / "notes.txt").write_text("mine")
    (folder / "my notes.json").write_text("{}")
    (folder / "dir").mkdir()
    (folder / "dir.json").mkdir()
    (folder / "copy.json").write_bytes((folder / "cli-1.json").read_bytes())
    (folder / "cli-1.json.damaged-20260101").write_text("old")
    (folder / os.fsdecode(b"caf\xe9")).write_text("latin")
    os.mkfifo(folder / "pipe.json")
    (folder / "link.json").symlink_to(folder / "cli-1.json")
    newer = b'{"format":2,"id":"new-1","messages":[\n]}\n'
    (folder / "new-1.json").write_bytes(newer)
    for path in folder.iterdir():
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    before = sorted(os.listdir(folder))  # noqa: PTH208
    findings = check_all(store)[0]
    assert sorted(os.listdir(folder)) == before  # noqa: PTH208
    assert len(findings) == 10
    assert {finding.level for finding in findings if finding.what.endswith("is not a file of port42's")} == {
        "notice"
    }
    assert len(check_all(store, "b")[0]) == 10
    copy, left = check_all(store)[0]
    assert copy.what == "sessions/copy.json is session cli-1 under another name, and in no list"
    assert not copy.mendable
    assert (left.what, left.do) == (
        "sessions/new-1.json is of a newer version: its format is 2, this version reads 1",
        "update port42",
    )
    assert not left.mendable
    assert (folder / "new-1.json").read_bytes() == newer
    kept = home / "backups" / "b" / "sessions"
    assert len(list(kept.iterdir())) == 8
    assert (kept / "notes.txt").read_text() == "mine"
    assert contents(store, "cli-1") == ["a", "b", "c"]


def test_files_that_others_may_read_are_closed_to_them(store, home):
    for number in (1, 3):
        (home / "sessions" / f"cli-{number}.json").chmod(0o644)
    assert reported(store) == ["sessions/cli-1.json and 1 more can be looked into by other users"]
    assert reported(store, "b")[0].endswith("closed to them now")
    assert reported(store) == []
    assert oct((home / "sessions" / "cli-3.json").stat().st_mode & 0o777) == "0o600"


def test_the_trash_is_checked_too(store, home):
    trash = home / "trash"
    trash.mkdir(mode=0o700)
    data = compose(header("old-1"), [numbered(said("a"), 1)])[0].replace(
        b'"message_count":1', b'"message_count":2'
    )
    name = "old-1.20260101T000000000Z.ai-muse.json"
    for path, content in ((trash / name, data), (trash / "x.txt", b"x")):
        path.write_bytes(content)
        path.chmod(0o600)
    assert reported(store) == [
        f"trash/{name} is damaged: its footer does not say what its lines do",
        "trash/x.txt is not a file of port42's",
    ]
    check_all(store, "b")
    assert check_all(store) == ([], [], 4, 1)


def test_a_partial_is_named_unless_a_turn_writes_it(store, home):
    (home / "sessions" / "cli-1.partial").touch(mode=0o600)
    assert check_all(store)[1] == ["cli-1"]
    assert check_all(store, in_turn=lambda session_id: session_id == "cli-1")[1] == []
    assert "cut off" in store.maintenance.check_partial("cli-1", None).what
    assert store.maintenance.check_partial("cli-2", None) is None
    kept = store.maintenance.check_partial("cli-1", "b")
    assert kept.fixed
    assert (home / "backups" / "b" / "sessions" / "cli-1.partial").exists()


def test_a_recent_temporary_file_is_left_alone(store, home):
    aside = home / "sessions" / ".cli-9.json.new"
    aside.touch(mode=0o600)
    assert check_all(store)[0] == []
    os.utime(aside, (1, 1))
    assert reported(store) == ["sessions/.cli-9.json.new is not a file of port42's"]


def test_each_file_is_checked_once_over_several_calls(store, home):
    """Without any time, each call checks one file; names that begin alike stay together."""
    for name in ("x" * 120 + "1", "x" * 120 + "2", "notes", os.fsdecode(b"\xff\xfe")):
        (home / "sessions" / name).touch(mode=0o600)
    findings, _, examined, calls = check_all(store, seconds=0.0)
    assert (examined, calls) == (7, 6)
    assert findings == check_all(store)[0]
    assert len(findings) == 4
    first = store.maintenance.check_sessions(CheckPosition(), 0.0, lambda _: False, None)
    assert (first.examined, first.remaining) == (1, 6)


def test_a_call_ends_after_many_findings(store, home, monkeypatch):
    monkeypatch.setattr(sessions, "_MAX_FINDINGS", 2)
    for number in range(5):
        (home / "sessions" / f"note-{number}").touch(mode=0o600)
    findings, _, examined, calls = check_all(store)
    assert (len(findings), examined) == (5, 8)
    assert calls == 3


def test_sessions_written_meanwhile_are_not_reported(store):
    """The check reads without locks while two threads append."""
    stop = threading.Event()

    def write(session_id: str) -> None:
        while not stop.is_set():
            add(store, session_id, *[said("x" * 3000), said("y")])

    writers = [threading.Thread(target=write, args=(f"cli-{number}",)) for number in (1, 2)]
    for thread in writers:
        thread.start()
    try:
        for _ in range(40):
            assert check_all(store)[0] == []
    finally:
        stop.set()
        for thread in writers:
            thread.join()
