"""A finding and its repair, and the backup that keeps what a repair changes: `backups/<time>-doctor/`."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from port42_daemon import durable
from port42_daemon.store.index.schema import reason
from port42_protocol.errors import RpcError
from port42_protocol.messages.doctor_and_stats import Finding

BACKUPS = "backups"


def repaired(finding: Finding, backup: Backup | None, repair: Callable[[Backup], str]) -> Finding:
    """The finding, repaired where there is a backup to keep what was; `repair` returns what it did."""
    finding = replace(finding, mendable=True)
    if backup is None:
        return finding
    try:
        done = repair(backup)
    except (OSError, sqlite3.Error, RpcError) as error:
        why = error.message if isinstance(error, RpcError) else reason(error)
        return replace(finding, do=f"it could not be repaired: {why}")
    return replace(finding, what=f"{finding.what}: {done}", do=None, fixed=True)


def moved(finding: Finding, path: Path, backup: Backup | None) -> Finding:
    """The finding about a file that is repaired by moving it into the backup."""
    finding = replace(finding, do="`port42 doctor --fix` moves it into backups")
    return repaired(finding, backup, lambda backup: backup.move(path))


def open_to_others(paths: Sequence[Path], home: Path, backup: Backup | None) -> list[Finding]:
    """One finding about the files and folders among these that still exist and others may look into."""
    present = [path for path in paths if os.path.lexists(path)]
    if not present:
        return []
    first = shown(present[0].relative_to(home)) if present[0] != home else "the home"
    more = f" and {len(present) - 1:,} more" if len(present) > 1 else ""
    what = f"{first}{more} can be looked into by other users"
    do = "`port42 doctor --fix` closes them to others"
    finding = Finding("problem", "permissions", what, do)
    return [repaired(finding, backup, lambda backup: backup.close_to_others(present))]


def foreign(name: str, uid: int) -> Finding:
    what = f"{shown(Path(name))} belongs to another user (uid {uid})"
    return Finding("problem", "permissions", what, "have it given to you: chown")


def shown(path: Path) -> str:
    """A file's name as text that can be sent, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Backup:
    """One run's folder, `backups/<name>`, made when the first file is put there. Methods raise OSError."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self._home = home
        self._folder = home / BACKUPS / name

    def keep(self, path: Path) -> Path:
        """Link `path` here. The caller replaces the file at `path`, and never changes its bytes."""
        kept = self._target(path)
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError:  # a file system without hard links
            import shutil  # 2 ms, for what hardly ever happens

            shutil.copy2(path, kept, follow_symlinks=False)
        durable.sync_folder(kept.parent)
        return kept

    def move(self, path: Path) -> str:
        kept = self._target(path)
        path.rename(kept)
        durable.sync_folder(kept.parent)
        durable.sync_folder(path.parent)
        return f"moved to {shown(kept.relative_to(self._home))}"

    def close_to_others(self, paths: Sequence[Path]) -> str:
        """Remove the rights of group and others; the modes that were are written down in `modes.txt`."""
        self._make(self._folder)
        with (self._folder / "modes.txt").open("a", encoding="utf-8", errors="backslashreplace") as notes:
            for path in paths:
                mode = stat.S_IMODE(path.lstat().st_mode)
                notes.write(f"{mode:04o} {path.relative_to(self._home)}\n")
                notes.flush()
                path.chmod(mode & 0o700)
        return "closed to them now"

    def _target(self, path: Path) -> Path:
        """The path of the copy: the name in the home, with a number if that exists."""
        first = target = self._folder / path.relative_to(self._home)
        self._make(target.parent)
        number = 1
        while os.path.lexists(target):
            number += 1
            target = first.with_name(f"{first.name}.{number}")
        return target

    def _make(self, folder: Path) -> None:
        if folder != self._home:
            self._make(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=durable.OWN_FOLDER)
                durable.sync_name(folder)
