"""Writes what an import read: new sessions, many with one wait for the disk, and what stored ones lack."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import chain, dropwhile, islice, takewhile
from operator import eq
from typing import Literal, NamedTuple, TypeAlias

from msgspec import UNSET, Struct, field, structs

from port42_daemon.sessions.service import Sessions, Written
from port42_daemon.store.interface import RENAMED, USAGE, Header, title_from
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.forks import copied_through, with_original
from port42_daemon.transfer.headers import in_parent
from port42_daemon.transfer.merge import copied, identity, is_of_source, tokens_of, without_tokens
from port42_daemon.transfer.readers.base import EPOCH, ParsedSession, Skipped, text_size
from port42_protocol.errors import RpcError
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
from port42_protocol.messages.transfer import ImportedSession, ImportSessions, SkippedSource

_BATCH = 2 * 1024 * 1024
"""Characters of one session that are written at once: it may be larger than the memory."""
_TOGETHER = 2 * 1024 * 1024
"""Characters of new sessions that are written at once."""
_DIVERGED = "it was continued here, or changed at its source; it stays as it is here"


Originals: TypeAlias = "dict[tuple[str, str, int], tuple[str, array[int]]]"
"""To find a fork's original: a session's id and marks, by agent, format and first mark."""


class Page(Struct):
    """The result of one call so far; `newest` has the last used of the sessions of each agent.

    `backup` is where sessions that are rewritten are kept as they were.
    """

    request: ImportSessions
    backup: str
    imported: list[ImportedSession] = field(default_factory=list)
    skipped: list[SkippedSource] = field(default_factory=list)
    unchanged: int = 0
    sub_agents: int = 0
    newest: dict[str, Summary] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    """The keys of sources of which something was not imported."""
    written: dict[str, list[str]] = field(default_factory=dict)
    """The sessions of sources, by their keys."""
    whole: dict[bytes, tuple[str, list[str]]] = field(default_factory=dict)
    """Fingerprints and sessions of the sources that were imported without a problem, by their locations."""
    begun: list[tuple[str, str, str]] = field(default_factory=list)
    """Of sessions: the mark of the first message, the format and the id."""

    def skip(self, key: str, reason: str, location: str = "") -> None:
        self.failed.add(key)
        source = f"{key}, {location}" if location else key
        # Paths have up to 4,096 characters, and the size of a response is limited.
        self.skipped.append(SkippedSource(source[:300], reason))

    def note(self, summary: Summary) -> None:
        if summary.parent is not None and summary.parent is not UNSET:
            return  # a sub-agent's session is never an agent's last
        newest = self.newest.get(summary.agent)
        if newest is None or newest.last_activity < summary.last_activity:
            self.newest[summary.agent] = summary


class Planned(NamedTuple):
    """A session of the source `key`; of the `headers` the first is used whose id is not another session's."""

    key: str
    session: ParsedSession
    headers: list[Header]

    @property
    def begins_with(self) -> tuple[str, str]:
        """The format, and the mark of the first message, which a fork has, too."""
        source = self.headers[0].imported_from
        return (source.format if source else "", self.session.info.first_mark)


class _New(NamedTuple):
    """A session that is to be begun with `batch`, and continued with the `rest`."""

    header: Header
    batch: list[Record]
    rest: Iterator[Record]
    key: str


