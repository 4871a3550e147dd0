"""`import_sessions`: imports the sessions at a path, a bounded number in each call, without duplicates.

The id of an imported session is derived from its source, so that the next import finds it: new messages of
the source are appended; a session that was continued in Port42 is not changed (docs/decisions/0024).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec import UNSET, structs

from port42_daemon.config import ConfigFile, SessionsConfig
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Header
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.import_writer import ImportWriter, Originals, Page, Planned
from port42_daemon.transfer.merge import merged
from port42_daemon.transfer.readers.base import (
    EPOCH,
    ParsedSession,
    SessionInfo,
    Skipped,
    SubAgent,
)
from port42_protocol.errors import InvalidParams
from port42_protocol.messages import records
from port42_protocol.messages.records import (
    ForkPoint,
    Parent,
    Record,
    Summary,
)
from port42_protocol.messages.transfer import ImportedSession, ImportPage, ImportSessions

_SOURCES = 1000
_SECONDS = 0.5
"""Limits of one call: sources, and time, after which no further source is begun."""
_TOGETHER = 50
_READ_BYTES = 4 * 1024 * 1024
"""Limits of what is read before it is written: sources, and bytes of their records."""
_SKIPPED = 500
"""Maximum number of reasons in one response."""
_REWRITE_BYTES = 128 * 1024 * 1024
_WITH_AGENTS = frozenset({"port42", "original"})


class _Source(Protocol):
    """One source: `key` is its position in the order of sources and its name in responses."""

    @property
    def key(self) -> str: ...
    @property
    def format(self) -> str: ...
    def session_id(self, source_id: str) -> str | None:
        """Port42's id of a session, where it does not follow from its id at the source."""

    def read(self, limits: SessionsConfig) -> list[ParsedSession]:
        """The session, then its sub-agents'. Raises `Skipped`."""


_KeptSources = Callable[[], tuple[list[str], Sequence[_Source]]]
"""Formats and sources of the originals that capture keeps."""


class Importer:
    """Handles `import_sessions`."""

    def __init__(
        self, sessions: Sessions, queues: SessionQueues, config: ConfigFile, kept: _KeptSources
    ) -> None:
        self._store, self._threads = sessions.store, sessions.threads
        self._sessions = sessions
        self._queues = queues
        self._config = config
        self._kept = kept
        self._last_imported: dict[str, str] = {}
        """Each agent's last session as set by an import, until the agent uses another."""
        self._listing: _Listing | None = None
        """The sources of the latest import, for its next page."""
        self._originals: Originals = {}

    async def import_sessions(self, request: ImportSessions, cancellation: Cancellation) -> ImportPage:
        """Import the next sources; those that cannot be imported are skipped with a reason.

        Cancelled, it begins no further source: what was imported stays.
        """
        if request.path is None and not request.again:
            raise InvalidParams.expecting("path", "an absolute path, or `again`", why="none is given")
        listing = self._listing
        if listing is None or request.cursor is None or listing.of != (request.path, request.format):
            listing = await self._threads.files(_list_sources, request, self._kept)
            self._listing = listing
        needs_agent = request.path is not None and _WITH_AGENTS.isdisjoint(listing.formats)
        if needs_agent and request.agent is None:
            raise InvalidParams(
                f"agent parameter required: {' and '.join(listing.formats)} sessions name no agent",
                field="agent",
                expected="the agent whose sessions they become",
            )
        sources = listing.sources
        done = sum(source.key <= request.cursor for source in sources) if request.cursor else 0
        page = Page(request, listing.backup)
        deadline = time.monotonic() + _SECONDS
        until = min(len(sources), done + _SOURCES)
        while done < until:
            limits = self._config.current.sessions
            read = await self._threads.files(_read, sources[done : min(until, done + _TOGETHER)], limits)
            await self._import(read, page)
            done += len(read)
            if cancellation.requested or len(page.skipped) >= _SKIPPED or time.monotonic() >= deadline:
                break
        if not request.dry_run:
            for agent, summary in page.newest.items():
                await self._threads.files(self._set_last, agent, summary)
        cancellation.check()
        if page.sub_agents:
            page.skip(f"{page.sub_agents:,} of sub-agents", "their transcripts are parts of other sessions")
        complete = done == len(sources)
        if complete:
            self._listing = None
            self._originals.clear()
        return ImportPage(
            format=", ".join(listing.formats),
            imported=tuple(page.imported),
            skipped=tuple(page.skipped),
            unchanged=page.unchanged,
            done=done,
            total=len(sources),
            next_cursor=None if complete else sources[done - 1].key,
        )

    async def _import(self, read: Sequence[_Read], page: Page) -> None:
        """Write what was read from some sources."""
        planned: list[Planned] = []
        for source, sessions in read:
            key = source.key
            if isinstance(sessions, SubAgent):
                page.sub_agents += 1
                continue
            if isinstance(sessions, Skipped):
                page.skip(key, str(sessions))
                continue
            for location, problem in sessions[0].problems:
                page.skip(f"{key}, {location}" if location else key, problem)
            for session in sessions:
                try:
                    if page.request.path is None:
                        await self._rewrite_kept(session, source, page)
                        continue
                    headers = _possible_headers(session, source.format, page.request.agent)
                    if not await self._rewrite_first(headers, session, source, page):
                        planned.append(Planned(key, session, headers))
                except Skipped as reason:
                    page.skip(key, str(reason))
        ids = [header.id for each in planned for header in each.headers]
        writer = ImportWriter(self._sessions, page, self._originals)
        await self._sessions.write_all(ids, writer.write(planned))

    async def _rewrite_first(
        self, headers: list[Header], session: ParsedSession, source: _Source, page: Page
    ) -> bool:
        """Rewrite the session of the first of the headers that is here, if that was asked for."""
        if not page.request.again:
            return False
        for header in headers:
            async with self._sessions.order(header.id):
                if await self._rewrite(header, session, source, page):
                    return True
        return False

    async def _rewrite_kept(self, session: ParsedSession, source: _Source, page: Page) -> None:
        """Rewrite the captured session that an original is of."""
        info, agent = session.info, page.request.agent
        header = header_of(info, source.format, agent or "")
        header = structs.replace(header, id=source.session_id(info.source_id) or header.id)
        async with self._sessions.order(header.id):
            if await self._threads.files(self._store.where, header.id) != "sessions":
                raise Skipped(f"{header.id} is not here any more")
            stored, _ = await self._threads.files(self._store.ends, header.id)
            header = structs.replace(header, agent=agent or stored.agent)
            await self._rewrite(header, session, source, page)

    async def _rewrite(self, header: Header, session: ParsedSession, source: _Source, page: Page) -> bool:
        """Make a stored session what its source says today, with what was added here since; False if not
        asked to, or there is none."""
        files, store = self._threads.files, self._store
        if not page.request.again or session.header is not None:
            return False
        if await files(store.where, header.id) != "sessions":
            return False
        if self._queues.busy(header.id):
            raise Skipped(f"a turn is under way in {header.id}, so it stays as it is")
        summary = await files(store.summary, header.id)
        if summary.agent != header.agent:
            raise Skipped(f"it is here already, as {header.id} of @{summary.agent}")
        records = await files(self._merged, header, session)
        page.note(summary)
        if records is None:
            page.unchanged += 1
            return True
        if not page.request.dry_run:
            summary = await files(store.rewrite, header, records, page.backup)
        messages = sum(record.role in {"user", "assistant"} for record in records)
        parent = summary.parent.session_id if isinstance(summary.parent, Parent) else UNSET
        page.imported.append(
            ImportedSession(header.id, header.agent, summary.title, source.key, messages, "rewritten", parent)
        )
        return True

    def _merged(self, header: Header, session: ParsedSession) -> list[Record] | None:
        """The session's records as they are to be, None when they are that already."""
        if session.records.size > _REWRITE_BYTES:
            raise Skipped(f"it has more than {_REWRITE_BYTES:,} bytes, too many to be read again")
        stored = list(records_after(self._store, header.id, 0))
        records = merged(stored, list(session.records))
        return None if records == stored else records

    def _set_last(self, agent: str, summary: Summary) -> None:
        """Make the newest imported session the agent's last, unless it had one before the import."""
        last = self._store.last_sessions.get(agent)
        if last is not None and (
            last != self._last_imported.get(agent)
            or self._store.summary(last).last_activity >= summary.last_activity
        ):
            return
        self._store.set_last(agent, summary.session_id)
        self._last_imported[agent] = summary.session_id


