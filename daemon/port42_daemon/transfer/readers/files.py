"""Files that somebody else wrote, read with care: only ordinary ones, never more than a limit of them.

`Skipped` is the only exception that leaves what reads a file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from port42_daemon.transfer.readers.base import Skipped

LINE_BYTES = 16 * 1024 * 1024
WHOLE_BYTES = 256 * 1024 * 1024
_ENTRIES = 100_000
_CHUNK = 256 * 1024


class TooMany(Exception):
    """More files and folders below the path than anybody's sessions are."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The ordinary file at `path`. Not through a symbolic link, and never waiting for a FIFO's writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise Skipped(_why(error)) from None
    with os.fdopen(descriptor, "rb", buffering=_CHUNK) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Skipped("it is not an ordinary file")
        try:
            yield file
        except OSError as error:
            raise Skipped(_why(error)) from None


def lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number; None for one of more than `LINE_BYTES`, of which nothing is kept."""
    with opened(path) as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) <= LINE_BYTES:
                yield number, line
                continue
            while not line.endswith(b"\n") and (line := file.readline(_CHUNK)):
                pass
            yield number, None


def whole(path: Path, limit: int = WHOLE_BYTES) -> bytes:
    """All of a file. Raises `Skipped` for one of more than `limit` bytes."""
    with opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Skipped(f"it has more than {limit:,} bytes")
    return data


def modified(path: Path) -> float:
    """When the file was written last, in Unix seconds."""
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise Skipped(_why(error)) from None


def json_value(data: bytes) -> Any:
    """Plain values. Raises `Skipped` for what is not JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Skipped(f"not JSON: {str(error)[:120]}") from None


def below(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The files under `root` of those suffixes, relative and in order. Links are not followed.

    Raises `TooMany`, and `Skipped` when `root` itself cannot be read.
    """
    found: list[str] = []
    seen = 0
    folders = [""]
    while folders:
        inside = folders.pop()
        try:
            with os.scandir(root / inside) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _ENTRIES:
                        raise TooMany
                    name = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    elif entry.name.endswith(suffixes) and _is_text(name):
                        found.append(name)
        except OSError as error:
            if not inside:
                raise Skipped(_why(error)) from None
    return sorted(found)


def _is_text(name: str) -> bool:
    """Whether a file's name can be told to anybody: on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name) <= 4096


def _why(error: OSError) -> str:
    return f"it cannot be read: {os.strerror(error.errno).lower() if error.errno else 'the disk refused'}"
