"""Watching folders: by inotify, and by repeated scans where the system's limits are met."""

from __future__ import annotations

import asyncio
import errno

import pytest

from port42_daemon.executors import Threads
from port42_daemon.transfer.capture import watching
from port42_daemon.transfer.capture.watching import Watcher, below


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


def test_links_are_not_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a" / "file")
    assert list(below(tmp_path)) == [tmp_path / "a" / "file"]
    assert list(below(tmp_path / "b" / "loop")) == []
    assert list(below(tmp_path, ["a"])) == []
