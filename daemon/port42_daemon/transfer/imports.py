"""`import_sessions`: imports the sessions at a path, a bounded number in each call, without duplicates.

The id of an imported session is derived from its source, so that the next import finds it: new messages of
the source are appended; a session that was continued in Port42 is not changed (docs/decisions/0024).
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, dropwhile, islice, takewhile
from operator import eq
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from msgspec import UNSET, Struct, field, structs

from port42_daemon.config import ConfigFile, SessionsConfig
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import RENAMED, Header, title_from
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.merge import identity, is_of_source, merged
from port42_daemon.transfer.readers.base import (
    EPOCH,
    ParsedSession,
    SessionInfo,
    Skipped,
    SubAgent,
    text_size,
)
from port42_protocol.errors import InvalidParams, RpcError
from port42_protocol.messages import records
from port42_protocol.messages.records import (
    EventRecord,
    ForkPoint,
    Message,
    Parent,
    Record,
    Summary,
    ThoughtRecord,
    ToolRecord,
    UserMessage,
    replace,
)
from port42_protocol.messages.transfer import ImportedSession, ImportPage, ImportSessions, SkippedSource

_SOURCES = 50
_SECONDS = 0.5
"""Limits of one call: sources, and time, after which no further source is begun."""
_SKIPPED = 500
"""Maximum number of reasons in one response."""
_REWRITE_BYTES = 128 * 1024 * 1024
_BATCH = 2 * 1024 * 1024
"""Characters that are written at once: a session may be larger than the memory."""
_DIVERGED = "it was continued here, or changed at its source; it stays as it is here"
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
        self._originals: dict[tuple[str, str, int], tuple[str, array[int]]] = {}
        """To find a fork's original: a session's id and marks, by agent, format and first mark."""

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
        page = _Page(request, listing.backup)
        deadline = time.monotonic() + _SECONDS
        for source in sources[done : done + _SOURCES]:
            await self._import(source, page)
            done += 1
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

    async def _import(self, source: _Source, page: _Page) -> None:
        try:
            sessions = await self._threads.files(source.read, self._config.current.sessions)
        except SubAgent:
            page.sub_agents += 1
            return
        except Skipped as reason:
            page.skip(source.key, str(reason))
            return
        for location, problem in sessions[0].problems:
            page.skip(f"{source.key}, {location}" if location else source.key, problem)
        for session in sessions:
            try:
                await self._import_session(session, source, page)
            except Skipped as reason:
                page.skip(source.key, str(reason))

    async def _import_session(self, session: ParsedSession, source: _Source, page: _Page) -> None:
        if page.request.path is None:
            await self._rewrite_kept(session, source, page)
            return
        headers = _possible_headers(session, source.format, page.request.agent)
        for header in headers:
            async with self._sessions.order(header.id):
                if await self._rewrite(header, session, source, page):
                    return
                if await self._write(header, session, source, page):
                    return
        raise Skipped(f"{headers[0].id} is another session")

    async def _write(self, header: Header, session: ParsedSession, source: _Source, page: _Page) -> bool:
        """Create the session of `header` or append to it; False when its id belongs to another session."""
        files, store = self._threads.files, self._store
        new: Iterator[Record] | None = iter(session.records)
        # One that says what it is a fork of is no original.
        fork_point = None if header.forked_from else await files(self._fork_point, header, session)
        title, messages = header.title, 0
        where = await files(store.where, header.id)
        if where == "trash":
            raise Skipped(f"{header.id} is in the trash, and can be restored from there")
        if where == "sessions":
            new = await files(self._later_records, header, session)
            if new is None:
                return False
            summary = await files(store.summary, header.id)
            title = summary.title
            # An interrupted import may not have set the agent's last session.
            page.note(summary)
        elif fork_point is not None:
            header = structs.replace(header, forked_from=fork_point)
        elif isinstance(header.parent, Parent):
            header = structs.replace(header, parent=await files(self._with_seq, header.parent, header))
        batch = await files(_batch, new)
        if where and not batch:
            page.unchanged += 1
            return True
        exists = where is not None
        while batch or not exists:
            messages += sum(record.role in {"user", "assistant"} for record in batch)
            if page.request.dry_run:
                title = _title_after(title, batch)
            else:
                if exists:
                    summary = await self._sessions.add_later(header.id, batch)
                else:
                    summary = await files(store.create, header, batch)
                title = summary.title
                page.note(summary)
            exists = True
            batch = await files(_batch, new)
        change: Literal["new", "grown"] = "grown" if where else "new"
        parent = header.parent.session_id if isinstance(header.parent, Parent) else UNSET
        page.imported.append(
            ImportedSession(header.id, header.agent, title, source.key, messages, change, parent)
        )
        return True

    async def _rewrite_kept(self, session: ParsedSession, source: _Source, page: _Page) -> None:
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

    async def _rewrite(self, header: Header, session: ParsedSession, source: _Source, page: _Page) -> bool:
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

    def _later_records(self, header: Header, session: ParsedSession) -> Iterator[Record] | None:
        """Records of the source that the stored session lacks; None when that is another session."""
        try:
            stored, footer = self._store.ends(header.id)
            if stored.agent != header.agent and session.header is None:
                raise Skipped(f"it is here already, as {header.id} of @{stored.agent}")
            if not _same_origin(stored, header):
                return None
            if session.header is not None:
                return islice(
                    session.records, _shared(records_after(self._store, header.id, 0), session), None
                )
            later, names = _compare(records_after(self._store, header.id, 0), session)
        except RpcError as error:
            raise Skipped(error.message) from None
        return chain(later, _later_title(footer.title, names, session))

    def _fork_point(self, header: Header, session: ParsedSession) -> ForkPoint | None:
        """Where the session diverges from an imported one that begins with the same messages."""
        if header.imported_from is None or not session.marks or not session.marks[0]:
            return None
        begins = (header.agent, header.imported_from.format, session.marks[0])
        original, marks = self._originals.setdefault(begins, (header.id, session.marks))
        if original == header.id:
            return None
        shared = sum(1 for _ in takewhile(bool, map(eq, marks, session.marks)))
        stored = records_after(self._store, original, 0)
        messages = (record for record in stored if isinstance(record, Message))
        try:
            last = next(islice(messages, shared - 1, None), None)
        except RpcError:  # it is not stored, as with a dry run
            return None
        return ForkPoint(original, last.seq if last else shared)

    def _with_seq(self, parent: Parent, header: Header) -> Parent:
        """The last record of the parent before the sub-agent began; 0 where the parent is not stored."""
        seq = 0
        try:
            for record in records_after(self._store, parent.session_id, 0):
                if record.timestamp > header.created_at:
                    break
                seq = record.seq
        except RpcError:
            return parent
        return structs.replace(parent, seq=seq)

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


class _Page(Struct):
    """The result of one call so far; `newest` has the last used of the sessions of each agent."""

    request: ImportSessions
    backup: str
    imported: list[ImportedSession] = field(default_factory=list)
    skipped: list[SkippedSource] = field(default_factory=list)
    unchanged: int = 0
    sub_agents: int = 0
    newest: dict[str, Summary] = field(default_factory=dict)

    def skip(self, source: str, reason: str) -> None:
        # Paths have up to 4,096 characters, and the size of a response is limited.
        self.skipped.append(SkippedSource(source[:300], reason))

    def note(self, summary: Summary) -> None:
        if summary.parent is not None and summary.parent is not UNSET:
            return  # a sub-agent's session is never an agent's last
        newest = self.newest.get(summary.agent)
        if newest is None or newest.last_activity < summary.last_activity:
            self.newest[summary.agent] = summary


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


def _same_origin(stored: Header, header: Header) -> bool:
    """Whether a stored session was imported from that source, or is the source itself."""
    if header.imported_from is not None and header.imported_from.format != "port42":
        return stored.imported_from == header.imported_from and stored.agent == header.agent
    theirs = (header.agent, header.created_at, header.client)
    return (stored.agent, stored.created_at, stored.client) == theirs


def _shared(stored: Iterable[Record], session: ParsedSession) -> int:
    """The number of records that both have. Raises `Skipped` when they have diverged."""
    shared = 0
    for ours, theirs in zip(stored, session.records, strict=False):
        if replace(ours, seq=0) != replace(theirs, seq=0):
            raise Skipped(_DIVERGED)
        shared += 1
    return shared


def _compare(stored: Iterable[Record], session: ParsedSession) -> tuple[Iterator[Record], set[str | None]]:
    """The records of another program's session that are not stored, and the titles given in Port42.

    What an older version imported has messages only: it gets what follows its last one, and activities before
    that stay away. Raises `Skipped` when they have diverged.
    """
    names: set[str | None] = set()
    has_activities = False
    theirs = iter(session.records)
    for record in stored:
        if isinstance(record, EventRecord) and record.event == RENAMED:
            names.add(record.title or None)
        if not is_of_source(record):
            continue
        has_activities = has_activities or not isinstance(record, Message)
        if isinstance(record, ToolRecord) and record.state == "interrupted":
            # It may have a result by now, which comes as a record of its own.
            ahead = list(islice(theirs, 1))
            if not any(isinstance(other, ToolRecord) and _is_call(record, other) for other in ahead):
                theirs = chain(ahead, theirs)
            continue
        other = next((other for other in theirs if _is_place_of(record, other)), None)
        if other is not None and not _is_same(record, other):
            raise Skipped(_DIVERGED)
    if not has_activities:
        theirs = dropwhile(lambda record: not isinstance(record, Message), theirs)
    return theirs, names


def _is_place_of(stored: Record, record: Record) -> bool:
    """Whether the source's record is the stored one, or a message in its place."""
    return isinstance(record, Message) or _is_same(stored, record)


def _is_call(stored: ToolRecord, record: ToolRecord) -> bool:
    return stored.id == record.id and stored.state == record.state


def _is_same(stored: Record, record: Record) -> bool:
    # How much is kept of a thought is configured.
    is_thought = isinstance(stored, ThoughtRecord) and isinstance(record, ThoughtRecord)
    return is_thought or identity(stored) == identity(record)


def _later_title(title: str | None, names: set[str | None], session: ParsedSession) -> list[Record]:
    """A record of the source's new title, unless the session was renamed in Port42."""
    info = session.info
    if info.title in {None, title} or not names.issubset(info.titles):
        return []
    return [EventRecord(seq=0, event=RENAMED, timestamp=info.last_time or EPOCH, title=info.title or "")]


def _title_after(title: str | None, added: list[Record]) -> str | None:
    """The title that a session has with these records, as the store derives it."""
    for record in added:
        if isinstance(record, UserMessage):
            title = title or title_from(record.content)
        elif isinstance(record, EventRecord) and (record.title or record.event == RENAMED):
            title = record.title or None
    return title


def _batch(records: Iterator[Record]) -> list[Record]:
    """The next records, up to `_BATCH` characters."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += 200 + text_size(record)
        if size >= _BATCH:
            break
    return batch
