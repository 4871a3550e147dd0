"""What a repair changes, kept first: `backups/<time>-doctor/`, in the places that it had in the home."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path

from port42_daemon import durable

FOLDER = "backups"


def new_name() -> str:
    """A backup's name, from the time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-doctor"


class Backup:
    """One run's folder, made when something is put there. OSError leaves every method."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self._home = home
        self._folder = home / FOLDER / name

    @property
    def used(self) -> bool:
        """Whether anything is kept here."""
        return self._folder.exists()

    def keep(self, path: Path) -> Path:
        """Give what is at `path` a second name here: put another file in its place, do not change it."""
        beside = self._place(path)
        try:
            os.link(path, beside, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(path, beside, follow_symlinks=False)
        durable.sync_folder(beside.parent)
        return beside

    def take(self, path: Path) -> Path:
        """Move what is at `path` here."""
        beside = self._place(path)
        path.rename(beside)
        durable.sync_folder(beside.parent)
        durable.sync_folder(path.parent)
        return beside

    def close_to_others(self, path: Path) -> None:
        """Take from others what they may do with `path`; what it was stands in `modes.txt`."""
        mode = stat.S_IMODE(path.lstat().st_mode)
        self._note(f"{mode:04o} {path.relative_to(self._home)}")
        path.chmod(mode & 0o700)

    def _note(self, line: str) -> None:
        self._made(self._folder)
        with (self._folder / "modes.txt").open("a", encoding="utf-8", errors="backslashreplace") as notes:
            notes.write(line + "\n")

    def _place(self, path: Path) -> Path:
        """Where `path` is kept: as it is called, with a number where that is taken."""
        wanted = self._folder / path.relative_to(self._home)
        self._made(wanted.parent)
        number = 1
        place = wanted
        while os.path.lexists(place):
            number += 1
            place = wanted.with_name(f"{wanted.name}.{number}")
        return place

    def _made(self, folder: Path) -> None:
        if folder != self._home:
            self._made(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=durable.OWN_FOLDER)
