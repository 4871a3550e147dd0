"""`originals/`: the bytes of each captured source, compressed, so that they outlive the tool's own file.

``<tool>/<hash>-<generation>.z`` has a zlib stream for each part that was read; ``….json`` beside it says of
which file, and of which sessions. A source that its tool wrote anew begins another generation.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import Struct

from port42_daemon import durable
from port42_protocol.messages.types import CaptureTool, prepared

FOLDER = "originals"
_CHUNK = 64 * 1024
_LEVEL = 3  # half the time of zlib's usual 6, for a few bytes more


class Original(Struct):
    """Of which source a file here has the bytes: its path, times (RFC 3339), and its sessions' ids.

    `sessions` are Port42's ids, with the ids in the tool. `length` is the number of bytes, compressed.
    """

    tool: CaptureTool
    path: str
    begun_at: str
    generation: int = 1
    sessions: dict[str, str] = {}


class Damaged(Exception):
    """An original cannot be read to its end; the text says why."""


class Originals:
    """The folder. The methods block and raise OSError."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def begin(self, original: Original) -> Original:
        """A new generation for a source that is read from its beginning."""
        while self._file(original).exists():
            original.generation += 1
        self.describe(original)
        return original

    def latest(self, tool: CaptureTool, path: Path) -> Original | None:
        """The newest generation of the source at `path`."""
        stem = _stem(os.fspath(path))
        generations = [
            (int(number), file)
            for file in (self._folder / tool).glob(f"{stem}-*.json")
            if (number := file.stem.rpartition("-")[2]).isdecimal()
        ]
        return self._read(max(generations)[1]) if generations else None

    def of_session(self, session_id: str) -> list[Original]:
        """The originals that have the session, the oldest first."""
        originals = [original for original in self.all() if session_id in original.sessions]
        return sorted(originals, key=lambda original: (original.begun_at, original.generation))

    def all(self) -> list[Original]:
        """Every generation of every source."""
        originals = map(self._read, self._folder.glob("*/*.json"))
        return [original for original in originals if original is not None]

    def discard(self, session_ids: Collection[str], *, dry_run: bool) -> int:
        """Delete the originals that only these sessions have, and whose own file is gone, too.

        Returns their bytes; with `dry_run` that is all.
        """
        gone, freed = set(session_ids), 0
        for file in self._folder.glob("*/*.json") if gone else ():
            original = self._read(file)
            if original is None or not gone.issuperset(original.sessions) or not original.sessions:
                continue
            if not os.path.lexists(original.path):
                freed += self.size(original)
                if not dry_run:
                    durable.remove([self._file(original), file])
        return freed

    def describe(self, original: Original) -> None:
        path = self._file(original).with_suffix(".json")
        durable.own_folder(self._folder)
        durable.own_folder(path.parent)
        data = msgspec.json.format(msgspec.json.encode(original)) + b"\n"
        self._write(path, (data,), 0)

    def size(self, original: Original) -> int:
        """Compressed bytes that are kept."""
        try:
            return self._file(original).stat().st_size
        except FileNotFoundError:
            return 0

    def add(self, original: Original, data: Iterable[bytes], kept: int) -> int:
        """Keep the next bytes of the source behind the `kept` compressed ones; returns the new size.

        What stands there behind `kept`, by a crash, is replaced.
        """
        compressor = zlib.compressobj(_LEVEL)
        parts = chain(map(compressor.compress, data), map(compressor.flush, (zlib.Z_FINISH,)))
        return self._write(self._file(original), parts, kept)

    @staticmethod
    def _write(path: Path, parts: Iterable[bytes], offset: int) -> int:
        """Write behind `offset` and cut the file there; not synced: the source still has the bytes."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, durable.OWN_FILE)
        try:
            for part in parts:
                durable.write_all(descriptor, part, offset)
                offset += len(part)
            os.ftruncate(descriptor, offset)
        finally:
            os.close(descriptor)
        return offset

    def data(self, original: Original) -> Iterator[bytes]:
        """The source's bytes. Raises `Damaged`."""
        decompressor = zlib.decompressobj()
        complete = True
        with self._file(original).open("rb") as file:
            while chunk := file.read(_CHUNK):
                while chunk:
                    try:
                        yield decompressor.decompress(chunk)
                    except zlib.error as error:
                        raise Damaged(str(error)) from None
                    chunk, complete = decompressor.unused_data, decompressor.eof
                    if complete:
                        decompressor = zlib.decompressobj()
        if not complete:
            raise Damaged("its end is missing")

    def damaged(self, seconds: float) -> list[str]:
        """Sources whose bytes cannot be read to their end; others are tried each time, for `seconds`."""
        until, damaged = time.monotonic() + seconds, []
        files = list(self._folder.glob("*/*.json"))
        for file in random.sample(files, len(files)):
            original = self._read(file)
            if time.monotonic() > until:
                break
            if original is None:
                damaged.append(file.name)
                continue
            size = self.size(original)
            try:
                for _ in self.data(original):
                    pass
            except (Damaged, OSError):
                if self.size(original) == size:  # else it is being written
                    damaged.append(Path(original.path).name)
        return damaged

    def restore(self, original: Original, *, force: bool) -> int:
        """Write the source back to its path, and return its length.

        Raises FileExistsError, unless `force` replaces what is there, and `Damaged`.
        """
        path = Path(original.path)
        if os.path.lexists(path) and not force:
            raise FileExistsError(path)
        path.parent.mkdir(mode=durable.OWN_FOLDER, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.port42")
        length = 0
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, durable.OWN_FILE)
        try:
            try:
                for data in self.data(original):
                    durable.write_all(descriptor, data, length)
                    length += len(data)
                durable.sync(descriptor)
            finally:
                os.close(descriptor)
            if force:
                aside.replace(path)
            else:
                os.link(aside, path)  # unlike a rename it replaces nothing
        finally:
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
        durable.sync_folder(path.parent)
        return length

    def _file(self, original: Original) -> Path:
        return self._folder / original.tool / f"{_stem(original.path)}-{original.generation}.z"

    @staticmethod
    def _read(path: Path) -> Original | None:
        try:
            return msgspec.json.decode(durable.read_file(path, 1024 * 1024), type=prepared(Original))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


@lru_cache(maxsize=256)  # it is asked for several times at each read
def _stem(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
