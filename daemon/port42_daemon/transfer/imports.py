"""`import_sessions`: imports the sessions at a path, a bounded number in a call, and never the same twice.

An imported session has an id that follows from its source, so the next import finds it: new messages at
the source are appended here, and a session that was continued here stays as it is (docs/decisions/0024).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from port42_daemon.executors import Threads
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Header, SessionStore
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.readers.base import EPOCH, ParsedSession, Skipped
from port42_daemon.transfer.readers.detect import Source, sources
from port42_daemon.transfer.readers.files import TooMany
from port42_protocol.errors import InvalidParams, RpcError
from port42_protocol.messages import records
from port42_protocol.messages.records import AssistantMessage, Message, Record, Summary, replace
from port42_protocol.messages.transfer import ImportedSession, ImportPage, ImportSessions, SkippedSource

_SOURCES = 50
_SECONDS = 0.5
"""A call ends after so many sources, or the one in whose work this time is up."""
_SKIPPED = 500
"""Reasons that one answer has room for."""
_WITHOUT_AGENTS = frozenset({"claude", "codex", "llm", "aichat"})


class Importer:
    """The handler of `import_sessions`."""

    def __init__(self, store: SessionStore, threads: Threads, sessions: Sessions) -> None:
        self._store = store
        self._threads = threads
        self._sessions = sessions
        self._last_imported: dict[str, str] = {}
        """Each agent's last session where an import set it, until the agent uses another."""

    async def import_sessions(self, request: ImportSessions) -> ImportPage:
        """Import the next sources in their order; each that cannot be imported is skipped with a reason."""
        format_name, waiting = await self._threads.files(_sources, request)
        if format_name in _WITHOUT_AGENTS and request.agent is None:
            raise InvalidParams(
                f"agent parameter required: {format_name} knows no agents",
                field="agent",
                expected="the agent whose sessions they become",
            )
        done = sum(source.key <= request.cursor for source in waiting) if request.cursor else 0
        page = _Page(format_name, request, done, len(waiting))
        for source in waiting[done:]:
            await self._import(source, page)
            if page.is_full():
                break
        if not request.dry_run:
            for agent, summary in page.newest.items():
                await self._threads.files(self._set_last, agent, summary)
        return page.answer(waiting)

    async def _import(self, source: Source, page: _Page) -> None:
        page.done += 1
        try:
            session = await self._threads.files(source.read)
            for location, reason in session.all_problems():
                page.skip(f"{source.key}, {location}" if location else source.key, reason)
            headers = _possible_headers(session, page.format, page.request.agent)
            for header in headers:
                async with self._sessions.order(header.id):
                    if await self._write(header, session, source, page):
                        return
            raise Skipped(f"{headers[0].id} is another session")
        except Skipped as reason:
            page.skip(source.key, str(reason))

    async def _write(self, header: Header, session: ParsedSession, source: Source, page: _Page) -> bool:
        """Create or grow the session of `header`; False when its id is another session's."""
        files, store = self._threads.files, self._store
        new = session.records
        change: Literal["new", "grown"] = "new"
        where = await files(store.where, header.id)
        if where == "sessions":
            try:
                stored_header, _ = await files(store.ends, header.id)
                stored: list[Record] = await files(list, records_after(store, header.id, 0))
            except RpcError as error:
                raise Skipped(error.message) from None
            if stored_header.agent != header.agent and session.header is None:
                raise Skipped(f"it is here already, as {header.id} of @{stored_header.agent}")
            if not _same_origin(stored_header, header):
                return False
            new, change = _new_records(stored, session), "grown"
            if not new:
                page.unchanged += 1
                # An import that was cut short may not have set the agent's last session: this one does.
                page.note(await files(store.summary, header.id))
                return True
        elif where == "trash":
            raise Skipped(f"{header.id} is in the trash, and can be restored from there")
        title = header.title
        if not page.request.dry_run:
            if change == "new":
                summary = await files(store.create, header, new)
            else:
                summary = await self._sessions.add_later(header.id, new)
            title = summary.title
            page.note(summary)
        messages = sum(record.role in {"user", "assistant"} for record in new)
        page.imported.append(ImportedSession(header.id, header.agent, title, source.key, messages, change))
        return True

    def _set_last(self, agent: str, summary: Summary) -> None:
        """Make the newest imported session the agent's last, unless it had one before the import."""
        last = self._store.last_sessions.get(agent)
        if last is not None and last != self._last_imported.get(agent):
            return
        if last is not None and self._store.summary(last).last_activity >= summary.last_activity:
            return
        self._store.set_last(agent, summary.session_id)
        self._last_imported[agent] = summary.session_id


