"""Reads a source from where it stopped, a batch of whole lines at a time. Blocks; used by one thread."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from msgspec import Struct, structs

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.progress import Signature, SourceState, signature_of
from port42_daemon.transfer.capture.tools import PACKED
from port42_daemon.transfer.readers import detect, files
from port42_daemon.transfer.readers.base import SessionInfo, Skipped
from port42_daemon.transfer.readers.line_reader import ENDED_SECONDS, LineReader
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.records import Record

_BATCH_BYTES = 1024 * 1024
_BATCH_RECORDS = 1000
_SAMPLE = 4096
"""Bytes at the beginning of a file, and before the offset, that tell whether it was written anew."""
HELD_SECONDS = 30
"""Without a change, after which what a reader holds back is taken, and a last line without its end."""
_REWRITING = 5_000_000_000
"""Nanoseconds after which a tool that wrote a file anew has written all of it."""


class Rewritten(Exception):
    """The tool wrote the source anew while it was read: it is read again."""


class InTrash(Skipped):
    """The session is in the trash: what its source has is read when it is restored."""

    def __init__(self) -> None:
        super().__init__("its session is in the trash")


class Batch(Struct):
    """What the lines from the offset `start` on gave: records by the keys of `infos`."""

    records: dict[str, list[Record]]
    infos: dict[str, SessionInfo]
    start: int
    state: SourceState
    """How far the source is read with this batch."""
    complete: bool
    """Whether that is its end, as it was."""
    size: int
    """Bytes that were read, or characters."""
    originals: Sequence[str] = ()
    """The conversations whose originals are to be kept with it; "" is the whole file."""
    conversations: dict[str, str] = {}
    """That of each key, where there may be several."""
    is_of_another: bool = False
    """Whether the source is another session than it seemed with the batches before: this is its beginning."""


class _SourceFile:
    """The file of a source; where its tool has compressed that, it is unpacked once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unpacked: BinaryIO | None = None
        self._unpacked_from: Signature | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, Signature]]:
        """The file as it was before it was compressed, and the signature of what is there.

        Raises `Skipped`, and `StorageFailed` where it cannot be unpacked.
        """
        with contextlib.ExitStack() as stack:
            file, path = self._enter(stack)
            signature = signature_of(_status(file))
            if path != self._path:
                file = self._unpacked_of(file, signature)
            yield file, signature

    def _unpacked_of(self, file: BinaryIO, signature: Signature) -> BinaryIO:
        if self._unpacked is not None and signature == self._unpacked_from:
            return self._unpacked
        self._unpacked_from = None
        try:
            unpacked = self._unpacked = self._unpacked or TemporaryFile()  # noqa: SIM115  # until `__del__`
            unpacked.seek(0)
            unpacked.truncate()
            with files.unpacked(file) as whole:
                while block := whole.read(files.BLOCK):
                    unpacked.write(block)
                    files.require_size(unpacked.tell(), files.FILE_BYTES)
            unpacked.flush()  # a full disk says so here
        except OSError as error:  # of the temporary file: what is wrong with the source is `Skipped`
            what = os.strerror(error.errno or 0).lower()
            raise StorageFailed(f"cannot unpack what its tool has compressed: {what}") from error
        self._unpacked_from = signature
        return unpacked

    def __del__(self) -> None:
        if self._unpacked is not None:
            with contextlib.suppress(OSError):  # on a full disk it tries once more to write
                self._unpacked.close()

    def _enter(self, stack: contextlib.ExitStack) -> tuple[BinaryIO, Path]:
        # The tool may be replacing one by the other: the one that is new is there before the other is gone.
        for path in (self._path, self._path.with_name(self._path.name + PACKED)):
            try:
                return stack.enter_context(files.opened(path)), path
            except Skipped:
                if os.path.lexists(path):
                    raise
        return stack.enter_context(files.opened(self._path)), self._path


