"""`import_sessions`: brings in what a path holds, a bounded piece at a call, and never the same twice.

A session that comes in has an id that follows from where it came from, so the next import finds it: what
grew at its source grows here, what was gone on with here stays as it is (docs/decisions/0024).
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET, structs

from port42_daemon.executors import Threads
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Store
from port42_daemon.store.session_file.document import Header
from port42_daemon.transfer.readers.base import EPOCH, Found, Skipped
from port42_daemon.transfer.readers.detect import Source, sources
from port42_daemon.transfer.readers.files import TooMany
from port42_protocol.errors import InvalidParams, RpcError
from port42_protocol.messages import records
from port42_protocol.messages.records import Message, Summary
from port42_protocol.messages.transfer import ImportedSession, ImportPage, ImportSessions, SkippedSource

_SOURCES = 50
_SECONDS = 0.5
"""A call ends after so many sources, or the one in whose work this time is up."""
_SKIPPED = 500
"""Reasons that one answer has room for."""
_READ_AT_ONCE = 1000
_READ_BYTES = 4 * 1024 * 1024
_NAMELESS = frozenset({"claude", "codex", "llm", "aichat"})
"""Formats that know nothing of agents."""


class Importing:
    """The import, over a store."""

    def __init__(self, store: Store, threads: Threads, sessions: Sessions) -> None:
        self._store = store
        self._threads = threads
        self._sessions = sessions
        self._given: dict[str, str] = {}
        """Last sessions that agents have from an import, until they use another."""

    async def import_sessions(self, request: ImportSessions) -> ImportPage:
        """The next sources, in their order; what cannot be had is skipped with a reason."""
        named, waiting = await self._threads.files(_sources, request)
        if named in _NAMELESS and request.agent is None:
            raise InvalidParams(
                f"agent parameter required: {named} knows no agents",
                field="agent",
                expected="the agent whose sessions they become",
            )
        done = [one for one in waiting if request.cursor is not None and one.key <= request.cursor]
        page = _Page(named, request, len(done), len(waiting))
        for source in waiting[len(done) :]:
            await self._bring(source, page)
            if page.full():
                break
        if not request.dry_run:
            for agent, summary in page.newest.items():
                await self._threads.files(self._give_last, agent, summary)
        return page.answer(waiting)

    async def _bring(self, source: Source, page: _Page) -> None:
        page.done += 1
        try:
            found = await self._threads.files(source.read)
            for place, reason in found.all_problems():
                page.skip(f"{source.key}, {place}" if place else source.key, reason)
            header = _header(found, page.named, page.asked.agent)
            for candidate in _candidates(header, found):
                if await self._settled(candidate, found, source, page):
                    return
            raise Skipped(f"{header.id} is another session")
        except Skipped as reason:
            page.skip(source.key, str(reason))

    async def _settled(self, header: Header, found: Found, source: Source, page: _Page) -> bool:
        """Create or continue the session of `header`; False when its id is another session's."""
        async with self._sessions.order(header.id):
            if not await self._threads.files(self._store.exists, header.id):
                if await self._threads.files(self._store.taken, header.id):
                    raise Skipped(f"{header.id} is in the trash, and can be restored from there")
                await self._create(header, found, source, page)
                return True
            try:
                here = await self._threads.files(self._here, header.id)
            except RpcError as error:
                raise Skipped(error.message) from None
            if here[0].agent != header.agent and found.whole is None:
                raise Skipped(f"it is here already, as {header.id} of @{here[0].agent}")
            if not _same_origin(here[0], header):
                return False
            new = _later(here[1], found)
            if new:
                await self._grow(header, new, source, page)
            else:
                page.unchanged += 1
                # An import that was cut short may not have got to the mapping: the next one mends it.
                page.note(await self._threads.files(self._store.summary, header.id))
            return True

    def _here(self, session_id: str) -> tuple[Header, list[Message]]:
        records: list[Message] = []
        onward: int | None = 0
        while onward is not None:
            some, onward = self._store.read(
                session_id, after_seq=onward, limit=_READ_AT_ONCE, max_bytes=_READ_BYTES, events=True
            )
            records += some
        return self._store.header(session_id), records

    async def _create(self, header: Header, found: Found, source: Source, page: _Page) -> None:
        title = header.title
        if not page.asked.dry_run:
            summary = await self._threads.files(self._store.create, header, found.records)
            title = summary.title
            page.note(summary)
        page.imported.append(
            ImportedSession(header.id, header.agent, title, source.key, _said(found.records), "new")
        )

    async def _grow(self, header: Header, new: list[Message], source: Source, page: _Page) -> None:
        title = header.title
        if not page.asked.dry_run:
            summary = await self._sessions.grow(header.id, new)
            title = summary.title
            page.note(summary)
        page.imported.append(ImportedSession(header.id, header.agent, title, source.key, _said(new), "grown"))

    def _give_last(self, agent: str, summary: Summary) -> None:
        """The newest of an import is the last session of an agent that had none before the import."""
        last = self._store.last(agent)
        if last is not None and last != self._given.get(agent):
            return
        if last is not None and self._store.summary(last).last_activity >= summary.last_activity:
            return
        self._store.set_last(agent, summary.session_id)
        self._given[agent] = summary.session_id


