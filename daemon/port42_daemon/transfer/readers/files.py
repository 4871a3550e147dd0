"""Files of other programs: regular files only, read up to a limit. Raises `Skipped` only."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec

from port42_daemon.databases import zstandard
from port42_daemon.transfer.readers.base import Skipped
from port42_protocol.codec import repaired

BOM = b"\xef\xbb\xbf"
LINE_BYTES = 16 * 1024 * 1024
FILE_BYTES = 1024 * 1024 * 1024
"""Maximum size of a file: a sparse file can have terabytes."""
CHUNK = 256 * 1024
BLOCK = 64 * 1024
"""Bytes that are read at once. Blocks from 128 KiB on are mapped each time, which takes a tenth of a reader's
time (`process/memory.py`)."""
ZSTD = ".zst"
_WINDOW = 24
"""Binary logarithm of the bytes that a compressed file may refer back: so much memory is used."""
NOT_UTF8 = "its path is not UTF-8: it can be read under another name"
_ENTRIES = 100_000
_PARTS = ("message", "part", "session_diff", "todo")
_VALUES = 1_000_000
"""Maximum number of JSON values in one line: each takes up to 100 bytes of memory."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_OBJECT = re.compile(r'\{"')
_TRIED, _TORN = 6, 1024 * 1024
"""Where a value may begin behind one that was torn, from either side, and how long such a line may be."""


_FAULTS = frozenset(
    (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
        *(errno.EACCES, errno.EPERM),  # a permission that is given later changes neither size nor time
    )
)


class DiskFault(Skipped):
    """The machine did not let it be read, which is no fault of what is in it: it may work later."""


@contextmanager
def opened(path: Path, limit: int = FILE_BYTES) -> Iterator[BinaryIO]:
    """The regular file at `path`, of at most `limit` bytes. Follows no links, opens no devices or FIFOs."""
    try:
        _require_regular(path.lstat(), limit)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb", buffering=BLOCK) as file:
            _require_regular(os.fstat(descriptor), limit)
            yield file
    except OSError as error:
        raise _skipped(error) from None


