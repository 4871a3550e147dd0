"""`import_sessions`: imports the sessions at a path, a bounded number in each call, without duplicates.

The id of an imported session is derived from its source, so that the next import finds it: new messages of
the source are appended; a session that was continued in Port42 is not changed (docs/decisions/0024).
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, structs

from port42_daemon.config import ConfigFile, SessionsConfig
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Header
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.forks import copied_through, join_forks
from port42_daemon.transfer.headers import derived_id, header_of
from port42_daemon.transfer.import_sources import (
    ImportHistory,
    KeptSources,
    Listing,
    Source,
    cursor_of,
    list_sources,
    position,
    position_of,
)
from port42_daemon.transfer.import_writer import ImportWriter, Originals, Page, Planned, settled
from port42_daemon.transfer.merge import merged
from port42_daemon.transfer.readers.base import (
    NoMessages,
    ParsedSession,
    Skipped,
    SubAgent,
)
from port42_protocol.errors import InvalidParams
from port42_protocol.messages import records
from port42_protocol.messages.records import (
    Parent,
    Record,
    Summary,
)
from port42_protocol.messages.transfer import ImportedSession, ImportPage, ImportSessions

if TYPE_CHECKING:
    from port42_daemon.transfer.capture.progress import Progress

_SOURCES = 1000
_SECONDS = 0.5
"""Limits of one call: sources, and time, after which no further source is begun."""
_TOGETHER = 50
_READ_BYTES = 2 * 1024 * 1024
"""Limits of what is read before it is written: sources, and bytes of their records."""
_KEPT_SECONDS = 60.0
"""How long what was listed, and what was unpacked of a zip, waits for the next page."""
_SKIPPED = 500
"""Maximum number of reasons in one response."""
_REWRITE_BYTES = 128 * 1024 * 1024
_WITH_AGENTS = frozenset({"port42", "original"})


class Importer:
    """Handles `import_sessions`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it works with
        self,
        sessions: Sessions,
        queues: SessionQueues,
        config: ConfigFile,
        kept: KeptSources,
        progress: Callable[[], Progress],
        home: Path,
    ) -> None:
        """`progress` is as in `ImportHistory`; what is below `home` is no session of another one."""
        self._store, self._threads = sessions.store, sessions.threads
        self._sessions = sessions
        self._queues = queues
        self._config = config
        self._kept = kept
        self._home = home.resolve()
        self._history = ImportHistory(sessions.store, sessions.threads, progress)
        self._last_imported: dict[str, str] = {}
        """Each agent's last session as set by an import, until the agent uses another."""
        self._listing: Listing | None = None
        """The sources of the latest import, for its next page."""
        self._originals: Originals = {}
        self._promised: dict[str, int] = {}
        """Messages of the sessions that the latest dry run reported."""
        self._forgetting: asyncio.TimerHandle | None = None

    async def import_sessions(self, request: ImportSessions, cancellation: Cancellation) -> ImportPage:
        """Import the next sources; those that cannot be imported are skipped with a reason.

        Cancelled, it ends after the sources that it reads together: what was imported stays.
        """
        if request.path is None and not request.again:
            raise InvalidParams.expecting("path", "an absolute path, or `again`", why="none is given")
        if self._forgetting is not None:
            self._forgetting.cancel()
        try:
            return await self._import_page(request, cancellation)
        finally:
            # Who gives up asks for no further page.
            self._forgetting = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._forget)

    def _forget(self) -> None:
        """Let go of what was listed, and so of what was unpacked."""
        self._listing = None
        self._originals.clear()
        self._promised.clear()

    async def _import_page(self, request: ImportSessions, cancellation: Cancellation) -> ImportPage:
        if request.cursor is None:
            self._promised.clear()
        listing = await self._list(request)
        sources, done = listing.sources, 0
        if request.cursor is not None:
            done = bisect_right(sources, position_of(request.cursor), key=position)
        page = Page(request, listing.backup)
        if listing.own and request.cursor is None:
            page.unchanged += listing.own
        done += await self._import_some(sources[done : done + _SOURCES], page, cancellation)
        if not request.dry_run:
            for agent, summary in page.newest.items():
                await self._threads.files(self._set_last, agent, summary)
            if request.agent is not None and not request.again:
                await self._history.remember(request.agent, page.whole, page.begun)
        cancellation.check()
        if page.sub_agents:
            page.skip(f"{page.sub_agents:,} of sub-agents", "their transcripts are parts of other sessions")
        complete = done == len(sources)
        if complete:
            self._forget()
        return ImportPage(
            format=", ".join(listing.formats),
            imported=tuple(page.imported),
            skipped=tuple(page.skipped),
            unchanged=page.unchanged,
            done=done,
            total=len(sources),
            next_cursor=None if complete else cursor_of(sources[done - 1]),
        )

    async def _list(self, request: ImportSessions) -> Listing:
        listing = self._listing
        if listing is None or request.cursor is None or listing.of != (request.path, request.format):
            listing = await self._threads.files(list_sources, request, self._kept, self._home)
            self._listing = listing
        needs_agent = request.path is not None and _WITH_AGENTS.isdisjoint(listing.formats)
        if needs_agent and request.agent is None:
            raise InvalidParams(
                f"agent parameter required: sessions of {', '.join(listing.formats)} name no agent",
                field="agent",
                expected="the agent whose sessions they become",
            )
        return listing

    async def _import_some(self, sources: Sequence[Source], page: Page, cancellation: Cancellation) -> int:
        """Import sources for a limited time; returns how many."""
        deadline = time.monotonic() + _SECONDS
        agent, done = page.request.agent, 0
        unchanged: dict[str, list[str]] = {}
        # An agent without a last session gets one from what is read.
        if agent is not None and agent in self._store.last_sessions and not page.request.again:
            unchanged = await self._history.unchanged(sources, agent)
        while done < len(sources):
            limits = self._config.current.sessions
            some = sources[done : done + _TOGETHER]
            read = await self._threads.files(_read, some, unchanged, limits)
            await self._import(read, page)
            done += len(read)
            if cancellation.requested or len(page.skipped) >= _SKIPPED or time.monotonic() >= deadline:
                break
        return done

    async def _import(self, read: Sequence[_Read], page: Page) -> None:
        """Write what was read from some sources."""
        planned = [each for source in read for each in await self._planned(source, page)]
        originals = await self._history.originals([each.begins_with for each in planned])
        ids = [header.id for each in planned for header in each.headers]
        writer = ImportWriter(self._sessions, page, self._originals, originals, self._promised)
        await self._sessions.write_all(ids, writer.write(planned))
        if ids and not page.request.dry_run:
            await join_forks(self._sessions, self._queues, ids, page.backup)
        for each in read:
            if isinstance(each.sessions, NoMessages):
                # Where Gemini CLI resumes a session, it begins another file, without messages.
                if not await self._is_here(each.sessions, each.source):
                    page.skip(each.source.key, str(each.sessions))
            elif each.fingerprint and each.source.key not in page.failed:
                page.whole[each.source.location()] = each.fingerprint, page.written.get(each.source.key, [])

    async def _planned(self, read: _Read, page: Page) -> list[Planned]:
        """The sessions of a source that are to be written, but for those that are rewritten at once."""
        key, sessions = read.source.key, read.sessions
        if read.unchanged is not None or isinstance(sessions, SubAgent):
            page.unchanged += len(read.unchanged or ())
            page.sub_agents += not read.unchanged
            return []
        if isinstance(sessions, NoMessages):
            return []
        if isinstance(sessions, Skipped):
            page.skip(key, str(sessions))
            return []
        for location, problem in sessions[0].problems:
            page.skip(key, problem, location)
        planned: list[Planned] = []
        for session in sessions:
            try:
                if page.request.path is None:
                    await self._rewrite_kept(session, read.source, page)
                    continue
                headers = _possible_headers(session, read.source.format, page.request.agent)
                if not await self._rewrite_first(headers, session, read.source, page):
                    planned.append(Planned(key, session, headers))
            except Skipped as reason:
                page.skip(key, str(reason))
        return planned

    async def _is_here(self, nothing: NoMessages, source: Source) -> bool:
        session_id = derived_id(source.format, nothing.source_id)
        return await self._threads.files(self._store.where, session_id) is not None

    async def _rewrite_first(
        self, headers: list[Header], session: ParsedSession, source: Source, page: Page
    ) -> bool:
        """Rewrite the session of the first of the headers that is here, if that was asked for."""
        if not page.request.again:
            return False
        for header in headers:
            async with self._sessions.order(header.id):
                if await self._rewrite(header, session, source, page):
                    return True
        return False

    async def _rewrite_kept(self, session: ParsedSession, source: Source, page: Page) -> None:
        """Rewrite the captured session that an original is of."""
        info, agent = session.info, page.request.agent
        header = header_of(info, source.format, agent or "")
        header = structs.replace(header, id=source.session_id(info.source_id) or header.id)
        async with self._sessions.order(header.id):
            if (where := await self._threads.files(self._store.where, header.id)) != "sessions":
                raise Skipped(_not_here(header.id, source, in_trash=where == "trash"))
            stored, _ = await self._threads.files(self._store.ends, header.id)
            header = structs.replace(header, agent=agent or stored.agent)
            await self._rewrite(header, session, source, page)

    async def _rewrite(self, header: Header, session: ParsedSession, source: Source, page: Page) -> bool:
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
            # What is copied in it stays, wherever its source says that it was forked.
            stored, _ = await files(store.ends, header.id)
            header = structs.replace(header, forked_from=stored.forked_from)
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
        copies = copied_through(self._store.ends(header.id)[0], session.info)
        records = [*stored[:copies], *merged(stored[copies:], list(settled(session)), copies)]
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


