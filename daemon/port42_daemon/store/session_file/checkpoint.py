"""The text of a reply that is still being given, kept beside its session for the case of a kill.

`cli-1.partial` has a line that says which turn it is, then a JSON string a line. It is written without
fsync: what a killed process has written, the kernel still has. The reply itself, once it is whole, goes
into the session durably, and the checkpoint is removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from port42_daemon.durable import OWN_FILE, write_all
from port42_daemon.store.interface import UnfinishedTurn

log = logging.getLogger(__name__)

SUFFIX = ".partial"


class Checkpoint:
    """One turn's file, open for as long as the turn runs. Its methods block; OSError leaves them."""

    def __init__(self, path: Path, unfinished: UnfinishedTurn) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, OWN_FILE)
        self._size = 0
        try:
            self._write(msgspec.json.encode(unfinished) + b"\n")
        except OSError:
            self.end()
            raise

    def add(self, text: str) -> None:
        """Keep one more piece. After an error the same piece can be given again."""
        self._write(msgspec.json.encode(text) + b"\n")

    def close(self) -> None:
        """The turn ended and is not in its session: what was kept is for `left_in` to find."""
        # A write that comes too late must not meet another file under the same number.
        file, self._file = self._file, -1
        os.close(file)

    def end(self) -> None:
        """The turn is in its session: nothing is unfinished any more."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        # At our own offset, not at the end: a line that was torn by a full disk is written over.
        write_all(self._file, line, self._size)
        self._size += len(line)


def left_in(folder: Path, session: str = "*") -> list[tuple[UnfinishedTurn, str]]:
    """Each checkpoint in `folder`, as far as it can be read; one that cannot be is logged and left."""
    found = []
    for path in sorted(folder.glob(session + SUFFIX)):
        try:
            head, *pieces = path.read_bytes().split(b"\n")
        except OSError as error:
            log.warning("⚠ %s cannot be read: %s", path.name, error.strerror)
            continue
        try:
            unfinished = msgspec.json.decode(head, type=UnfinishedTurn)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # A torn first line: nothing had been answered yet.
            path.unlink()
            continue
        found.append((unfinished, "".join(_whole(pieces))))
    return found


def _whole(pieces: list[bytes]) -> Iterator[str]:
    """The pieces up to the first torn one, which is lost."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        for piece in pieces:
            if piece:
                yield msgspec.json.decode(piece, type=str)


def forget(folder: Path, session_id: str) -> None:
    """Remove a checkpoint that has been recorded."""
    (folder / f"{session_id}{SUFFIX}").unlink(missing_ok=True)