def _require_regular(status: os.stat_result, limit: int) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Skipped("it is a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        raise Skipped("it is not an ordinary file")
    require_size(status.st_size, limit)


def require_size(size: int, limit: int) -> None:
    if size > limit:
        raise Skipped(f"it has more than {limit:,} bytes")


def lines(path: Path, limit: int | None = None) -> Iterator[bytes | None]:
    """Each line; None for one of more than `limit` bytes (default: `LINE_BYTES`)."""
    with opened(path) as file, unpacked(file) if path.suffix == ZSTD else nullcontext(file) as text:
        yield from (line for _, line, _ in lines_of(text, limit or LINE_BYTES))


@contextmanager
def unpacked(file: BinaryIO) -> Iterator[io.BufferedIOBase]:
    """What a file has that is compressed with Zstandard. Raises `Skipped`."""
    zstd = zstandard()
    try:
        with zstd.ZstdFile(file, options={zstd.DecompressionParameter.window_log_max: _WINDOW}) as reader:
            yield reader
    except (zstd.ZstdError, EOFError) as error:
        raise Skipped(f"it cannot be decompressed: {str(error)[:120]}") from None


def stem(path: Path) -> str:
    """The file's name without its suffixes."""
    return Path(path.name.removesuffix(ZSTD)).stem


def whole_lines(path: Path, offset: int) -> Iterator[tuple[int, bytes | None]]:
    """As `lines` from `offset` on, each with the offset behind it, but for a last one without its end."""
    with opened(path) as file:
        file.seek(offset)
        yield from ((end, line) for end, line, ended in lines_of(file, LINE_BYTES, offset) if ended)


def lines_of(
    file: IO[bytes] | io.BufferedIOBase, limit: int, offset: int = 0
) -> Iterator[tuple[int, bytes | None, bool]]:
    """Each line of an open file, None for a longer one, with the offset behind it, and if it is whole.

    Raises `Skipped` past `FILE_BYTES`, which only a compressed file can have.
    """
    # `readline` finds the end with memchr; `bytes.split` took a twentieth of a reader's time.
    while line := file.readline(limit + 1):
        offset += len(line)
        kept = line if len(line) <= limit else None
        while not (ended := line.endswith(b"\n")) and (line := file.readline(CHUNK)):
            offset += len(line)
            require_size(offset, FILE_BYTES)
        require_size(offset, FILE_BYTES)
        yield offset, kept, ended


def quiet_seconds(path: Path) -> float:
    """How long the file has not changed."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError as error:
        raise _skipped(error) from None


def chunks(path: Path) -> Iterator[bytes]:
    with opened(path) as file:
        while chunk := file.read(BLOCK):
            yield chunk


def whole(path: Path, limit: int) -> tuple[bytes, float]:
    """The file, and its modification time in Unix seconds. Raises `Skipped` past `limit` bytes."""
    with opened(path, limit) as file:
        return file.read(limit), os.fstat(file.fileno()).st_mtime


def json_value(data: bytes | bytearray) -> Any:
    """Plain values; unpaired surrogates and bytes that are not UTF-8 become U+FFFD. Raises `Skipped`."""
    _require_few_values(data)
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error)[:120]
    try:
        return msgspec.json.decode(repaired(data))
    except (msgspec.DecodeError, RecursionError):
        raise Skipped(f"not JSON: {problem}") from None


def without_padding(line: bytes) -> bytes:
    """Without white space and a byte order mark. After a crash, unwritten blocks are zero bytes."""
    return line.removeprefix(BOM).strip(b"\0 \r\n\t")


def json_values(line: bytes) -> Iterator[Any]:
    """The values of a line, usually one: concurrent writers may have joined lines.

    Raises `Skipped` after the last complete value.
    """
    _require_few_values(line)
    try:
        yield json_value(line)
        return
    except Skipped as reason:
        # Kept itself, it would hold all that its callers have, such as temporary files, until a collection.
        problem = str(reason)
    text, position = repaired(line), 0
    try:
        while position < len(text):
            value, end = _DECODER.raw_decode(text, position)
            yield value
            position = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it always matches
    except json.JSONDecodeError as error:
        yield from _behind_a_torn_one(text, position, error.pos)
        raise Skipped(problem) from None
    except (ValueError, RecursionError):
        raise Skipped(problem) from None


def _behind_a_torn_one(text: str, position: int, failed: int) -> list[Any]:
    """The values behind one whose end was not written, as of a killed program, up to the line's end.

    The first begins about where reading `failed`; or before that, if it could stand in the one that was torn.
    """
    starts = [begun.start() for begun in islice(_OBJECT.finditer(text, position + 1), _TRIED)]
    until = failed + 8
    for _ in range(_TRIED):
        until = text.rfind('{"', position + 1, until)
        starts.append(until)
    for start in sorted(set(starts) - {-1}) if len(text) <= _TORN else ():
        values: list[Any] = []
        end = start
        with suppress(ValueError, RecursionError):
            while end < len(text):
                value, end = _DECODER.raw_decode(text, end)
                values.append(value)
                end = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it always matches
            return values
    return []


def _require_few_values(data: bytes | bytearray) -> None:
    if len(data) > CHUNK and sum(map(data.count, (b",", b"[", b"{"))) > _VALUES:
        raise Skipped(f"it has more than {_VALUES:,} values")


def below(root: Path, suffixes: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Relative, sorted paths of the files under `root` with one of the suffixes. Follows no links.

    Then the folders that are not read, with why; of links only those in `root` itself. On Linux a name may be
    any bytes; those that are not UTF-8 are lone surrogates in it.

    Raises `Skipped` when there are too many, or `root` cannot be read.
    """
    names: list[str] = []
    unread: dict[str, str] = {}
    seen = 0
    folders = [""]
    while folders:
        inside = folders.pop()
        try:
            with os.scandir(root / inside) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _ENTRIES:
                        raise Skipped(f"there are more than {_ENTRIES:,} files in it")
                    name = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        # opencode's messages and their parts are read with their sessions.
                        if not (entry.name in _PARTS and (root / inside).name == "storage"):
                            folders.append(name)
                    elif not inside and entry.is_symlink() and entry.is_dir():
                        unread[name] = "it is a symbolic link"
                    elif name.endswith(suffixes) and len(name) <= 4096:
                        names.append(name)
        except OSError as error:
            if not inside:
                raise _skipped(error) from None
            unread[inside] = str(_skipped(error))
    return sorted(names), unread


def is_in_folders(path: Path) -> bool:
    """Whether a file is a session of opencode's from before its database, whose messages are files, too."""
    return path.suffix == ".json" and path.parent.parent.name == "session"


def messages_of(session: Path) -> Path:
    """The folder of its messages."""
    return session.parents[2] / "message" / session.stem


def _skipped(error: OSError) -> Skipped:
    what = os.strerror(error.errno).lower() if error.errno else "the disk refused"
    return (DiskFault if error.errno in _FAULTS else Skipped)(f"it cannot be read: {what}")
