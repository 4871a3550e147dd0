"""What a session of this machine becomes when the hub has something else of it. Everything here blocks.

The caller holds the session's queue and its order, so that nothing is recorded meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from msgspec import UNSET, Struct, structs

from port42_daemon.hub.database import Fetched, Row
from port42_daemon.hub.lines import (
    ALL,
    Line,
    attributed,
    checksum,
    event_name,
    header_of,
    only_labels,
    records_of,
    shared,
)
from port42_daemon.hub.progress import NO_FILE, Known
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import (
    FORKED,
    RESTORED,
    TRASHED,
    Header,
    StoredLines,
)
from port42_protocol.errors import SessionExists, SessionNotFound
from port42_protocol.messages.events import (
    DeletedEvent,
    MessageEvent,
    NoticeEvent,
    RestoredEvent,
    SessionEvent,
)
from port42_protocol.messages.records import EventRecord, ForkPoint, Record, Summary, replace

log = logging.getLogger(__name__)

_MOVES = frozenset({TRASHED, RESTORED})
_TITLE = 120


class Applied(Struct, frozen=True):
    """What came of it: what both sides have now, and what subscribers are to be told.

    `unpushed`: the session has records that the hub lacks. `fork` has what was recorded here while others
    were recorded elsewhere.
    """

    known: Known
    summary: Summary
    events: Sequence[SessionEvent]
    unpushed: bool
    fork: Summary | None = None


class Outdated(Exception):
    """The session was replaced here since it was said from which seq on it was to be fetched."""


class LocalSessions:
    """Changes sessions here into what the hub has, where this machine is one of `owner`.

    `machine` is the name that forks are given, `backup` that of the folder for what is replaced.
    """

    def __init__(self, sessions: Sessions, owner: str, machine: str, backup: str) -> None:
        self._sessions = sessions
        self._store = sessions.store
        self._owner = owner
        self._machine = machine
        self._backup = backup

    def lines(self, session_id: str, after: int, max_bytes: int = ALL) -> StoredLines | None:
        """Records after a seq; None where there is no such session, not in the trash either."""
        try:
            return self._store.lines(session_id, after, max_bytes)
        except SessionNotFound:
            return None

    def end(self, session_id: str) -> tuple[int, int] | None:
        """Generation and last seq; None where there is no such session."""
        stored = self.lines(session_id, ALL, 1)
        return None if stored is None else (stored.header.generation or 0, stored.footer.last_seq)

    def checksum(self, session_id: str, seq: int) -> int:
        """The CRC-32 of that record; 0 where there is none."""
        stored = self.lines(session_id, seq - 1, 1)
        return checksum(stored.lines, seq) if stored is not None else 0

    def apply(self, fetched: Fetched, known: Known | None, offset_ms: int, may_push: bool = True) -> Applied:
        """Bring the session to what was fetched. Unless `may_push`, what was said here becomes a fork.

        Raises `RpcError`, `Outdated`, and `msgspec.DecodeError` for what is no record.
        """
        row, theirs = fetched.row, self._attributed(fetched)
        use = max(row.used - offset_ms, 1)
        mine = self.lines(row.session_id, fetched.after)
        events: list[SessionEvent] = []
        another = mine is not None and (mine.header.generation or 0) != row.generation
        if fetched.after and (mine is None or another):
            raise Outdated
        if mine is not None and mine.trashed and (theirs or another):
            # It is written where sessions are; whether it goes back is seen at the end.
            self._store.restore(row.session_id)
        fork = None
        if mine is None:
            records = records_of(theirs)
            header = structs.replace(
                header_of(row.header, row.session_id),
                generation=row.generation or UNSET,
                hub_owner=UNSET if fetched.owner == self._owner else fetched.owner,
            )
            self._store.create(header, records, used_at=use)
            events = self._messages(row.agent, row.session_id, records)
        elif another:
            events, fork = self._replace(row, theirs, known, mine)
        else:
            events, fork = self._continue(fetched, theirs, mine, use, may_push)
        seq = theirs[-1][0] if theirs else fetched.after
        return self._settle(fetched, seq, events, fork)

    # --- the cases --------------------------------------------------------------------------------

    def _attributed(self, fetched: Fetched) -> list[Line]:
        """The lines with the names of the other owners who recorded them. Raises `msgspec.DecodeError`."""
        return [
            attributed(line, author, fetched.owner, self._owner)
            for line, author in zip(fetched.lines, fetched.authors, strict=True)
        ]

    def _continue(
        self, fetched: Fetched, theirs: Sequence[Line], mine: StoredLines, use: int, may_push: bool
    ) -> tuple[list[SessionEvent], Summary | None]:
        """Both have the records through `fetched.after`."""
        row = fetched.row
        count = shared(mine.lines, theirs)
        own, others = mine.lines[count:], theirs[count:]
        records = records_of(others)
        if not others and (may_push or only_labels(own)):
            return [], None
        if not own:
            with self._store.writing(row.session_id) as session:
                session.append(records, use=False, used_at=use)
            return self._messages(row.agent, row.session_id, records), None
        seq = mine.lines[count - 1][0] if count else fetched.after
        tail = records_of(own)
        if only_labels(own):
            return self._replay(fetched, seq, records, tail, max(use, mine.footer.use)), None
        if may_push and not (row.trashed or mine.trashed) and only_labels(others):
            # What was said here stays in the session: a back end's own conversation has it, too.
            tail = _renumbered(tail, theirs[-1][0])
            self._store.splice(row.session_id, seq, [*records, *tail], used_at=max(use, mine.footer.use))
            return self._messages(row.agent, row.session_id, [*records, *tail]), None
        fork = self._fork(mine.header, seq, own, mine.footer.use)
        self._store.splice(row.session_id, seq, records, used_at=use)
        if mine.trashed:  # it was not wanted any more; that others went on with it does not change this
            self._trash(fork.session_id)
        events = self._messages(row.agent, row.session_id, records)
        return [*events, *self._notices(row.session_id, fork)], fork

    def _replay(
        self, fetched: Fetched, seq: int, records: list[Record], tail: list[Record], use: int
    ) -> list[SessionEvent]:
        """Titles, tags and the like that were given here stand behind what was recorded elsewhere."""
        row = fetched.row
        if not all(isinstance(record, EventRecord) for record in records):
            # Who moved it to the trash did not know of these.
            tail = [record for record in tail if event_name(record) != TRASHED]
        records = [*records, *(replace(record, seq=0) for record in tail)]
        self._store.splice(row.session_id, seq, records, used_at=use)
        added = self._store.lines(row.session_id, seq, ALL).lines
        moves = [event_name(record) for record in tail if event_name(record) in _MOVES]
        if moves and moves[-1] == TRASHED:
            self._trash(row.session_id)
        return self._messages(row.agent, row.session_id, records_of(added))

    def _replace(
        self, row: Row, theirs: Sequence[Line], known: Known | None, mine: StoredLines
    ) -> tuple[list[SessionEvent], Summary | None]:
        """The records at the hub are of another generation."""
        fork = None
        generation = mine.header.generation or 0
        if known is None or (known.generation, known.seq) != (generation, mine.footer.last_seq):
            every = self._store.lines(row.session_id, 0, ALL).lines
            count = shared(every, theirs)
            if own := every[count:]:
                seq = every[count - 1][0] if count else 0
                fork = self._fork(mine.header, seq, own, mine.footer.use)
        header = structs.replace(header_of(row.header, row.session_id), generation=row.generation)
        self._store.rewrite(header, records_of(theirs), self._backup)
        return (self._notices(row.session_id, fork) if fork else []), fork

    # --- a fork of what was recorded here ---------------------------------------------------------

    def _fork(self, original: Header, seq: int, own: Sequence[Line], use: int) -> Summary:
        """A session with the records through `seq` and those that only this machine has, durable on return.

        Its id follows from its first own record, so that it is made once if a crash comes before the original
        is changed; what was recorded after that is added to it.
        """
        text = f"{original.id} {original.generation or 0} {own[0][0]} ".encode() + own[0][1]
        session_id = f"hub-{hashlib.sha256(text).hexdigest()[:20]}"
        footer = self._store.ends(original.id)[1]
        title = f"{(footer.title or 'untitled')[:_TITLE]} ({self._machine})"
        tail = records_of(own)
        forked = EventRecord(seq=0, event=FORKED, timestamp=tail[-1].timestamp, title=title)
        header = structs.replace(
            original,
            id=session_id,
            client="hub",
            created_at=tail[0].timestamp,
            metadata={},
            forked_from=ForkPoint(original.id, seq),
            imported_from=None,
            parent=UNSET,
            generation=UNSET,
            hub_owner=UNSET,
        )
        before = [line for line in self._store.lines(original.id, 0, ALL).lines if line[0] <= seq]
        try:
            return self._store.create(header, [*records_of(before), *tail, forked], used_at=use)
        except SessionExists:
            return self._complete(session_id, seq, own, use)

    def _complete(self, session_id: str, seq: int, own: Sequence[Line], use: int) -> Summary:
        """Add what was recorded in the original since this fork of it was made."""
        there = self._store.lines(session_id, seq, ALL)
        missing = records_of(own[shared(own, there.lines) :])
        if not missing:
            return self._store.summary(session_id, trashed=there.trashed)
        if there.trashed:
            self._store.restore(session_id)
        with self._store.writing(session_id) as session:
            session.append(_renumbered(missing, there.footer.last_seq), use=False, used_at=use)
        return session.summary

    # --- the end ----------------------------------------------------------------------------------

    def _settle(
        self, fetched: Fetched, seq: int, events: list[SessionEvent], fork: Summary | None
    ) -> Applied:
        """Move it to the trash or out of it, as the hub says, once all of it is here and nothing else."""
        row = fetched.row
        stored = self._store.lines(row.session_id, max(seq - 1, 0), 1)
        unpushed = not stored.complete if seq else bool(stored.lines)
        if seq >= row.last_seq and not unpushed and stored.trashed != row.trashed:
            if row.trashed:
                self._trash(row.session_id)
                events.append(DeletedEvent(row.session_id, row.agent))
            else:
                self._store.restore(row.session_id)
                events.append(RestoredEvent(row.session_id, row.agent))
            stored = self._store.lines(row.session_id, max(seq - 1, 0), 1)
        known = Known(
            row.generation,
            seq,
            stored.footer.use,
            row.trashed,
            signature=NO_FILE if unpushed else stored.signature,
            line=checksum(stored.lines, seq),
        )
        summary = self._store.summary(row.session_id, trashed=stored.trashed)
        return Applied(known, summary, events, unpushed, fork)

    def _trash(self, session_id: str) -> None:
        with self._store.writing(session_id) as session:
            session.trash()

    def _messages(self, agent: str, session_id: str, records: Sequence[Record]) -> list[SessionEvent]:
        return [MessageEvent(session_id, agent, message=record) for record in records]

    def _notices(self, session_id: str, fork: Summary) -> list[SessionEvent]:
        text = (
            f"{session_id} was continued on another machine at the same time; what was recorded here is in"
            f" the fork {fork.session_id} ({fork.title})"
        )
        log.warning("⚠ %s", text)
        return [NoticeEvent(each, fork.agent, text=text) for each in (session_id, fork.session_id)]


def _renumbered(records: Sequence[Record], last_seq: int) -> list[Record]:
    """The records with the seqs after `last_seq`, also where they name one another."""
    placed: list[Record] = []
    moved: dict[object, int] = {}
    for seq, record in enumerate(records, last_seq + 1):
        moved[record.seq] = seq
        question = getattr(record, "question", UNSET)
        changes = {"question": moved[question]} if question in moved else {}
        placed.append(replace(record, seq=seq, **changes))
    return placed
