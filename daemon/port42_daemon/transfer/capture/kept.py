"""The originals that capture keeps, as sources that can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from msgspec import Struct

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.originals import Damaged, Original, Originals
from port42_daemon.transfer.capture.reading import is_read_by_lines
from port42_daemon.transfer.readers import database_rows, files
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_daemon.transfer.readers.database_rows import make_database
from port42_daemon.transfer.readers.detect import Source, open_reader, sources_of
from port42_daemon.transfer.readers.line_reader import read_whole

_MOST = 64 * 1024 * 1024
"""Bytes of what is kept at once."""


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
    """One original. `key` is the path that it had, `time` is the same for all."""

    originals: Originals
    original: Original
    key: str
    format: str
    time: int = 0

    def location(self) -> bytes:
        return os.fsencode(self.key)

    def mark(self) -> str:
        """They are read again because readers have changed."""
        return ""

    def session_id(self, source_id: str) -> str | None:
        """Port42's id of the session that has this id in the tool."""
        return next((ours for ours, theirs in self.original.sessions.items() if theirs == source_id), None)

    def read(self, limits: SessionsConfig) -> list[ParsedSession]:
        """The session, then its sub-agents'. Raises `Skipped`."""
        if self.original.generation > 1:
            raise Skipped("its program has written it anew, so that what was kept is not all of it")
        if not is_read_by_lines(Path(self.original.path)):
            return self._read_document(limits)
        return read_whole(open_reader(self.format, Path(self.original.path), limits), self._lines())

    def _read_document(self, limits: SessionsConfig) -> list[ParsedSession]:
        """It is read below a temporary folder, from the same path: readers look at that."""
        original, sessions = self.original, list[ParsedSession]()
        with TemporaryDirectory() as folder:
            path = Path(folder + original.path)
            path.parent.mkdir(parents=True)
            if original.conversation:
                make_database(self._lines(), path)
                return Source("", self.format, path, original.conversation).read(limits)
            with path.open("wb") as file:
                self._write(file)
            when = datetime.fromisoformat(original.begun_at).timestamp()
            os.utime(path, (when, when))
            for source in sources_of(self.format, path):
                sessions += source.read(limits)
        for session in sessions:
            if session.info.cwd is not None:
                session.info.cwd = session.info.cwd.removeprefix(folder)
        return sessions

    def _lines(self) -> Iterator[bytes | None]:
        with TemporaryFile() as file:
            self._write(file)
            file.seek(0)
            yield from (line for _, line, _ in files.lines_of(file, files.LINE_BYTES))

    def _write(self, file: IO[bytes]) -> None:
        try:
            file.writelines(self.originals.data(self.original))
        except (Damaged, OSError):
            raise Skipped("what was kept of it is damaged") from None


def kept_sources(originals: Originals) -> tuple[list[str], list[KeptSource]]:
    """The formats of all originals, and their newest generations in the order of their paths."""
    newest: dict[tuple[str, str], Original] = {}
    for original in originals.all():
        key = (f"{original.path} {original.conversation}".rstrip(), original.tool)
        if key not in newest or newest[key].generation < original.generation:
            newest[key] = original
    sources = [KeptSource(originals, newest[key], key[0], key[1]) for key in sorted(newest)]
    return sorted({source.format for source in sources}), sources
