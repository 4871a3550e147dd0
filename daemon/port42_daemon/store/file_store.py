"""The store: sessions as files in one folder, the mapping and the index beside them.

Every method blocks and may be called from any thread; what it returns is on the disk. `RpcError`
subclasses are the only exceptions that leave, and none of them carries a path.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from port42_daemon import durable
from port42_daemon.store.check.home import HomeCheck
from port42_daemon.store.check.repair import Backup
from port42_daemon.store.check.sessions import CheckedSessions, Position, SessionsCheck
from port42_daemon.store.disk_usage import usage
from port42_daemon.store.index.index import SessionIndex
from port42_daemon.store.index.indexer import session_update
from port42_daemon.store.index.query import Query
from port42_daemon.store.interface import Recent, Store
from port42_daemon.store.last_sessions import Mapping, MappingDamaged
from port42_daemon.store.session_file import checkpoint, document
from port42_daemon.store.session_file.cache import OpenSessions, reader
from port42_daemon.store.session_file.checkpoint import Checkpoint, Unfinished
from port42_daemon.store.session_file.document import Document, Footer, Header
from port42_daemon.store.session_file.errors import storage
from port42_daemon.store.session_file.fork import branch
from port42_daemon.store.session_file.salvage import set_aside
from port42_daemon.store.trash import Trash
from port42_daemon.store.trash_names import Entry
from port42_protocol.errors import SessionExists
from port42_protocol.messages.doctor_and_stats import Finding, Statistics, Usage
from port42_protocol.messages.forks_and_trash import TrashedSession
from port42_protocol.messages.records import Record, Summary
from port42_protocol.messages.search import Hit, IndexStatus
from port42_protocol.messages.sessions import ListedSession
from port42_protocol.messages.types import IndexState

log = logging.getLogger(__name__)


class FileStore(Store):
    """Sessions under `home`; the caller holds the lock that makes it the only writer there."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._mapping = Mapping(home / "agent_sessions.json")
        self._sessions = OpenSessions(home / "sessions", self._found)
        self._index = SessionIndex(home / "index.db", self._sessions)
        self._trash = Trash(home / "trash", self._sessions)
        self._home_check = HomeCheck(home, self._sessions, self._mapping, self._index)
        self._sessions_check = SessionsCheck(home, self._sessions, self._made_whole)

    # --- its life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Read the mapping, and begin to bring the index up to date behind our back."""
        with storage("open the sessions"):
            for folder in (self._home, self._sessions.folder):
                durable.own_folder(folder)
                durable.remove_leftovers(folder)
            self._index.start()
            self._open_mapping(self._home / "agent_sessions.json")

    def close(self) -> None:
        """Write what is not written yet."""
        self._index.close()
        with storage("write agent_sessions.json"):
            self._mapping.save()

    # --- one session ------------------------------------------------------------------------------

    def exists(self, session_id: str) -> bool:
        """Whether there is a file of that id."""
        return self._sessions.exists(session_id)

    def remembered(self, session_id: str) -> Summary | None:
        """The summary, when it is in memory and its file has not changed since. Never reads a file."""
        return self._sessions.remembered(session_id)

    def summary(self, session_id: str) -> Summary:
        """What a list shows of the session."""
        return self._sessions.document(session_id).summary

    def header(self, session_id: str) -> Header:
        """What never changes of the session."""
        return self._sessions.document(session_id).header

    def create(self, header: Header, records: Sequence[Record] = ()) -> Summary:
        """Begin a session, with its first records if any. Raises `SessionExists`."""
        data, begun = document.compose(header, _numbered(records))
        # What has its places already may have gaps between them: the index reads that from the file.
        fresh = () if any(one.seq for one in records) else tuple(records)
        self._begin(begun, lambda path: durable.replace(path, data), fresh)
        return begun.summary

    def append(self, session_id: str, decide: Callable[[Summary], Sequence[Record]]) -> tuple[Summary, int]:
        """Add, in order, what `decide` makes of the session as it stands; nothing if it raises.

        Gives the summary after it and the last seq.
        """

        def write(descriptor: int, before: Document) -> tuple[Summary, int]:
            records = decide(before.summary)
            if not records:
                return before.summary, before.footer.last_seq
            growth = document.grow(before, records)
            try:
                durable.overwrite_tail(descriptor, growth.offset, growth.data, growth.undo)
            except OSError:
                self._sessions.forget(session_id)
                raise
            self._wrote(growth.document, os.fstat(descriptor), tuple(records))
            return growth.document.summary, growth.document.footer.last_seq

        with self._sessions.lock(session_id), storage(f"write session {session_id}"):
            return self._sessions.held(session_id, os.O_RDWR, write)

    def read(
        self, session_id: str, *, after_seq: int, limit: int, max_bytes: int, events: bool
    ) -> tuple[list[Record], int | None]:
        """A page of records after `after_seq`, and the seq to go on from, None at the end.

        At least one record, however long it is.
        """

        def collect(descriptor: int, whole: Document) -> tuple[list[Record], int | None]:
            page: list[Record] = []
            used = 0
            for record, length in document.records(reader(descriptor), whole, after_seq):
                if record.role == "event" and not events:
                    continue
                used += length
                if page and (len(page) == limit or used > max_bytes):
                    return page, page[-1].seq
                page.append(record)
            return page, None

        return self._sessions.reading(session_id, collect)

    def recent(self, session_id: str, at_least: int) -> Recent:
        """The session's end, at least so many bytes of it."""

        def look(descriptor: int, whole: Document) -> Recent:
            found, complete = document.recent(reader(descriptor), whole, at_least)
            return Recent(whole.summary, found, complete, whole.footer.turn)

        return self._sessions.reading(session_id, look)

    def ends(self, session_id: str, through: int | None = None) -> tuple[Header, Footer]:
        """The header, and the footer as it was when `through` was the last record; else as it is."""

        def look(descriptor: int, whole: Document) -> tuple[Header, Footer]:
            seq = whole.footer.last_seq if through is None else through
            return whole.header, document.footer_through(reader(descriptor), whole, seq)

        return self._sessions.reading(session_id, look)

    def checkpoint(self, unfinished: Unfinished) -> Checkpoint:
        """Begin to keep a reply that is still being given."""
        with storage(f"write session {unfinished.session_id}"):
            path = self._sessions.path(unfinished.session_id).with_suffix(checkpoint.SUFFIX)
            return Checkpoint(path, unfinished)

    def unfinished(self, session_id: str | None = None) -> list[tuple[Unfinished, str]]:
        """What a killed daemon left, or a full disk. Nobody may be answering in those sessions."""
        with storage("read unfinished turns"):
            return checkpoint.left_in(self._sessions.folder, session_id or "*")

    def forget_unfinished(self, session_id: str) -> None:
        """Remove a checkpoint that has been recorded."""
        with storage(f"write session {session_id}"):
            checkpoint.forget(self._sessions.folder, session_id)

    # --- lineage ------------------------------------------------------------------------------------

    def fork(
        self, session_id: str, at_seq: int | None, decide: Callable[[Header, int], tuple[Header, Record]]
    ) -> Summary:
        """Begin a session with the records of another through `at_seq`, and the event that says so.

        `decide` gives header and event from the original's header and the seq, or refuses by raising.
        """

        def begin(descriptor: int, whole: Document) -> Summary:
            seq = whole.footer.last_seq if at_seq is None else at_seq
            begun = decide(whole.header, seq)
            if begun[0].id == session_id:
                raise SessionExists(session_id)  # its lock may be held, and is not to be had twice
            fork = branch(reader(descriptor), whole, seq, begun, durable.block_size(descriptor))
            # Nobody changes those records: an append begins behind the last of them.
            records = durable.Span(descriptor, whole.records_at, fork.length)
            self._begin(
                fork.document, lambda path: durable.replace_with_copy(path, fork.head, records, fork.tail)
            )
            return fork.document.summary

        return self._sessions.reading(session_id, begin)

    def forks_of(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """The forks that were made of any of the sessions."""
        return self._index.forks_of(session_ids)

    def listed(self, session_ids: Sequence[str]) -> list[ListedSession]:
        """Those of the sessions that there are."""
        return self._index.listed(session_ids)

    # --- the trash ----------------------------------------------------------------------------------

    def taken(self, session_id: str) -> bool:
        """Whether there is, or was and can be restored, a session of that id."""
        with storage("look into the trash"):
            return self.exists(session_id) or self._trash.has(session_id)

    def trash(self, session_id: str, decide: Callable[[Summary], None]) -> Summary:
        """Move a session to the trash, unless `decide` raises."""
        with self._sessions.lock(session_id), storage(f"move session {session_id} to the trash"):
            summary = self._sessions.held(session_id, os.O_RDONLY, lambda _, whole: whole.summary)
            decide(summary)
            self._trash.put(summary)
            self._sessions.forget(session_id)
        self._index.forget(session_id)
        return summary

    def restore(self, session_id: str, decide: Callable[[Summary], None]) -> Summary:
        """Bring a session back from the trash, unless `decide` raises. Raises `SessionExists`."""

        def look(opened: int, whole: Document) -> tuple[Document, os.stat_result]:
            decide(whole.summary)
            return whole, os.fstat(opened)

        with self._sessions.lock(session_id), storage(f"restore session {session_id}"):
            whole, found = self._trash.reading(session_id, look)
            self._trash.take(session_id)
            self._wrote(whole, found, ())
        return whole.summary

    def trashed(self, agent: str | None, before: tuple[str, str] | None, limit: int) -> list[TrashedSession]:
        """Sessions in the trash, the latest first, from behind `before` (trashed_at, session_id)."""
        with storage("look into the trash"):
            behind = (
                one
                for one in self._trash.entries(agent)
                if before is None or (one.trashed_at, one.session_id) < before
            )
            shown = (self._trash.shown(one) for one in behind)
            return list(islice((one for one in shown if one is not None), limit))

    def trashed_summary(self, session_id: str) -> Summary:
        """What a session in the trash was. Raises `SessionNotFound`."""
        with storage("look into the trash"):
            return self._trash.reading(session_id, lambda _, whole: whole.summary)

    def purge(self, trashed: Sequence[TrashedSession]) -> None:
        """Delete for good what the trash has of these sessions.

        Their words leave the index's file, too, behind our back.
        """
        with storage("empty the trash"):
            self._trash.purge([Entry.of(one.trashed_at, one.session_id, one.agent) for one in trashed])
        self._index.erase_deleted_text()

    # --- the mapping ------------------------------------------------------------------------------

    def last(self, agent: str) -> str | None:
        """The session that `agent` used last, from memory."""
        return self._mapping.get(agent)

    def set_last(self, agent: str, session_id: str) -> None:
        """`agent` used `session_id` now; writes only when that is news."""
        with storage("write agent_sessions.json"):
            self._mapping.set(agent, session_id)

    def change_last(self, agent: str, gone: str, following: str | None) -> None:
        """`agent` goes on with `following`, or with none, if `gone` is still the one it used last."""
        with storage("write agent_sessions.json"):
            self._mapping.change(agent, gone, following)

    def agents(self) -> dict[str, str]:
        """Every agent that has a session, and its last one."""
        return self._mapping.agents()

    # --- questions across sessions ----------------------------------------------------------------

    def page(  # noqa: PLR0913  # a parameter for each filter
        self,
        *,
        agent: str | None = None,
        cwd: str | None = None,
        state: str | None = None,
        tag: str | None = None,
        pinned: bool | None = None,
        before: tuple[str, str] | None = None,
        limit: int,
    ) -> list[ListedSession]:
        """Sessions by last use, newest first, from behind `before` (last_activity, session_id)."""
        return self._index.page(
            agent=agent, cwd=cwd, state=state, tag=tag, pinned=pinned, before=before, limit=limit
        )

    def search(
        self, query: Query, upto: int | None, offset: int, limit: int
    ) -> tuple[list[Hit], int, bool, bool]:
        """Hits from `offset` on among the messages numbered through `upto` (None: all that there are),
        what they go through, whether there are more, and whether every session was looked through."""
        return self._index.search(query, upto, offset, limit)

    def index_status(self) -> IndexStatus:
        """How far the index is."""
        return self._index.status()

    def rebuild_index(self) -> None:
        """Begin the index anew from the files, behind our back."""
        self._index.rebuild()

    def with_prefix(self, prefix: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions whose id begins with `prefix`."""
        return self._index.with_prefix(prefix, agent, limit)

    def with_title(self, title: str, agent: str | None, limit: int) -> list[Summary]:
        """Sessions of that title, or else those whose title begins so."""
        return self._index.with_title(title, agent, limit)

    def with_key(self, agent: str, key: str, session_id: str | None) -> tuple[str, int] | None:
        """Session and seq that `agent` recorded under an idempotency key."""
        return self._index.with_key(agent, key, session_id)

    def index_state(self) -> IndexState:
        """Whether questions are answered now, and from all there is."""
        return self._index.state

    def counts(self) -> dict[str, int]:
        """How many sessions each agent has."""
        return self._index.counts()

    # --- care ---

    def check(self, backup: Backup | None) -> list[Finding]:
        """What is wrong with all but the sessions themselves; with a backup, repaired."""
        with storage("look at the home"):
            return self._home_check.check(backup)

    def sweep(
        self, position: Position, seconds: float, in_turn: Callable[[str], bool], backup: Backup | None
    ) -> CheckedSessions:
        """What is wrong with the files after `position`, as many as so many seconds allow."""
        with storage("look at the sessions"):
            return self._sessions_check.check(position, seconds, in_turn, backup)

    def cut_off(self, session_id: str, backup: Backup | None) -> Finding | None:
        """What is said of a turn that was cut off there; with a backup, kept before it is recorded."""
        with storage(f"read session {session_id}"):
            return self._sessions_check.check_partial(session_id, backup)

    def usage(self, agent: str | None) -> Usage:
        """What takes how much room; sessions as the index has them."""
        with storage("ask the index"):
            return usage(self._home, self._index.sizes(), agent)

    def statistics(self, agent: str | None, days: int | None) -> Statistics:
        """How much was said, and when by this machine's clock."""
        return self._index.statistics(agent, days)

    # --- inside -----------------------------------------------------------------------------------

    def _begin(
        self, begun: Document, write: Callable[[Path], None], records: tuple[Record, ...] = ()
    ) -> None:
        """Put a new session's file where it belongs. Raises `SessionExists`."""
        session_id = begun.header.id
        path = self._sessions.path(session_id)
        with self._sessions.lock(session_id), storage(f"create session {session_id}"):
            if os.path.lexists(path) or self._trash.has(session_id):
                raise SessionExists(session_id)
            try:
                write(path)
            except OSError:
                # Refused is refused: the rename may have been made, and only its fsync have failed.
                path.unlink(missing_ok=True)
                raise
            self._wrote(begun, path.stat(), records)

    def _open_mapping(self, path: Path) -> None:
        """Read the mapping; one that is gone or damaged is rebuilt from the sessions."""
        try:
            if self._mapping.load():
                return
        except MappingDamaged as damage:
            original = set_aside(path)
            log.warning("⚠ %s was damaged (%s); it is %s", path.name, damage, original.name)
        last = self._index.newest()
        if last:
            log.warning("⚠ %s rebuilt from the sessions of %d agents", path.name, len(last))
        self._mapping.rebuild(last)

    def _found(self, whole: Document, found: os.stat_result) -> None:
        self._index.note(session_update(whole, found))

    def _made_whole(self, session_id: str) -> None:
        self._sessions.held(session_id, os.O_RDONLY, lambda _, whole: whole)

    def _wrote(self, whole: Document, found: os.stat_result, records: tuple[Record, ...]) -> None:
        self._sessions.remember(whole, found)
        self._index.note(session_update(whole, found, records))


def _numbered(records: Sequence[Record]) -> list[Record]:
    """The records in their places; those of a session that comes in whole have theirs already."""
    return [one if one.seq else document.place(one, seq) for seq, one in enumerate(records, 1)]
