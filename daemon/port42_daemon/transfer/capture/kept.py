"""The originals that capture keeps, as sources that can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from itertools import zip_longest
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from msgspec import Struct

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.known import joined
from port42_daemon.transfer.capture.original_rows import Damaged, Original
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.capture.reading import is_read_by_lines
from port42_daemon.transfer.readers import database_rows, files
from port42_daemon.transfer.readers.base import NoMessages, ParsedSession, Skipped
from port42_daemon.transfer.readers.database_rows import make_database
from port42_daemon.transfer.readers.detect import Source, open_reader, sources_of
from port42_daemon.transfer.readers.line_reader import read_whole

_MOST = 64 * 1024 * 1024
"""Bytes of what is kept at once."""
_MOST_JOINED = 128 * 1024 * 1024
"""Bytes of records that are in memory together."""


def original_of(tool: str, path: Path, conversation: str) -> bytes:
    """The file at `path`, or the rows of a conversation in it. Raises `Skipped` past 64 MiB."""
    if not conversation:
        return files.whole(path, _MOST)[0]
    data = bytearray()
    for line in database_rows.lines_of(tool, path, conversation):
        data += line
        if len(data) > _MOST:
            raise Skipped(f"it has more than {_MOST:,} bytes")
    return bytes(data)


class KeptSource(Struct, frozen=True):
    """One original. `key` is the path that it had, `time` is the same for all.

    Each of the `generations`, the oldest first, is a whole file, but a later one may lack what its tool took
    out of it.
    """

    originals: Originals
    generations: tuple[Original, ...]
    key: str
    format: str
    time: int = 0

    def location(self) -> bytes:
        return os.fsencode(self.key)

    def fingerprint(self) -> str:
        """They are read again because readers have changed."""
        return ""

    def session_id(self, source_id: str) -> str | None:
        """Port42's id of the session that has this id in the tool."""
        for original in reversed(self.generations):
            for ours, theirs in original.sessions.items():
                if theirs == source_id:
                    return ours
        return None

    def restorable(self) -> bool:
        """Whether it can be written back as the file that it was."""
        return not self.generations[-1].conversation

    def read(self, limits: SessionsConfig) -> list[ParsedSession]:
        """The session, then its sub-agents', each with what any generation has of it. Raises `Skipped`."""
        if self.generations[-1].generation > len(self.generations):
            raise Skipped("its program has written it anew, and what was kept of it before is not all here")
        sessions: list[ParsedSession] = []
        for original, later in zip_longest(self.generations, self.generations[1:]):
            if later is not None and self._begins_with(later, original):
                continue  # its program only went on with it
            try:
                sessions = _joined(sessions, self._read(original, limits), timed=self._is_read_by_lines())
            except NoMessages:
                if len(self.generations) == 1:
                    raise
                raise Skipped("its program has written it anew, and once without messages") from None
        return sessions

    def _begins_with(self, later: Original, earlier: Original) -> bool:
        """Whether the file of one generation begins with that of another."""
        try:
            rest = b""
            pieces = self.originals.data(later)
            for piece in self.originals.data(earlier):
                while len(rest) < len(piece):
                    rest += next(pieces)
                if not rest.startswith(piece):
                    return False
                rest = rest[len(piece) :]
        except (Damaged, OSError, StopIteration):
            return False
        return True

    def _is_read_by_lines(self) -> bool:
        return is_read_by_lines(Path(self.generations[-1].path))

    def _read(self, original: Original, limits: SessionsConfig) -> list[ParsedSession]:
        if not self._is_read_by_lines():
            return self._read_document(original, limits)
        reader = open_reader(self.format, Path(original.path), limits)
        return read_whole(reader, self._lines(original))

    def _read_document(self, original: Original, limits: SessionsConfig) -> list[ParsedSession]:
        """It is read below a temporary folder, from the same path: readers look at that."""
        sessions = list[ParsedSession]()
        with TemporaryDirectory() as folder:
            path = Path(folder + original.path)
            path.parent.mkdir(parents=True)
            if original.conversation:
                make_database(self._lines(original), path)
                return Source("", self.format, path, original.conversation).read(limits)
            with path.open("wb") as file:
                file.writelines(self._data(original))
            when = datetime.fromisoformat(original.begun_at).timestamp()
            os.utime(path, (when, when))
            for source in sources_of(self.format, path):
                sessions += source.read(limits)
        for session in sessions:
            if session.info.cwd is not None:
                session.info.cwd = session.info.cwd.removeprefix(folder)
        return sessions

    def _lines(self, original: Original) -> Iterator[bytes | None]:
        with TemporaryFile() as file:
            file.writelines(self._data(original))
            file.seek(0)
            yield from (line for _, line, _ in files.lines_of(file, files.LINE_BYTES))

    def _data(self, original: Original) -> Iterator[bytes]:
        try:
            yield from self.originals.data(original)
        except (Damaged, OSError):
            raise Skipped("what was kept of it is damaged") from None


def _joined(earlier: list[ParsedSession], later: list[ParsedSession], *, timed: bool) -> list[ParsedSession]:
    """The sessions of two generations, those that both have with the records of both."""
    before = {session.info.source_id: session for session in earlier}
    sessions: list[ParsedSession] = []
    for session in later:
        first = before.pop(session.info.source_id, None)
        sessions.append(session if first is None else _with_both(first, session, timed=timed))
    return [*sessions, *before.values()]


def _with_both(earlier: ParsedSession, later: ParsedSession, *, timed: bool) -> ParsedSession:
    """Raises `Skipped` where they are too large."""
    if earlier.records.size + later.records.size > _MOST_JOINED:
        raise Skipped(f"its generations have more than {_MOST_JOINED:,} bytes, too many to be joined")
    whole = ParsedSession(later.info, problems=later.problems)
    whole.info.created_at = earlier.info.created_at or later.info.created_at
    whole.info.title = later.info.title or earlier.info.title
    for record in joined(list(earlier.records), list(later.records), timed=timed):
        whole.append("", record, "")
    return whole


def kept_sources(originals: Originals) -> tuple[list[str], list[KeptSource]]:
    """The formats of all originals, each with all its generations, in the order of their paths."""
    generations: dict[tuple[str, str], list[Original]] = {}
    for original in originals.all():
        key = (f"{original.path} {original.conversation}".rstrip(), original.tool)
        generations.setdefault(key, []).append(original)
    sources = [
        KeptSource(originals, tuple(sorted(generations[key], key=attrgetter("generation"))), *key)
        for key in sorted(generations)
    ]
    return sorted({source.format for source in sources}), sources
