"""The text of a reply that is still being given, kept beside its session for the case of a kill.

`cli-1.partial` has a line that says which turn it is, then a JSON string a line. It is written without
fsync: what a killed process has written, the kernel still has. The reply itself, once it is whole, goes
into the session durably, and the checkpoint is removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from port42_daemon.store.disk import OWN_FILE
from port42_protocol.messages import TurnRecord

SUFFIX = ".partial"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Which turn: the seq of its `question`, and what was answering."""

    session_id: str
    agent: str
    question: int
    turn: TurnRecord


class Checkpoint:
    """One turn's file, open for as long as the turn runs. Its methods block; OSError leaves them."""

    def __init__(self, path: Path, unfinished: Unfinished) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, OWN_FILE)
        os.write(self._file, msgspec.json.encode(unfinished) + b"\n")

    def add(self, text: str) -> None:
        """Keep one more piece."""
        os.write(self._file, msgspec.json.encode(text) + b"\n")

    def end(self) -> None:
        """The turn is in its session: nothing is unfinished any more."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


def left_in(folder: Path) -> list[tuple[Unfinished, str]]:
    """Each checkpoint in `folder`, as far as it can be read."""
    found = []
    for path in sorted(folder.glob("*" + SUFFIX)):
        head, *pieces = path.read_bytes().split(b"\n")
        # A torn first line means that nothing had been answered; a torn last one is a lost piece.
        with contextlib.suppress(msgspec.DecodeError):
            unfinished = msgspec.json.decode(head, type=Unfinished)
            found.append((unfinished, "".join(_whole(pieces))))
    return found


def _whole(pieces: list[bytes]) -> Iterator[str]:
    with contextlib.suppress(msgspec.DecodeError):
        for piece in pieces:
            if piece:
                yield msgspec.json.decode(piece, type=str)


def forget(folder: Path, session_id: str) -> None:
    """Remove a checkpoint that has been recorded."""
    (folder / f"{session_id}{SUFFIX}").unlink(missing_ok=True)
