"""Watches folders for files that change: by inotify, or where that is not possible by repeated scans.

With inotify(7) there are no wake-ups while nothing happens (decision 0035).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from port42_daemon.executors import Threads

_POLL_SECONDS = 0.7
_POLL_FACTOR = 20
"""A scan takes a twentieth of the time at most."""
_PROBLEMS = {
    errno.ENOSPC: "more folders than fs.inotify.max_user_watches allows",
    errno.EMFILE: "more programs watch folders than fs.inotify.max_user_instances allows",
}


class Watcher:
    """Calls `changed` with each file that may have changed, and `scan` for all of them.

    `mode` and `problem` say how, once `run` has begun. Symbolic links in the folders are not followed.
    """

    def __init__(
        self, threads: Threads, changed: Callable[[Path], None], scan: Callable[[], Awaitable[None]]
    ) -> None:
        self._threads = threads
        self._changed = changed
        self._scan = scan
        self.mode: Literal["inotify", "polling", "off"] = "off"
        self.problem: str | None = None

    async def run(self, folders: Mapping[Path, Collection[str]], files: Iterable[Path]) -> None:
        """Watch `folders` with all below, and single `files`, until cancelled. What is missing may come.

        With each folder there are the names of those below it that are passed over.
        """
        self.mode, self.problem = "polling", None
        if sys.platform == "linux":
            try:
                await self._watch(folders, list(files))
            except OSError as error:
                what = os.strerror(error.errno or 0).lower()
                self.problem = _PROBLEMS.get(error.errno or 0, f"inotify: {what}")
        self.mode = "polling"
        while True:
            begun = time.monotonic()
            await self._scan()
            await asyncio.sleep(max(_POLL_SECONDS, _POLL_FACTOR * (time.monotonic() - begun)))

    async def _watch(self, folders: Mapping[Path, Collection[str]], files: list[Path]) -> None:
        from asyncinotify import Mask  # here: only who captures needs it

        with Watches(folders, files) as watches:
            await self._threads.files(watches.add_all)
            self.mode = "inotify"
            await self._scan()
            async for event in watches.inotify:
                path = event.path
                if Mask.Q_OVERFLOW in event.mask:
                    await self._threads.files(watches.add_all)
                    await self._scan()
                elif path is None or event.name is None:
                    continue
                elif any(path == folder or path in folder.parents for folder in folders):
                    await self._threads.files(watches.add_all)
                    await self._scan()
                elif Mask.ISDIR not in event.mask:
                    self._changed(path)
                else:
                    for folder, passed_over in folders.items():
                        if folder in path.parents and path.name not in passed_over:
                            for file in await self._threads.files(watches.add_tree, path, passed_over):
                                self._changed(file)


class Watches:
    """The watches of inotify(7). The methods block and raise OSError."""

    def __init__(self, folders: Mapping[Path, Collection[str]], files: list[Path]) -> None:
        from asyncinotify import Inotify, Mask

        self._folders, self._files = folders, files
        self.inotify = Inotify(cache_size=100)
        changes = Mask.MODIFY | Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.CREATE
        self._top = changes | Mask.ONLYDIR
        self._in_tree = self._top | Mask.DONT_FOLLOW
        self._above = Mask.CREATE | Mask.MOVED_TO | Mask.ONLYDIR | Mask.MASK_ADD
        self._of_file = self._above | Mask.CLOSE_WRITE

    def __enter__(self) -> Watches:
        return self

    def __exit__(self, *_: object) -> None:
        self.inotify.close()

    def add_all(self) -> None:
        # Before the trees: of a folder that is made while these are looked through an event comes.
        for folder in self._folders:
            self._watch_above(folder)
        for folder, passed_over in self._folders.items():
            self.add_tree(folder, passed_over)
        for path in self._files:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self.inotify.add_watch(path.parent, self._of_file)

    def _watch_above(self, folder: Path) -> None:
        """Watch the nearest one above that exists: it sees a folder that comes later, or again."""
        watched = None
        while (nearest := next(path for path in folder.parents if is_folder(path))) != watched:
            # Another may be made, or go, before this one is watched.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self.inotify.add_watch(nearest, self._above)
                watched = nearest

    def add_tree(self, top: Path, passed_over: Collection[str]) -> list[Path]:
        """Watch the folder and all below; returns the files there, which may have come before."""
        for folder in _tree(top, passed_over):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                self.inotify.add_watch(folder, self._top if folder in self._folders else self._in_tree)
        return list(below(top, passed_over))


def is_folder(path: Path, *, unknown: bool = False) -> bool:
    """Whether it is one; `unknown` where a permission keeps that from being seen."""
    try:
        return path.is_dir()
    except PermissionError:
        return unknown


def _ignore(_: OSError) -> None:
    pass


def _tree(
    top: Path, passed_over: Collection[str], onerror: Callable[[OSError], None] = _ignore
) -> Iterator[Path]:
    """The folder `top` and all below it, but those of the names in `passed_over`."""
    try:
        if top.is_dir():
            yield top
    except PermissionError as error:
        onerror(error)
        return
    pending = [top]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False) and entry.name not in passed_over:
                        pending.append(Path(entry.path))
                        yield pending[-1]
        except OSError as error:
            onerror(error)


def below(
    top: Path, passed_over: Collection[str] = (), onerror: Callable[[OSError], None] = _ignore
) -> Iterator[Path]:
    """The files below `top`. Folders of these names, and those that cannot be read, are passed over.

    `onerror` is told of the latter, as that of os.walk.
    """
    for folder in _tree(top, passed_over, onerror):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield Path(entry.path)