class LineSource:
    """A source whose lines are read as they come. `anew`: it is read from its beginning."""

    def __init__(self, tool: str, path: Path, state: SourceState | None, limits: SessionsConfig) -> None:
        """Raises `Skipped`."""
        self._file = _SourceFile(path)
        with self._file.opened() as (file, signature):
            self.anew = state is None or not _continues(file, state, signature)
        if state is not None and not detect.can_resume(tool, state.reader):
            self.anew = True  # an earlier version's reader saved it
        if state is None:
            state = SourceState(signature)
        elif self.anew:
            state = SourceState(signature, sessions=state.sessions, rewritten=True)
        self._path = path
        self._limits = limits
        self._state = state
        self._reader: LineReader = detect.open_reader(tool, path, limits, state.reader)
        self._is_another = False

    def copy(self) -> LineSource:
        """The source, read from its beginning."""
        return LineSource(self._reader.format, self._path, None, self._limits)

    def next(self) -> Batch:
        """Raises `Skipped` and `Rewritten`."""
        reader = self._reader
        start = end = self._state.offset
        complete = begun = False
        with self._file.opened() as (file, signature):
            if _status(file).st_size < start:
                raise Rewritten
            quiet = time.time() - signature[3] / 1e9
            file.seek(start)
            for behind, line, ended in files.lines_of(file, files.LINE_BYTES, start):
                if not ended and not (quiet >= HELD_SECONDS and line and _is_object(line)):
                    complete = begun = True
                    break
                # A last line without its end is whole if its tool was killed before it wrote the newline.
                reader.feed(line)
                end = behind
                if end - start >= _BATCH_BYTES or reader.waiting >= _BATCH_RECORDS:
                    break
            else:
                complete = True
            head, tail = _samples(file, end)
        if complete and quiet >= HELD_SECONDS:
            reader.take_rest(ended=quiet >= ENDED_SECONDS)
        if self._has_got_its_id():
            self._begin_anew()
            return self.next()
        is_of_another, self._is_another = self._is_another, False
        records: dict[str, list[Record]] = {}
        for key, record, _ in reader.taken():
            records.setdefault(key, []).append(record)
        self._state = structs.replace(
            self._state,
            signature=signature,
            offset=end,
            head=head,
            tail=tail,
            reader=reader.save(),
            problem=_problem(reader) or (self._other_format() if complete and not records else None),
            rest=_rest(reader, waits=begun and quiet < HELD_SECONDS) if complete else 0,
        )
        return Batch(
            records,
            reader.state.sessions,
            start,
            self._state,
            complete=complete,
            size=end - start,
            is_of_another=is_of_another,
        )

    def _has_got_its_id(self) -> bool:
        """Whether what was recorded as another session's is the beginning of its fork.

        Where Claude Code resumes a session in another file, its copy may come long before what is new.
        """
        stored, own = self._state.sessions.get(""), self._reader.state.sessions[""]
        return stored is not None and stored.source_id != own.source_id == files.stem(self._path)

    def _begin_anew(self) -> None:
        self.anew = self._is_another = True
        generation = self._state.generation if self._state.kept else 0
        self._state = SourceState(self._state.signature, generation=generation)
        self._reader = detect.open_reader(self._reader.format, self._path, self._limits)
        self._reader.state.has_own_id = True

    def _other_format(self) -> str | None:
        """As `detect.other_format`, of a file in which no message was read."""
        return None if self._state.sessions else detect.other_format(self._path, self._reader.format)

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes of the source. Raises `Rewritten` where it does not have them any more."""
        with self._file.opened() as (file, _):
            file.seek(start)
            while start < end:
                chunk = file.read(min(files.BLOCK, end - start))
                if not chunk:
                    raise Rewritten
                start += len(chunk)
                yield chunk

    def begins_with(self, data: Iterator[bytes]) -> bool:
        """Whether what was read of it begins with `data`."""
        with self._file.opened() as (file, _):
            file.seek(0)
            end = self._state.offset
            return all(file.read(len(piece)) == piece and file.tell() <= end for piece in data)

    def wrote(self, state: SourceState) -> None:
        """`state` is the batch's, with its sessions as they are now."""
        self._state = state

    def leave(self, batch: Batch, conversation: str, reason: Exception) -> None:  # noqa: ARG002  # of another kind
        """The batch cannot be recorded now, nor what follows it."""
        raise reason

    def end(self) -> None:
        """All was read."""

    def rest_in(self) -> float | None:
        """Seconds until the rest is due, which is there if the file does not change."""
        return rest_in(self._state)


def rest_in(state: SourceState) -> float | None:
    return max(state.rest_in(time.time()), 0.0) if state.rest else None


def is_read_by_lines(path: Path) -> bool:
    return path.suffix == ".jsonl"


def _continues(file: BinaryIO, state: SourceState, signature: Signature) -> bool:
    """Whether the file begins with what was read of it, as samples tell, and was not just rewritten."""
    if state.rewritten and signature[3] - state.signature[3] < _REWRITING:
        return False
    return _status(file).st_size >= state.offset and _samples(file, state.offset) == (state.head, state.tail)


def _samples(file: BinaryIO, offset: int) -> tuple[bytes, bytes]:
    return _sample(file, 0, offset), _sample(file, max(0, offset - _SAMPLE), offset)


def _sample(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return blake2b(file.read(min(_SAMPLE, end - start)), digest_size=16).digest()


def _status(file: BinaryIO) -> os.stat_result:
    return os.fstat(file.fileno())


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(files.json_value(line), dict)
    except Skipped:
        return False


def _rest(reader: LineReader, *, waits: bool) -> int:
    """`waits`: there is a line that may get its end yet."""
    if waits or reader.has_held():
        return HELD_SECONDS
    return ENDED_SECONDS if reader.is_underway() else 0


def _problem(reader: LineReader) -> str | None:
    problems = reader.state.problems
    return None if not problems else ": ".join(filter(None, problems[-1]))
