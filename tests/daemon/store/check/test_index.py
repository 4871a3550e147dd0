"""The check of the index: its file, and rows that differ from the sessions' files."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading

import pytest
from peers.session_files import add, header, page, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index import schema
from port42_daemon.store.index.schema import Database


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(home):
    before = os.umask(0o077)  # as the daemon's
    store = FileStore(home)
    store.open()
    for number in range(1, 6):
        store.create(header(f"cli-{number}"), [said("x" * 4000)])
        store.set_last("ai-muse", f"cli-{number}")
    store.catalogue.with_key("ai-muse", "none", None)  # waits until the index is up to date
    assert store.catalogue.status().complete
    yield store
    store.close()
    os.umask(before)


def look(store, backup=None):
    (finding,) = [finding for finding in store.maintenance.check(backup) if finding.about == "index"]
    return finding


def repair(store, home):
    fixed = look(store, "b")
    assert fixed.fixed, fixed
    assert look(store).level == "ok"
    assert len(page(store, limit=100)) == 5
    return fixed


def test_a_sound_index_has_no_problem(store):
    assert look(store).level == "ok"
    assert look(store).what.startswith("5 sessions, as on the disk")


def test_an_index_that_is_gone_is_made_anew(store, home):
    (home / "index.db").unlink()
    assert (look(store).level, look(store).what) == ("problem", "index.db is gone")
    assert repair(store, home).what == "index.db is gone: rebuilt"


def test_overwritten_pages_are_noticed(store, home):
    store.close()
    with (home / "index.db").open("r+b") as file:
        file.seek(4096)  # SQLite's own header stays
        file.write(b"\xa5" * (os.path.getsize(home / "index.db") - 8192))  # noqa: PTH202
    assert Database(home / "index.db").problem() == "is damaged"


@pytest.mark.parametrize("what", ["folder", "link", "junk"])
def test_something_else_in_the_place_of_the_index_is_replaced(store, home, what):
    path = home / "index.db"
    path.unlink()
    if what == "folder":
        path.mkdir()
        (path / "inside").touch()
    elif what == "link":
        path.symlink_to(home / "config.toml")
    else:
        path.write_bytes(b"junk" * 5000)
        for beside in home.glob("index.db-*"):
            beside.unlink()  # else SQLite has every page there
    assert (look(store).level, look(store).mendable) == ("problem", True)
    repair(store, home)
    if what == "folder":
        (moved,) = home.glob("index.db.moved-*")
        assert (moved / "inside").exists()


def test_a_file_that_came_or_went_or_changed_is_noticed_once(store, home):
    folder = home / "sessions"
    (folder / "cli-1.json").unlink()
    data = (folder / "cli-2.json").read_bytes()
    (folder / "cli-2.json").write_bytes(data.replace(b'"content":"x', b'"content":"y'))
    (folder / "cli-3.json").write_bytes(b"junk")  # rightly not in it, once it was looked at
    finding = look(store)
    assert (finding.level, finding.about) == ("notice", "index")
    assert finding.what == "index.db does not know cli-1 and 2 more as the files are now"
    assert look(store, "b").fixed
    assert look(store).level == "ok"
    assert len(page(store, limit=100)) == 3


def test_sessions_written_meanwhile_are_not_reported(store):
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            add(store, "cli-1", *[said("y")])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert {look(store).level for _ in range(30)} == {"ok"}
    finally:
        stop.set()
        writer.join()


def test_a_check_that_takes_too_long_reports_no_damage(store, monkeypatch):
    monkeypatch.setattr(schema, "CHECK_SECONDS", -1.0)
    monkeypatch.setattr(schema, "_CHECK_STEPS", 1)
    assert look(store).level == "ok"


def test_sqlites_integrity_check_passes(store, home):
    """FTS5's own check too, which reads every word."""
    store.close()
    with sqlite3.connect(home / "index.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_no_rebuild_is_advised_for_a_file_that_cannot_be_used(store, home):
    store.close()
    with contextlib.closing(sqlite3.connect(home / "index.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        again = FileStore(home)
        again.open()
        try:
            again.create(header("cli-9"), [said("x")])
            assert len(page(again, limit=100)) == 6
            finding = look(again, "b")
            assert finding.what == "index.db cannot be used: another program has locked it"
            assert (finding.mendable, finding.fixed, "--fix" in finding.do) == (False, False, False)
        finally:
            again.close()