class _Read(NamedTuple):
    """A source, and its sessions, or why they cannot be read, or their ids, if it is `unchanged`.

    `fingerprint` is that of the source before it was read.
    """

    source: Source
    fingerprint: str
    sessions: list[ParsedSession] | Skipped
    unchanged: list[str] | None = None


def _read(
    sources: Sequence[Source], unchanged: Mapping[str, list[str]], limits: SessionsConfig
) -> list[_Read]:
    """The next sources, those that can be held in memory together."""
    read: list[_Read] = []
    size = 0
    for source in sources:
        if source.key in unchanged:
            read.append(_Read(source, "", [], unchanged[source.key]))
            continue
        fingerprint = source.fingerprint()
        try:
            sessions = source.read(limits)
            read.append(_Read(source, fingerprint, sessions))
            size += sum(session.records.in_memory for session in sessions)
        except Skipped as reason:
            read.append(_Read(source, fingerprint, reason))
        except OSError as error:  # of temporary files: a reader says itself what is wrong with its source
            why = os.strerror(error.errno or 0).lower()
            unwritten = Skipped(f"it needs a temporary file, which cannot be written: {why}")
            read.append(_Read(source, fingerprint, unwritten))
        if size >= _READ_BYTES:
            break
    return read


def _not_here(session_id: str, source: Source, *, in_trash: bool) -> str:
    """Why a session that was captured cannot be read again, and what to type."""
    if in_trash:
        return f"{session_id} is in the trash: `port42 restore {session_id}` brings it back"
    if not source.restorable():
        return f"{session_id} is not here any more"
    what = f"{session_id} is not here any more: `port42 capture restore {session_id}` writes its file back"
    return f"{what}, and `port42 import FILE @AGENT` reads that"


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
