"""Whatever stands in the home, a store opens, lists, records and closes: nothing waits for it, nothing reads
it to its end, and nothing of it is deleted."""

from __future__ import annotations

import os
import shutil
import stat

import pytest
from peers.session_files import add, contents, header, page, said

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.interface import CheckPosition

NAMES = [
    "agent_sessions.json",
    "index.db",
    "sessions/cli-2.json",
    "sessions/cli-2.partial",
    "sessions/.cli-1.json.new",
    "sessions/notes",
    "trash",
    "trash/cli-2.20260101T000000000Z.ai-muse.json",
    "backups",
]


def plant(path, kind):
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "inside").write_text("mine")
    elif kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 42)
    else:
        path.write_bytes(b"\xff\x00{" * 100)


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "sparse", "junk"])
@pytest.mark.parametrize("name", NAMES)
def test_start_list_append_and_stop_with_anything_in_the_home(tmp_path, name, kind):
    home = tmp_path / "home"
    store = FileStore(home)
    store.open()
    store.create(header("cli-1"), [said("one")])
    store.set_last("ai-muse", "cli-1")
    store.close()
    for path in home.glob("index.db-*") if name == "index.db" else ():
        path.unlink()
    plant(home / name, kind)
    store = FileStore(home)
    store.open()
    try:
        assert dict(store.last_sessions) == {"ai-muse": "cli-1"}
        assert [row.session_id for row in page(store)] == ["cli-1"]
        assert store.unfinished() == []
        assert add(store, "cli-1", said("two")) == 2
        store.create(header("cli-3"), [said("three")])
        store.set_last("ai-muse", "cli-3")
        assert contents(store, "cli-1") == ["one", "two"]
        assert store.trashed(None, None, 9) == []
        findings = [finding.what for finding in store.maintenance.check(None)]
        if name in {"trash", "backups"} and kind != "folder":
            assert any(what.startswith(f"{name} is not a folder") for what in findings)
        store.maintenance.check_sessions(CheckPosition(), 60.0, lambda _: False, None)
        store.maintenance.usage(None)
    finally:
        store.close()
    if kind == "folder":
        assert [path.read_text() for path in home.rglob("inside")] in (["mine"], []), "moved, or made anew"
    if kind == "sparse":
        sizes = [path.stat().st_size for path in home.rglob("*") if stat.S_ISREG(path.lstat().st_mode)]
        assert 1 << 42 in sizes or name in {"index.db", "sessions/.cli-1.json.new"}
