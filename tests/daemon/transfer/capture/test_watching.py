"""Watching folders: by inotify, and by repeated scans where the system's limits are met."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from pathlib import Path

import pytest

from port42_daemon.executors import Threads
from port42_daemon.transfer.capture import watching
from port42_daemon.transfer.capture.watching import Watcher, below, is_folder


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances"), (errno.ENOSYS, "inotify: ")],
)
def test_without_inotify_folders_are_scanned_again_and_again(tmp_path, monkeypatch, number, word):
    def refuse(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(watching.Watches, "__init__", refuse)
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.01)

    async def run():
        scans, enough = [], asyncio.Event()

        async def scan():
            scans.append(1)
            if len(scans) == 3:
                enough.set()

        threads = Threads()
        watcher = Watcher(threads, lambda _: None, scan)
        task = asyncio.create_task(watcher.run({tmp_path: ()}, []))
        await asyncio.wait_for(enough.wait(), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        threads.close()
        return watcher

    watcher = asyncio.run(run())
    assert watcher.mode == "polling"
    assert word in watcher.problem


def test_files_of_new_folders_are_seen(tmp_path):
    async def run():
        threads, changed, scanned = Threads(), asyncio.Queue(), asyncio.Event()

        async def scan():
            scanned.set()
            for file in below(tmp_path / "top", ["large"]):
                changed.put_nowait(file)

        watcher = Watcher(threads, changed.put_nowait, scan)
        task = asyncio.create_task(watcher.run({tmp_path / "top": ["large"]}, []))
        await asyncio.wait_for(scanned.wait(), 30)
        assert (watcher.mode, watcher.problem) == ("inotify", None)
        seen = set()
        for number in range(20):
            (tmp_path / "top" / f"{number}" / "large" / "deep").mkdir(parents=True)
            (tmp_path / "top" / f"{number}" / "large" / "deep" / "file").write_text("x")
            path = tmp_path / "top" / f"{number}" / "deep" / "file"
            path.parent.mkdir(parents=True)
            path.write_text("x")
            while path not in seen:
                seen.add(await asyncio.wait_for(changed.get(), 30))
        assert not any("large" in path.parts for path in seen)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        threads.close()

    asyncio.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
@pytest.mark.parametrize("place", ["top", "a/top", "a/b/top"])
def test_a_folder_that_is_made_in_the_moment_before_what_is_above_is_watched_is_seen(
    tmp_path, monkeypatch, place
):
    from asyncinotify import Inotify

    top = tmp_path / place
    add_watch = Inotify.add_watch

    def made_before(inotify, *watch):
        top.mkdir(parents=True, exist_ok=True)
        return add_watch(inotify, *watch)

    monkeypatch.setattr(Inotify, "add_watch", made_before)

    async def run():
        threads, changed, scanned = Threads(), asyncio.Queue(), asyncio.Event()

        async def scan():
            scanned.set()

        task = asyncio.create_task(Watcher(threads, changed.put_nowait, scan).run({top: ()}, []))
        await asyncio.wait_for(scanned.wait(), 30)
        (top / "one.jsonl").touch()
        while await asyncio.wait_for(changed.get(), 30) != top / "one.jsonl":
            pass
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        threads.close()

    asyncio.run(run())


def test_a_folder_that_is_a_link_is_watched_like_another(tmp_path):
    async def run():
        changed, threads = asyncio.Queue(), Threads()

        async def scan():
            for file in below(top):
                changed.put_nowait(file)

        async def expect(path):
            while await asyncio.wait_for(changed.get(), 30) != path:
                pass

        top = tmp_path / "tool" / "link"
        for name in ("one", "two"):
            (tmp_path / name / "old").mkdir(parents=True)
            (tmp_path / name / "old" / "file").write_text("x")
        top.parent.mkdir()
        top.symlink_to(tmp_path / "one")
        task = asyncio.create_task(Watcher(threads, changed.put_nowait, scan).run({top: ()}, []))
        await expect(top / "old" / "file")
        (tmp_path / "one" / "new").mkdir()
        (tmp_path / "one" / "new" / "file").write_text("x")
        await expect(top / "new" / "file")
        (tmp_path / "one" / "file").write_text("x")
        await expect(top / "file")
        top.unlink()
        top.symlink_to(tmp_path / "two")
        await expect(top / "old" / "file")
        (tmp_path / "two" / "another").write_text("x")
        await expect(top / "another")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        threads.close()

    asyncio.run(run())


def test_links_are_not_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a" / "file")
    assert list(below(tmp_path)) == [tmp_path / "a" / "file"]
    assert list(below(tmp_path / "b")) == []
    assert list(below(tmp_path / "b" / "loop")) == [tmp_path / "b" / "loop" / "file"]
    assert list(below(tmp_path, ["a"])) == []


def test_a_folder_that_may_not_be_read_is_told_and_the_others_are_read(tmp_path, monkeypatch):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "file").touch()
    closed = tmp_path / "closed"
    closed.mkdir()
    scandir, told = os.scandir, []

    def refuse(path):
        if Path(path) == closed:  # root may read it
            raise PermissionError(errno.EACCES, "permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(below(tmp_path, (), told.append)) == [tmp_path / "open" / "file"]
    assert [error.filename for error in told] == [str(closed)]

    def is_dir(path):
        raise PermissionError(errno.EACCES, "permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert [is_folder(closed), is_folder(closed, unknown=True)] == [False, True]
    assert list(below(closed, (), told.append)) == []
    assert len(told) == 2
