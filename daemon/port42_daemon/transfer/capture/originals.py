"""`originals/`: the bytes of each captured source, compressed, so that they outlive the tool's own file.

``<tool>/<hash>-<generation>.z`` begins with 1 KiB of JSON, filled up with spaces, that says of which file it
is and of which sessions; then it has a zlib stream for each part that was read. A longer description, and
that of an earlier version, is in ``….json`` beside it. A source that its tool wrote anew begins another
generation.

Of a database each conversation has its own, with its rows as lines. These, and files that are written whole,
are replaced by later ones; one that is shorter than before begins another generation.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sys
import time
import zlib
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from port42_daemon import durable
from port42_protocol.messages.types import CaptureTool, prepared

FOLDER = "originals"
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_CHUNK = 64 * 1024
GENERATIONS = 10
"""That are kept of what is kept at once."""
_LEVEL = 3  # half the time of zlib's usual 6, for a few bytes more
_HEAD = 1024
"""Bytes of the description in the file itself: to create another one would take as long as to keep it."""


class Original(Struct):
    """Of which source a file here has the bytes: its path, times (RFC 3339), and its sessions' ids.

    `sessions` are Port42's ids, with the ids in the tool.
    """

    tool: CaptureTool
    path: str
    begun_at: str
    generation: int = 1
    sessions: dict[str, str] = {}
    conversation: str = ""
    """Of a database, the one whose rows are kept."""
    length: int = 0
    """The bytes as they were, of what was kept at once."""


class Damaged(Exception):
    """An original cannot be read to its end; the text says why."""


class Originals:
    """The folder. The methods block and raise OSError."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def begin(self, original: Original) -> Original:
        """A new generation for a source that is read from its beginning; the first `add` writes it."""
        while self._file(original).exists():
            original.generation += 1
        return original

    def keep(self, original: Original, data: bytes) -> int:
        """Keep a whole file, or the rows of a conversation. Returns by how many bytes there is more.

        Of the generations the newest `GENERATIONS` stay.
        """
        latest = self.find(original.tool, Path(original.path), 0, original.conversation)
        original.length = len(data)
        size = 0
        if latest is not None and len(data) >= latest.length:
            original.generation, size = latest.generation, self.size(latest)
        elif latest is not None:
            original.generation = latest.generation + 1
        file, head = self._file(original), _head(original)
        aside = file.with_name("new")  # which is no original's, if a crash leaves it
        self._write(aside, (head, zlib.compress(data, _LEVEL)), 0)
        aside.replace(file)
        if not head or file.with_suffix(".json").exists():
            self.describe(original)
        outlived = structs.replace(original, generation=original.generation - GENERATIONS)
        size += self.size(outlived)
        self._remove(outlived)
        return self.size(original) - size

    def find(self, tool: CaptureTool, path: Path, generation: int, conversation: str = "") -> Original | None:
        """That generation of the source at `path`, or of a conversation in it; 0: the newest."""
        stem = _stem(os.fspath(path), conversation)
        if generation:
            return _described(self._folder / tool / f"{stem}-{generation}.z")
        generations = [
            (int(number), file.with_suffix(".z"))
            for file in (self._folder / tool).glob(f"{stem}-*.*")
            if (number := file.stem.rpartition("-")[2]).isdecimal()
        ]
        return _described(max(generations)[1]) if generations else None

    def of_session(self, session_id: str) -> list[Original]:
        """The originals that have the session, the oldest first."""
        originals = [original for original in self.all() if session_id in original.sessions]
        return sorted(originals, key=lambda original: (original.begun_at, original.generation))

    def all(self) -> list[Original]:
        """Every generation of every source."""
        originals = map(_described, self._files())
        return [original for original in originals if original is not None]

    def discard(self, session_ids: Collection[str], *, dry_run: bool) -> int:
        """Delete the originals that only these sessions have, and whose own file is gone or a database.

        Returns their bytes; with `dry_run` that is all.
        """
        gone, freed = set(session_ids), 0
        for file in self._files() if gone else ():
            original = _described(file)
            if original is None or not gone.issuperset(original.sessions) or not original.sessions:
                continue
            # Of a database its own sessions may be gone, too: only the tool could tell.
            if original.conversation or not os.path.lexists(original.path):
                freed += self.size(original)
                if not dry_run:
                    durable.remove([file, file.with_suffix(".json")])
        return freed

    def describe(self, original: Original) -> None:
        """Write what has changed of the description."""
        path = self._file(original)
        beside, head = path.with_suffix(".json"), _head(original)
        if head and not beside.exists():
            self._write(path, (head,), 0, whole=False)
        else:
            self._write(beside, (msgspec.json.format(msgspec.json.encode(original)), b"\n"), 0)

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
        if not kept:
            head = _head(original)
            if not head:
                self.describe(original)
            parts = chain((head,), parts)
        try:
            return self._write(self._file(original), parts, kept)
        except BaseException:
            if not kept:  # a generation that has nothing
                self._remove(original)
            raise

    def _write(self, path: Path, parts: Iterable[bytes], offset: int, *, whole: bool = True) -> int:
        """Write at `offset`, and end the file behind that, if it is the whole rest.

        It is not synced: the source still has the bytes. Where the parts fail, as those of a source that is
        being written anew, the rest is as it was.
        """
        start = offset
        try:
            descriptor = os.open(path, _FLAGS, durable.OWN_FILE)
        except FileNotFoundError:
            durable.own_folder(self._folder)
            durable.own_folder(path.parent)
            descriptor = os.open(path, _FLAGS, durable.OWN_FILE)
        try:
            for part in filter(None, parts):
                durable.write_all(descriptor, part, offset)
                offset += len(part)
            if whole:
                os.ftruncate(descriptor, offset)
        except BaseException:
            if whole:
                os.ftruncate(descriptor, start)
            raise
        finally:
            os.close(descriptor)
        return offset

    def data(self, original: Original) -> Iterator[bytes]:
        """The source's bytes. Raises `Damaged`."""
        decompressor = zlib.decompressobj()
        complete = True
        with self._file(original).open("rb") as file:
            file.seek(_HEAD if file.read(1) == b"{" else 0)
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
        files = self._files()
        for file in random.sample(files, len(files)):
            original = _described(file)
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

    def _remove(self, original: Original) -> None:
        durable.remove([self._file(original), self._file(original).with_suffix(".json")])

    def _file(self, original: Original) -> Path:
        stem = _stem(original.path, original.conversation)
        return self._folder / original.tool / f"{stem}-{original.generation}.z"

    def _files(self) -> list[Path]:
        """Those with the bytes of all originals; that of one that is damaged may be gone."""
        return sorted({file.with_suffix(".z") for file in self._folder.glob("*/*-*.*")})


def _head(original: Original) -> bytes:
    """The description as it is at the beginning of the file; empty if it is too long."""
    data = msgspec.json.encode(original)
    return data.ljust(_HEAD) if len(data) <= _HEAD else b""


def _described(file: Path) -> Original | None:
    """Of what `file` has the bytes; None if nothing says so. What is beside it is later than what it says."""
    for path, size in ((file.with_suffix(".json"), 1024 * 1024), (file, _HEAD)):
        try:
            with durable.open_file(path, sys.maxsize) as opened:
                return msgspec.json.decode(opened.read(size), type=prepared(Original))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None


@lru_cache(maxsize=256)  # it is asked for several times at each read
def _stem(path: str, conversation: str) -> str:
    name = os.fsencode(path) + (b"\0" + conversation.encode() if conversation else b"")
    return hashlib.sha256(name).hexdigest()[:16]