class _Page:
    """What one call has come to so far."""

    def __init__(self, named: str, request: ImportSessions, done: int, total: int) -> None:
        self.named, self.asked = named, request
        self.done, self.total = done, total
        self.imported: list[ImportedSession] = []
        self.skipped: list[SkippedSource] = []
        self.unchanged = 0
        self.newest: dict[str, Summary] = {}
        self._first = done
        self._until = time.monotonic() + _SECONDS

    def skip(self, source: str, reason: str) -> None:
        # A path may have 4,096 characters, and an answer has its limit.
        self.skipped.append(SkippedSource(source[:300], reason))

    def note(self, summary: Summary) -> None:
        before = self.newest.get(summary.agent)
        if before is None or before.last_activity < summary.last_activity:
            self.newest[summary.agent] = summary

    def full(self) -> bool:
        many = self.done - self._first >= _SOURCES or len(self.skipped) >= _SKIPPED
        return many or time.monotonic() >= self._until

    def answer(self, waiting: Sequence[Source]) -> ImportPage:
        return ImportPage(
            format=self.named,
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
        raise InvalidParams(f"path: expected {expected}: {reason}", field="path", expected=expected) from None
    except TooMany:
        expected = "a folder of sessions, not one with more than 100,000 files"
        raise InvalidParams(f"path: expected {expected}", field="path", expected=expected) from None
    except OSError:
        raise InvalidParams(
            f"path: expected {expected}: it cannot be looked at", field="path", expected=expected
        ) from None


def _header(found: Found, named: str, agent: str | None) -> Header:
    """What the session is begun with. Raises `Skipped` where nobody is named whose it would be."""
    owner = agent or found.agent
    if owner is None:
        raise Skipped("it names no agent, and none was given")
    if found.whole is not None:
        return dataclasses.replace(found.whole, agent=owner)
    return Header(
        id=_derived(named, found.source_id),
        agent=owner,
        created_at=found.created_at or EPOCH,
        client="import",
        title=found.title,
        cwd=found.cwd,
        imported_from=records.Source(named, found.source_id),
    )


def _candidates(header: Header, found: Found) -> list[Header]:
    """The headers it may have. One of our own keeps its id, unless another session has that."""
    if found.whole is None:
        return [header]
    apart = _derived("port42", f"{header.id} {header.created_at} {header.agent}")
    source = header.imported_from or records.Source("port42", header.id)
    return [header, dataclasses.replace(header, id=apart, imported_from=source)]


def _derived(named: str, source_id: str) -> str:
    """The same for the same source, whenever and from wherever it is read."""
    return f"{named}-{hashlib.sha256(source_id.encode()).hexdigest()[:16]}"


def _same_origin(here: Header, wanted: Header) -> bool:
    """Whether a session that is here came from there, or is that very one."""
    if wanted.imported_from is not None and wanted.imported_from.format != "port42":
        return here.imported_from == wanted.imported_from and here.agent == wanted.agent
    return (here.agent, here.created_at, here.client) == (wanted.agent, wanted.created_at, wanted.client)


def _later(here: Sequence[Message], found: Found) -> list[Message]:
    """What the source has more than the session here. Raises `Skipped` when both went on by themselves."""
    if found.whole is not None:
        ours, theirs = list(here), found.records
    else:
        # Names, tags and pins given here are no going on; a format without times has its file's.
        ours = [_compared(one) for one in here if one.role != "event"]
        theirs = [_compared(one) for one in found.records]
    shared = min(len(ours), len(theirs))
    if ours[:shared] != theirs[:shared]:
        raise Skipped("it was gone on with here since, or changed at its source; what is here stays")
    return found.records[shared:]


def _compared(one: Message) -> Message:
    return structs.replace(one, seq=0, timestamp="", turn=UNSET)


def _said(records: Sequence[Message]) -> int:
    return sum(one.role in {"user", "assistant"} for one in records)
