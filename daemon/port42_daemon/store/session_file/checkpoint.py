"""The partial reply of a running turn, kept beside its session in case the daemon is killed.

`cli-1.partial` has a line that says which turn it is. Each line behind it is the next piece of the turn's
text (a JSON string) or a record that may not be in the session yet (an object). It is written without fsync:
the kernel keeps what a killed process has written.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from port42_daemon import durable
from port42_daemon.durable import OWN_FILE, write_all
from port42_daemon.store.interface import UnfinishedTurn
from port42_daemon.store.session_file.document import UNDECODABLE
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Record, convert_record
from port42_protocol.messages.types import prepared

log = logging.getLogger(__name__)

SUFFIX = ".partial"
_MAX_BYTES = 256 * 1024 * 1024
_MAX_HEAD = 64 * 1024
_MAX_LINE = 32 * 1024 * 1024
"""Of a piece or a record: more than the largest record takes. Zero bytes of a sparse file may be longer."""


class Checkpoint:
    """One turn's file, open while the turn runs. Its methods block and raise OSError."""

    def __init__(self, path: Path, unfinished: UnfinishedTurn) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.lstat().st_mode):
                _put_away(path, durable.NotReadable("it is not a file"))
        self._file = os.open(path, flags, OWN_FILE)
        self._size = 0
        try:
            self._write(encode(unfinished) + b"\n")
        except OSError:
            self.end()
            raise

    def add(self, lines: Sequence[str | Record]) -> None:
        """Keep pieces of text and records, which can be given again after an error."""
        self._write(b"".join(encode(line) + b"\n" for line in lines))

    def close(self) -> None:
        """The turn ended and is not recorded."""
        file, self._file = self._file, -1  # a late write must not meet another file with this descriptor
        os.close(file)

    def end(self) -> None:
        """The turn is recorded."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        # Not at the end: a line that a full disk has torn is written over.
        write_all(self._file, line, self._size)
        self._size += len(line)


def checkpoints_in(folder: Path, only: str | None = None) -> list[tuple[UnfinishedTurn, str, list[Record]]]:
    """Each checkpoint in `folder`, or that of session `only`, its text and its records.

    Damaged ones are set aside.
    """
    checkpoints = []
    for path in sorted(folder.glob(f"{only or '*'}{SUFFIX}")):
        try:
            with durable.open_file(path, _MAX_BYTES) as file:
                unfinished = msgspec.json.decode(file.readline(_MAX_HEAD), type=prepared(UnfinishedTurn))
                if unfinished.session_id != path.stem:
                    raise durable.NotReadable(f"it says that it is of {unfinished.session_id[:64]!r}")
                kept = list(_whole(file))
        except (*UNDECODABLE, durable.NotReadable) as error:
            _put_away(path, error)
        except OSError as error:
            log.warning("⚠ %s cannot be read: %s", path.name, error.strerror)
        else:
            text = "".join(line for line in kept if isinstance(line, str))
            checkpoints.append((unfinished, text, [line for line in kept if isinstance(line, Record)]))
    return checkpoints


def _put_away(path: Path, reason: Exception) -> None:
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and not status.st_size:
            path.unlink()  # torn before its first line: there was no reply yet
            return
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.rename(aside)
        log.warning("⚠ %s is no checkpoint: %s; it is %s now", path.name, reason, aside.name)
    except OSError as error:
        log.warning("⚠ %s is no checkpoint, and stays: %s", path.name, error.strerror)


def _whole(file: BinaryIO) -> Iterator[str | Record]:
    """The lines before the first torn one."""
    with contextlib.suppress(*UNDECODABLE):
        while line := file.readline(_MAX_LINE):
            value = msgspec.json.decode(line)
            yield value if isinstance(value, str) else convert_record(value)
