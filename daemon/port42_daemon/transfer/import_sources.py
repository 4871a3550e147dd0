"""The sources of an import: their order, and which of them have not changed since an earlier import."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple, Protocol

from port42_daemon.config import SessionsConfig
from port42_daemon.executors import Threads
from port42_daemon.store.interface import SessionStore
from port42_daemon.transfer.capture.tools import TOOLS
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.transfer import ImportFormat, ImportSessions

if TYPE_CHECKING:
    from port42_daemon.transfer.capture.progress import Progress

log = logging.getLogger(__name__)

_DIGITS = 20
"""Maximum of a time."""


class Source(Protocol):
    """One source: `key` is its name in responses; it has its place in the order by `time` and `key`."""

    @property
    def key(self) -> str: ...
    @property
    def time(self) -> int: ...
    @property
    def format(self) -> str: ...
    def session_id(self, source_id: str) -> str | None:
        """Port42's id of a session, where it does not follow from its id at the source."""

    def restorable(self) -> bool:
        """Whether capture keeps a copy of its file that can be written back."""

    def location(self) -> bytes:
        """Where it is: the same for the same source."""

    def fingerprint(self) -> str:
        """Changes when the source does; "" where that cannot be told."""

    def read(self, limits: SessionsConfig) -> list[ParsedSession]:
        """The session, then its sub-agents'. Raises `Skipped`."""


KeptSources = Callable[[], tuple[list[str], Sequence[Source]]]
"""Formats and sources of the originals that capture keeps."""


class ImportHistory:
    """What was imported, in ``capture.db``. Where that cannot be used, each source is read again.

    `progress` opens it, in the thread for capture. Raises sqlite3.Error and OSError.
    """

    def __init__(self, store: SessionStore, threads: Threads, progress: Callable[[], Progress]) -> None:
        self._store = store
        self._run = threads.capture
        self._progress = progress

    async def unchanged(self, sources: Sequence[Source], agent: str) -> dict[str, list[str]]:
        """Of the sources that are as they were when `agent` imported them: their sessions' ids by keys."""
        return await self._run(self._unchanged, sources, agent)

    def _unchanged(self, sources: Sequence[Source], agent: str) -> dict[str, list[str]]:
        known: dict[str, list[str]] = {}
        try:
            progress = self._progress()
            for source in sources:
                sessions = progress.imported(source.location(), agent, source.fingerprint())
                if sessions is not None and all(
                    self._store.where(session_id) == "sessions" for session_id in sessions
                ):
                    known[source.key] = sessions
        except (sqlite3.Error, OSError) as error:
            log.warning("⚠ sources are imported without capture.db: %s", error)
        return known

    async def remember(
        self, agent: str, whole: Mapping[bytes, tuple[str, list[str]]], begun: Sequence[tuple[str, str, str]]
    ) -> None:
        """`whole`: fingerprint and sessions of sources that were read without a problem, by their locations.

        `begun`: mark of the first message, format and id of sessions, those first that have copies.
        """
        rows = [(location, agent, *read) for location, read in whole.items() if read[0]]
        await self._run(self._remember, rows, begun)

    def _remember(
        self, rows: Sequence[tuple[bytes, str, str, list[str]]], begun: Sequence[tuple[str, str, str]]
    ) -> None:
        try:
            self._progress().remember_imported(rows, begun)
        except (sqlite3.Error, OSError) as error:
            log.warning("⚠ what was imported is read again: %s", error)

    async def originals(self, beginnings: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """The first sessions of formats with these marks of their first messages, by format and mark."""
        return await self._run(self._all_originals, [each for each in beginnings if each[1]])

    def _all_originals(self, beginnings: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        originals: dict[tuple[str, str], str] = {}
        with contextlib.suppress(sqlite3.Error, OSError):
            progress = self._progress()
            for each in beginnings:
                if (session_id := progress.original(*each)) is not None:
                    originals[each] = session_id
        return originals


class Listing(NamedTuple):
    """The formats and the sources of a path; `own` counts sessions of this home, which are none of them."""

    of: tuple[str | None, str]
    formats: list[str]
    sources: Sequence[Source]
    backup: str
    """Where sessions that are rewritten are kept as they were."""
    own: int = 0


def position(source: Source) -> tuple[bool, int, str]:
    """By the time of the file: what was copied comes before its copy, which may not say that it is one.

    Sub-agents come last: their sessions name a place in others.
    """
    tool = TOOLS.get(source.format)  # type: ignore[call-overload]  # there are others
    is_sub_agents = bool(tool and tool.sub_agents and PurePath(source.key).match(tool.sub_agents))
    return is_sub_agents, source.time, source.key


def cursor_of(source: Source) -> str:
    """The cursor behind the source."""
    return "{:d} {} {}".format(*position(source))


def position_of(cursor: str) -> tuple[bool, int, str]:
    last, minute, key = [*cursor.split(" ", 2), "", ""][:3]
    if (
        last not in {"0", "1"}
        or not key
        or not minute.isascii()
        or not minute.isdecimal()
        or len(minute) > _DIGITS
    ):
        raise InvalidParams.expecting("cursor", "the `next_cursor` of a page")
    return last == "1", int(minute), key


def list_sources(request: ImportSessions, kept: KeptSources, home: Path) -> Listing:
    # Imported here: the readers would add a tenth to the daemon's start.
    from port42_daemon.transfer.readers.detect import sources

    backup = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-import"
    if request.path is None:
        return Listing((None, request.format), *_of_kept(kept, request.format), backup)
    path = Path(request.path)
    expected = "a file or folder of sessions"
    try:
        if not path.exists():
            raise Skipped("there is nothing there")
        formats, listed = sources(path.resolve(), request.format)
    except Skipped as reason:
        raise InvalidParams(f"path: {path.name}: {reason}", field="path", expected=expected) from None
    except OSError:
        raise InvalidParams.expecting("path", expected, why="it cannot be looked at") from None
    others = [each for each in listed if each.format != "port42" or home not in each.path.parents]
    own = len(listed) - len(others)
    return Listing((request.path, request.format), formats, sorted(others, key=position), backup, own)


def _of_kept(kept: KeptSources, wanted: ImportFormat) -> tuple[list[str], Sequence[Source]]:
    formats, sources = kept()
    if wanted != "auto":
        formats, sources = [wanted], [source for source in sources if source.format == wanted]
    if not sources:
        what = "originals" if wanted == "auto" else f"originals of {wanted}"
        why = f"capture keeps no {what} that could be read again"
        raise InvalidParams.expecting("path", "a file or folder of sessions", why=why)
    return formats, sources
