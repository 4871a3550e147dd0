"""The originals that capture keeps, as sources that can be read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from msgspec import Struct

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.originals import Damaged, Original, Originals
from port42_daemon.transfer.readers import files
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_daemon.transfer.readers.detect import LINE_READERS, open_reader
from port42_daemon.transfer.readers.line_reader import read_whole


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
        if self.format not in LINE_READERS:
            raise Skipped(f"originals of {self.format} are not read again: name its folder")
        if self.original.generation > 1:
            raise Skipped("its program has written it anew, so that what was kept is not all of it")
        return read_whole(open_reader(self.format, Path(self.original.path), limits), self._lines())

    def _lines(self) -> Iterator[bytes | None]:
        with TemporaryFile() as file:
            try:
                file.writelines(self.originals.data(self.original))
            except (Damaged, OSError):
                raise Skipped("what was kept of it is damaged") from None
            file.seek(0)
            yield from (line for _, line, _ in files.lines_of(file, files.LINE_BYTES))


def kept_sources(originals: Originals) -> tuple[list[str], list[KeptSource]]:
    """The formats of all originals, and their newest generations in the order of their paths."""
    newest: dict[tuple[str, str], Original] = {}
    for original in originals.all():
        key = (original.path, original.tool)
        if key not in newest or newest[key].generation < original.generation:
            newest[key] = original
    sources = [KeptSource(originals, newest[key], key[0], key[1]) for key in sorted(newest)]
    return sorted({source.format for source in sources}), sources