class _Page:
    """The result of one call so far."""

    def __init__(self, format_name: str, request: ImportSessions, done: int, total: int) -> None:
        self.format, self.request = format_name, request
        self.done, self.total = done, total
        self.imported: list[ImportedSession] = []
        self.skipped: list[SkippedSource] = []
        self.unchanged = 0
        self.newest: dict[str, Summary] = {}
        self._first = done
        self._deadline = time.monotonic() + _SECONDS

    def skip(self, source: str, reason: str) -> None:
        # A path may have 4,096 characters, and an answer has its limit.
        self.skipped.append(SkippedSource(source[:300], reason))

    def note(self, summary: Summary) -> None:
        newest = self.newest.get(summary.agent)
        if newest is None or newest.last_activity < summary.last_activity:
            self.newest[summary.agent] = summary

    def is_full(self) -> bool:
        many = self.done - self._first >= _SOURCES or len(self.skipped) >= _SKIPPED
        return many or time.monotonic() >= self._deadline

    def answer(self, waiting: Sequence[Source]) -> ImportPage:
        return ImportPage(
            format=self.format,
            imported=tuple(self.imported),
            skipped=tuple(self.skipped),
            unchanged=self.unchanged,
            done=self.done,
            total=self.total,
            next_cursor=waiting[self.done - 1].key if self.done < self.total else None,
        )


def _sources(request: ImportSessions) -> tuple[str, list[Source]]:
    path = Path(request.path)
    expected = "an absolute path of sessions to import"
    try:
        if not path.exists():
            raise Skipped("there is nothing there")
        return sources(path.resolve(), request.format)
    except Skipped as reason:
        raise InvalidParams.expecting("path", expected, why=str(reason)) from None
    except TooMany:
        expected = "a folder of sessions, not one with more than 100,000 files"
        raise InvalidParams.expecting("path", expected) from None
    except OSError:
        raise InvalidParams.expecting("path", expected, why="it cannot be looked at") from None


def _possible_headers(session: ParsedSession, format_name: str, agent: str | None) -> list[Header]:
    """The header, and a second for one of our own whose id another session may have.

    Raises `Skipped` where no agent is named.
    """
    owner = agent or session.agent
    if owner is None:
        raise Skipped("it names no agent, and none was given")
    if session.header is None:
        header = Header(
            id=_derived_id(format_name, session.source_id),
            agent=owner,
            created_at=session.created_at or EPOCH,
            client="import",
            title=session.title,
            cwd=session.cwd,
            imported_from=records.Source(format_name, session.source_id),
        )
        return [header]
    header = msgspec.structs.replace(session.header, agent=owner)
    other_id = _derived_id("port42", f"{header.id} {header.created_at} {header.agent}")
    source = header.imported_from or records.Source("port42", header.id)
    return [header, msgspec.structs.replace(header, id=other_id, imported_from=source)]


def _derived_id(format_name: str, source_id: str) -> str:
    """The same for the same source, whenever and from whichever path it is read."""
    return f"{format_name}-{hashlib.sha256(source_id.encode()).hexdigest()[:16]}"


def _same_origin(stored: Header, header: Header) -> bool:
    """Whether a stored session was imported from there, or is that very session."""
    if header.imported_from is not None and header.imported_from.format != "port42":
        return stored.imported_from == header.imported_from and stored.agent == header.agent
    theirs = (header.agent, header.created_at, header.client)
    return (stored.agent, stored.created_at, stored.client) == theirs


def _new_records(stored: Sequence[Record], session: ParsedSession) -> list[Record]:
    """The records that only the source has. Raises `Skipped` when both have some of their own."""
    ours, theirs = list(stored), session.records
    if session.header is None:
        # Names, tags and pins given here do not count; a format without times has its file's.
        ours = [_comparable(record) for record in stored if isinstance(record, Message)]
        theirs = [_comparable(record) for record in session.records]
    shared = min(len(ours), len(theirs))
    if ours[:shared] != theirs[:shared]:
        raise Skipped("it was continued here, or changed at its source; the session here stays as it is")
    return session.records[shared:]


def _comparable(record: Record) -> Record:
    record = replace(record, seq=0, timestamp="")
    return replace(record, turn=UNSET) if isinstance(record, AssistantMessage) else record
