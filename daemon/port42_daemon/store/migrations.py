"""The home's format, in ``format.json``, and the numbered steps that bring an earlier one up to date.

A step is backed up before it runs and recorded after; killed in between, it is run again at the next start.
The caller holds the home's lock, and opens the store afterwards.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from port42_daemon import durable
from port42_daemon.store.session_file.document import UNDECODABLE
from port42_daemon.store.session_file.errors import storage
from port42_protocol import __version__
from port42_protocol.encoding import encode
from port42_protocol.errors import StorageFailed

log = logging.getLogger(__name__)

FIRST = 1
"""The format of a home without ``format.json``: 0.1.0 wrote none."""


class Migration(msgspec.Struct, frozen=True):
    """The step from format `number` - 1 to `number`.

    `changes`: the files below the home that `run` changes or removes; they are backed up first. `run` raises
    OSError, and is repeatable after a kill: it changes files by `durable.replace`, and only once.
    """

    number: int
    title: str
    changes: Callable[[Path], Iterable[Path]]
    run: Callable[[Path], None]

    @property
    def name(self) -> str:
        return f"{self.number:04d}-{self.title}"


MIGRATIONS: tuple[Migration, ...] = ()
"""In order, the first numbered 2. None yet."""


class _FormatFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The contents of ``format.json``: `version` is the daemon's that wrote it, `done` and `under_way` are
    names of migrations; that under way is backed up and may have begun."""

    format: int
    version: str
    done: list[str] = []
    under_way: str | None = None


def bring_up_to_date(home: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Run what `home` has not had yet. Raises `StorageFailed`: a newer or damaged format, or the disk."""
    newest = migrations[-1].number if migrations else FIRST
    names = [migration.name for migration in migrations]
    with storage("bring the home to this version's format"):
        stamp = _read(home)
        if stamp is None:
            kept = (home / "sessions").exists() or (home / "agent_sessions.json").exists()
            stamp = _FormatFile(
                format=FIRST if kept else newest, version=__version__, done=[] if kept else names
            )
            try:
                _write(home, stamp)
            except OSError as error:
                if migrations:
                    raise
                # It says what its absence says: sessions can be read on a full disk, too.
                log.warning("⚠ format.json could not be written: %s", error)
            durable.sync_name(home)  # the command that started us may have made it
        if stamp.format > newest or not {*stamp.done, stamp.under_way} <= {*names, None}:
            raise StorageFailed(
                f"this home has format {stamp.format}, written by port42d {stamp.version}"
                + (f", which was about to run {stamp.under_way}" if stamp.under_way else "")
                + f"; port42d {__version__} knows formats up to {newest}: update port42"
            )
        for migration in migrations:
            if migration.name not in stamp.done:
                stamp = _migrate(home, migration, stamp)


def _migrate(home: Path, migration: Migration, stamp: _FormatFile) -> _FormatFile:
    if stamp.under_way != migration.name:
        backup = _back_up(home, migration)
        stamp = msgspec.structs.replace(stamp, version=__version__, under_way=migration.name)
        _write(home, stamp)
        log.info("🧳 the home is brought to format %d; as it was: backups/%s", migration.number, backup)
    migration.run(home)
    done = _FormatFile(format=migration.number, version=__version__, done=[*stamp.done, migration.name])
    _write(home, done)
    return done


def _back_up(home: Path, migration: Migration) -> str:
    """Copy what `migration` changes to a folder in ``backups``; returns its name.

    Not hard links: a session grows in place, and its backup must not.
    """
    backups = home / "backups"
    durable.own_folder(backups)
    for unfinished in backups.glob(".*.part"):  # after a kill; nothing had been changed yet
        shutil.rmtree(unfinished)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-before-{migration.name}"
    part = backups / f".{name}.part"
    durable.own_folder(part)
    folders = {part}
    for path in migration.changes(home):
        copy = part / path.relative_to(home)
        durable.own_folder(copy.parent)
        durable.copy(path, copy)
        folders.update(parent for parent in copy.parents if parent.is_relative_to(part))
    for folder in folders:
        durable.sync_folder(folder)
    part.rename(backups / name)
    durable.sync_folder(backups)
    durable.sync_folder(home)
    return name


def _read(home: Path) -> _FormatFile | None:
    try:
        return msgspec.json.decode(durable.read_file(home / "format.json", 64 * 1024), type=_FormatFile)
    except FileNotFoundError:
        return None
    except (*UNDECODABLE, durable.NotReadable):
        raise StorageFailed(
            'format.json is damaged: expected {"format": 1, "version": "…"}; nothing was changed. Put the'
            " right one back, or remove it if no newer port42d ever ran here"
        ) from None


def _write(home: Path, stamp: _FormatFile) -> None:
    durable.replace(home / "format.json", encode(stamp) + b"\n")
