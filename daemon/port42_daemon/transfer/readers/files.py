"""Files of other programs: regular files only, read up to a limit. Only `Skipped` and `TooMany` leave."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from port42_daemon.transfer.readers.base import ParsedSession, Skipped

LINE_BYTES = 16 * 1024 * 1024
WHOLE_BYTES = 256 * 1024 * 1024
_ENTRIES = 100_000
_CHUNK = 256 * 1024

Lines = Iterable[tuple[int, bytes | None]]
"""Lines with their numbers; None for one of more than `LINE_BYTES`."""


class TooMany(Exception):
    """There are more than 100,000 files and folders below the path."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The regular file at `path`. Follows no symbolic link and never waits for a FIFO's writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise Skipped(_reason(error)) from None
    with os.fdopen(descriptor, "rb", buffering=_CHUNK) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Skipped("it is not an ordinary file")
        try:
            yield file
        except OSError as error:
            raise Skipped(_reason(error)) from None


def lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number; None for one of more than `LINE_BYTES`, which is not kept in memory."""
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


def json_objects(lines: Lines, session: ParsedSession) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each line's JSON object with its location; other lines become problems of the session."""
    for number, line in lines:
        location = f"line {number}"
        if line is None:
            session.add_problem(location, "it is longer than 16 MiB")
        elif line.strip():
            try:
                value = json_value(line)
            except Skipped as reason:
                session.add_problem(location, str(reason))
                continue
            if isinstance(value, dict):
                yield location, value
            else:
                session.add_problem(location, "it is not an object")


def whole(path: Path, limit: int = WHOLE_BYTES) -> bytes:
    """All of a file. Raises `Skipped` for one of more than `limit` bytes."""
    with opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Skipped(f"it has more than {limit:,} bytes")
    return data


def modified(path: Path) -> float:
    """When the file was last written, in Unix seconds."""
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise Skipped(_reason(error)) from None


def json_value(data: bytes) -> Any:
    """Plain values. Raises `Skipped` for data that is not JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Skipped(f"not JSON: {str(error)[:120]}") from None


def below(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The files under `root` with one of the suffixes, relative and sorted. Links are not followed.

    Raises `TooMany`, and `Skipped` when `root` itself cannot be read.
    """
    names: list[str] = []
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
                        names.append(name)
        except OSError as error:
            if not inside:
                raise Skipped(_reason(error)) from None
    return sorted(names)


def _is_text(name: str) -> bool:
    """Whether an answer can hold a file's name: on Linux it may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name) <= 4096


def _reason(error: OSError) -> str:
    return f"it cannot be read: {os.strerror(error.errno).lower() if error.errno else 'the disk refused'}"