class ImportWriter:
    """Writes for one call. Its methods block; each gives what it appended, step by step."""

    def __init__(
        self,
        sessions: Sessions,
        page: Page,
        originals: Originals,
        earlier: Mapping[tuple[str, str], str],
        promised: dict[str, int],
    ) -> None:
        """`earlier`: sessions that were imported before, by what they begin with. `promised`: how many
        messages the sessions would have that a dry run reported."""
        self._sessions = sessions
        self._store = sessions.store
        self._page = page
        self._dry_run = page.request.dry_run
        self._originals = originals
        self._earlier = earlier
        self._promised = promised
        self._new: dict[str, _New] = {}
        self._characters = 0

    def write(self, planned: Sequence[Planned]) -> Iterator[list[Written]]:
        """Create each session or append to it. Raises `StorageFailed`."""
        for each in planned:
            try:
                for header in each.headers:
                    if (yield from self._write(header, each)):
                        self._page.written.setdefault(each.key, []).append(header.id)
                        break
                else:
                    raise Skipped(f"{each.headers[0].id} is another session")
            except Skipped as reason:
                self._page.skip(each.key, str(reason))
        yield from self._create()

    def _write(self, header: Header, planned: Planned) -> Generator[list[Written], None, bool]:
        """Append to the session of `header`, or have it created; False when its id is another session's."""
        key, session = planned.key, planned.session
        yield from self._create_first(header.id)
        # One that says what it is a fork of is no original.
        fork_point = None if header.forked_from else (yield from self._fork_point(header, session))
        where = self._store.where(header.id)
        if where == "trash":
            raise Skipped(f"{header.id} is in the trash, and can be restored from there")
        if where is None and self._promised.get(header.id, -1) >= session.messages:
            self._page.unchanged += 1
            return True
        if where is None:
            fork_point = fork_point or (yield from self._earlier_fork_point(header, planned))
            if fork_point is not None:
                header = structs.replace(header, forked_from=fork_point)
            if header.forked_from is not None:
                yield from self._create_first(header.forked_from.session_id)
            elif isinstance(header.parent, Parent):
                yield from self._create_first(header.parent.session_id)
                header = in_parent(self._store, header, header.parent)
            header, copies = with_original(self._store, header, session.info)
            records = chain(copies, session.records)
            batch = _batch(records)
            self._note_beginning(header, planned)
            self._new[header.id] = _New(header, batch, records, key)
            self._characters += sum(map(_size, batch))
            if self._characters >= _TOGETHER:
                yield from self._create()
            return True
        later = self._later_records(header, session)
        if later is None:
            return False
        summary = self._store.summary(header.id)
        self._note_beginning(header, planned)
        # An interrupted import may not have set the agent's last session.
        self._page.note(summary)
        if batch := _batch(later):
            yield from self._append(_New(header, batch, later, key), summary.title, "grown")
        else:
            self._page.unchanged += 1
        return True

    def _create_first(self, session_id: str) -> Iterator[list[Written]]:
        """Create a session that another depends on, if that is still to be done."""
        if session_id in self._new:
            yield from self._create()

    def _create(self) -> Iterator[list[Written]]:
        """Create the new sessions, with one wait for the disk."""
        new, self._new, self._characters = list(self._new.values()), {}, 0
        if self._dry_run:
            for each in new:
                yield from self._append(each, each.header.title, "new")
                report = self._page.imported[-1]
                before = self._promised.get(report.session_id, 0)
                self._promised[report.session_id] = report.messages
                if before:  # of another file
                    self._page.imported[-1] = structs.replace(
                        report, messages=report.messages - before, change="grown"
                    )
            return
        failed: RpcError | None = None
        results = self._store.create_all([(each.header, each.batch) for each in new])
        for each, created in zip(new, results, strict=True):
            if isinstance(created, RpcError):
                failed = failed or created
            else:
                self._page.note(created[0])
                yield from self._append(each, created[0].title, "new")
        if failed is not None:
            raise failed

    def _append(
        self, source: _New, title: str | None, change: Literal["new", "grown"]
    ) -> Iterator[list[Written]]:
        """Append what the session has not yet, and report it. A new one has the first batch."""
        header, batch, messages = source.header, source.batch, 0
        is_stored = change == "new"
        while batch:
            messages += sum(record.role in {"user", "assistant"} for record in batch)
            if self._dry_run:
                title = _title_after(title, batch)
            elif not is_stored:
                written = self._sessions.write_later(header.id, batch)
                title = written.summary.title
                self._page.note(written.summary)
                yield [written]
            is_stored = False
            batch = _batch(source.rest)
        parent = header.parent.session_id if isinstance(header.parent, Parent) else UNSET
        self._page.imported.append(
            ImportedSession(header.id, header.agent, title, source.key, messages, change, parent)
        )

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
            begin = copied_through(stored, session.info)
            later, names = _compare(records_after(self._store, header.id, begin), session)
        except RpcError as error:
            raise Skipped(error.message) from None
        return chain(later, _later_title(footer.title, names, session))

    def _fork_point(
        self, header: Header, session: ParsedSession
    ) -> Generator[list[Written], None, ForkPoint | None]:
        """Where the session diverges from an imported one that begins with the same messages."""
        if header.imported_from is None or not session.marks or not session.marks[0]:
            return None
        begins = (header.agent, header.imported_from.format, session.marks[0])
        original, marks = self._originals.setdefault(begins, (header.id, session.marks))
        if original == header.id:
            return None
        yield from self._create_first(original)
        shared = sum(1 for _ in takewhile(bool, map(eq, marks, session.marks)))
        stored = records_after(self._store, original, 0)
        messages = (record for record in stored if isinstance(record, Message))
        try:
            last = next(islice(messages, shared - 1, None), None)
        except RpcError:  # it is not stored, as with a dry run
            return None
        return ForkPoint(original, last.seq if last else shared)

    def _earlier_fork_point(
        self, header: Header, planned: Planned
    ) -> Generator[list[Written], None, ForkPoint | None]:
        """The same with one of an earlier import, whose source need not be read again."""
        original = self._earlier.get(planned.begins_with, header.id)
        if header.forked_from is not None or original == header.id:
            return None
        yield from self._create_first(original)
        seq, _ = copied(records_after(self._store, original, 0), planned.session.records)
        return ForkPoint(original, seq) if seq else None

    def _note_beginning(self, header: Header, planned: Planned) -> None:
        format_name, mark = planned.begins_with
        if mark and header.forked_from is None:
            self._page.begun.append((mark, format_name, header.id))


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

    What an older version imported has messages only: it gets what follows from the next one on. Raises
    `Skipped` when they have diverged.
    """
    names: set[str | None] = set()
    has_activities = lacks_activities = False
    counted = (0, 0)  # tokens of stored events at a former end of the file
    theirs = settled(session)
    for record in stored:
        if isinstance(record, EventRecord) and record.event == RENAMED:
            names.add(record.title or None)
        if not is_of_source(record):
            continue
        has_activities = has_activities or not isinstance(record, Message)
        if _is_end_record(record):
            theirs, counted = _after_end_record(record, theirs, counted)
            continue
        for other in theirs:
            if _is_place_of(record, other):
                if not _is_same(record, other):
                    raise Skipped(_DIVERGED)
                break
            lacks_activities = True
        if any(tokens_of(record)):
            counted = (0, 0)
    if lacks_activities and not has_activities:
        theirs = dropwhile(lambda record: not isinstance(record, Message), theirs)
    return _without(counted, theirs), names


def _after_end_record(
    record: Record, theirs: Iterator[Record], counted: tuple[int, int]
) -> tuple[Iterator[Record], tuple[int, int]]:
    """The source's records behind one that a reader added at a former end, and the tokens of such events.

    A call may have a result by now, which comes as a record of its own, and tokens their message, or more
    tokens.
    """
    counted = (counted[0] + tokens_of(record)[0], counted[1] + tokens_of(record)[1])
    other = next(theirs, None)
    if other is None:
        return theirs, counted
    is_same = _is_end_record(other) and _is_same(record, other)
    if isinstance(record, EventRecord) and is_same and tokens_of(other) == counted:
        return theirs, (0, 0)
    if isinstance(record, ToolRecord) and is_same:
        return theirs, counted
    return chain([other], theirs), counted


def settled(session: ParsedSession) -> Iterator[Record]:
    """Its records without an event of tokens that the next message may have."""
    return islice(session.records, len(session.records) - session.info.has_open_tokens)


def _without(counted: tuple[int, int], records: Iterable[Record]) -> Iterator[Record]:
    """The records, of which the first one with tokens has only those that were not `counted` already."""
    for record in records:
        if any(counted) and any(tokens_of(record)):
            rest = without_tokens(record, counted)
            counted = (0, 0)
            if rest is not None:
                yield rest
        else:
            yield record


def _is_place_of(stored: Record, record: Record) -> bool:
    """Whether the source's record is the stored one, or a message in its place."""
    return isinstance(record, Message) or _is_same(stored, record)


def _is_end_record(record: Record) -> bool:
    """Whether a reader adds it at the end of a file, which may not be the end any more.

    It is a call without its result, or tokens without their message.
    """
    if isinstance(record, ToolRecord):
        return record.state == "interrupted"
    return isinstance(record, EventRecord) and record.event == USAGE


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
        size += _size(record)
        if size >= _BATCH:
            break
    return batch


def _size(record: Record) -> int:
    return 200 + text_size(record)