class _Listing(NamedTuple):
    """The formats and the sources of a path."""

    of: tuple[str | None, str]
    formats: list[str]
    sources: Sequence[_Source]
    backup: str
    """Where sessions that are rewritten are kept as they were."""


_Read = tuple[_Source, list[ParsedSession] | Skipped]
"""A source, and its sessions, or why they cannot be read."""


def _read(sources: Sequence[_Source], limits: SessionsConfig) -> list[_Read]:
    """The next sources, those that can be held in memory together."""
    read: list[_Read] = []
    size = 0
    for source in sources:
        try:
            sessions = source.read(limits)
            read.append((source, sessions))
            size += sum(session.records.in_memory for session in sessions)
        except Skipped as reason:
            read.append((source, reason))
        if size >= _READ_BYTES:
            break
    return read


def _list_sources(request: ImportSessions, kept: _KeptSources) -> _Listing:
    # Imported here: the readers would add a tenth to the daemon's start.
    from port42_daemon.transfer.readers.detect import sources

    backup = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-import"
    if request.path is None:
        return _Listing((None, request.format), *kept(), backup)
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
    return _Listing((request.path, request.format), formats, listed, backup)


def _possible_headers(session: ParsedSession, format_name: str, agent: str | None) -> list[Header]:
    """The header; for Port42's own sessions also one with another id, if the first is another session's.

    Raises `Skipped` where no agent is named.
    """
    owner = agent or session.info.agent
    if owner is None:
        raise Skipped("it names no agent, and none was given")
    if session.header is None:
        return [header_of(session.info, format_name, owner)]
    header = structs.replace(session.header, agent=owner)
    other_id = derived_id("port42", f"{header.id} {header.created_at} {header.agent}")
    source = header.imported_from or records.Source("port42", header.id)
    return [header, structs.replace(header, id=other_id, imported_from=source)]


def header_of(info: SessionInfo, format_name: str, agent: str) -> Header:
    """The header of a session of another program; its parent's `seq` is not known yet."""
    parent = Parent(derived_id(format_name, info.parent), 0) if info.parent else UNSET
    original = info.forked_from and derived_id(format_name, info.forked_from)
    return Header(
        id=derived_id(format_name, info.source_id),
        agent=agent,
        created_at=info.created_at or EPOCH,
        client="import",
        title=info.title,
        cwd=info.cwd,
        # Copies have the same places in both.
        forked_from=ForkPoint(original, info.shared) if original else None,
        imported_from=records.Source(format_name, info.source_id),
        parent=parent,
    )


def derived_id(format_name: str, source_id: str) -> str:
    """The same id for the same source, from whichever path it is read."""
    return f"{format_name}-{hashlib.sha256(source_id.encode()).hexdigest()[:16]}"
