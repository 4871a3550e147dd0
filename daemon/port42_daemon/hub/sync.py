"""Pushes what was recorded here, and brings here what was recorded elsewhere, a session at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import psycopg

from port42_daemon.config import HubConfig
from port42_daemon.hub.database import PIECE_BYTES, Database, Fetched, Row, Shared
from port42_daemon.hub.lines import ALL, is_header_of
from port42_daemon.hub.local import Applied, LocalSessions, Outdated
from port42_daemon.hub.outgoing import MayNotContinue, NotAsKnown, Outgoing, Prepared
from port42_daemon.hub.progress import Known, Other, Progress
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_protocol.errors import RpcError, SessionBusy
from port42_protocol.messages.records import Summary

log = logging.getLogger(__name__)

_PUSHED_AT_ONCE = 64
_PULLED_AT_ONCE = 32
_APPLIED_AT_ONCE = 4
"""Sessions in one step. Of the last number one is synced while another is decoded."""


@dataclass(eq=False)
class Sync:
    """One connection's work. Used by one task at a time. Its methods raise `psycopg.Error` and sqlite3.Error.

    `dirty` are sessions that may have something to push, in the order in which they changed. `busy` ones are
    changed once their turns have ended.
    """

    sessions: Sessions
    queues: SessionQueues
    database: Database
    progress: Progress
    config: HubConfig
    local: LocalSessions

    def __post_init__(self) -> None:
        self._run = self.sessions.threads.hub
        self._outgoing = Outgoing(self.sessions.store, self.local, self.database, self.config)
        self.dirty: dict[str, None] = {}
        self.busy: set[str] = set()
        self.forks: list[Summary] = []
        """Made because a session was continued here and elsewhere at once; the latest last."""
        self.others: dict[str, Other] = {}
        """Sessions here that are another owner's."""
        self.shares_due = False
        """Whether something may have changed in what others share."""
        self.to_pull = 0
        """Sessions at the hub that are not known to be here, while a new machine is brought everything."""

    async def begin(self) -> None:
        """Find what changed here and what was left undone while there was no connection."""
        await self._run(self.progress.belong_to, self.database.hub, self.database.owner)
        self.others = await self._run(self.progress.others)
        await self._look_at_shares()
        known = await self._run(self.progress.all)
        files = await self.sessions.threads.patient(self.sessions.catalogue.files)
        changed = await self.sessions.threads.files(self._changed, known, files)
        self.dirty = dict.fromkeys([*changed, *self.dirty])
        self.busy.update(await self._run(self.progress.behind))
        if not await self._run(lambda: self.progress.joined):
            await self._count_missing()

    def _changed(self, known: dict[str, Known], files: dict[str, tuple[int, int]]) -> list[str]:
        """The sessions whose files are not as they were when they were pushed or brought here."""
        changed = [name for name, file in files.items() if name not in known or known[name].signature != file]
        for name, state in known.items():
            if name not in files and not state.purged:
                try:
                    trashed = self.local.lines(name, ALL, 1)
                except RpcError:
                    continue  # a damaged file in the trash
                if trashed is None or (trashed.trashed, trashed.signature) != (
                    state.trashed,
                    state.signature,
                ):
                    changed.append(name)
        return changed

    # --- pushing ----------------------------------------------------------------------------------

    async def push(self) -> None:
        """Push what is dirty: some of it, if it is much."""
        taken = list(islice(self.dirty, _PUSHED_AT_ONCE))
        known = await self._run(self.progress.get, taken)
        prepared: list[Prepared] = []
        differing: list[str] = []
        size = 0
        for session_id in taken:
            del self.dirty[session_id]
            try:
                item = await self.sessions.threads.files(
                    self._outgoing.prepare, session_id, known.get(session_id), self.others.get(session_id)
                )
            except MayNotContinue:
                differing.append(session_id)
                continue
            except NotAsKnown:
                await self._run(self.progress.forget, session_id)
                differing.append(session_id)
                continue
            except RpcError as error:
                log.warning("⚠ %s is not pushed: %s", session_id, error.message)
                continue
            if item is None:
                continue
            prepared.append(item)
            if not item.complete:
                self.dirty[session_id] = None
            size += sum(len(line) for _, line in item.change.lines)
            if size >= PIECE_BYTES:
                break
        if prepared:
            differing += await self._send(prepared)
        if differing:
            await self._bring(differing)

    async def _send(self, prepared: Sequence[Prepared]) -> list[str]:
        """Push these; gives the sessions of which the hub has something else than it was known to have."""
        differing = []
        by_owner: dict[str | None, dict[str, Prepared]] = defaultdict(dict)
        for item in prepared:
            name = item.change.session_id
            by_owner[self._owner(name)][name] = item
        for owner, items in by_owner.items():
            try:
                pushed = await self._run(self.database.push, [item.change for item in items.values()], owner)
            except psycopg.errors.InsufficientPrivilege:
                if owner is None:
                    raise
                await self._look_at_shares()  # they are shared no more
                continue
            except BaseException:
                names = [item.change.session_id for item in prepared]
                self.dirty = dict.fromkeys([*names, *self.dirty])
                raise
            await self._run(self.progress.put, {name: items[name].after for name in pushed.accepted})
            if owner is None:
                await self._run(self.progress.advance_by_own, pushed.number)
            differing += [name for name in items if name not in pushed.accepted]
        return differing

    def _owner(self, session_id: str) -> str | None:
        """Another owner whose session it is; None for an own one."""
        other = self.others.get(session_id)
        return None if other is None else other.owner

    def owner_to_continue(self, session_id: str) -> str | None:
        """Another owner who lets the session be gone on with; None for any other session."""
        other = self.others.get(session_id)
        return other.owner if other is not None and other.may == "write" else None

    # --- pulling ----------------------------------------------------------------------------------

    async def pull(self) -> bool:
        """Bring here some of what changed at the hub; whether there may be more."""
        if not await self._run(lambda: self.progress.joined):
            return await self._join()
        cursor = await self._run(lambda: self.progress.cursor)
        rows = await self._run(self.database.changes, cursor, _PULLED_AT_ONCE)
        if rows:
            await self._bring_rows(rows)
            await self._run(self.progress.advance, rows[-1].changed)
        if self.shares_due and len(rows) < _PULLED_AT_ONCE:
            self.shares_due = False
            await self._look_at_shares()
        return len(rows) >= _PULLED_AT_ONCE

    async def _join(self) -> bool:
        """A step of the walk through all sessions, newest use first. What changes meanwhile follows it."""
        position = await self._run(lambda: self.progress.joining)
        totals = await self._run(self.database.totals)
        if position is None and not await self._run(lambda: self.progress.cursor):
            await self._run(self.progress.advance, totals.changes)
        rows = await self._run(self.database.newest, position, _PULLED_AT_ONCE)
        await self._bring_rows(rows)
        await self._count_missing()
        done = len(rows) < _PULLED_AT_ONCE
        await self._run(self.progress.walk, None if done else (rows[-1].used, rows[-1].session_id))
        if done:
            self.to_pull = 0
        return True

    async def _count_missing(self) -> None:
        totals = await self._run(self.database.totals)
        self.to_pull = max(0, totals.sessions - len(await self._run(self.progress.all)))

    async def _look_at_shares(self) -> None:
        """Bring here what others share, and note what they share no more."""
        shared = {item.row.session_id: item for item in await self._run(self.database.shared_with_me)}
        known = await self._run(self.progress.get, list(shared))
        theirs = await self.sessions.threads.files(self._theirs, shared, known)
        others = {name: Other(item.owner, item.may) for name, item in theirs.items()}
        others |= {name: Other(was.owner, "none") for name, was in self.others.items() if name not in shared}
        changed = {name: other for name, other in others.items() if self.others.get(name) != other}
        if changed:
            await self._run(self.progress.put_others, changed)
            self.others |= changed
        differing = [name for name, item in theirs.items() if _differs(item.row, known.get(name))]
        for begin in range(0, len(differing), _PULLED_AT_ONCE):
            await self._bring(differing[begin : begin + _PULLED_AT_ONCE])

    def _theirs(self, shared: dict[str, Shared], known: dict[str, Known]) -> dict[str, Shared]:
        """Those of the sessions that are not own ones with the same id."""
        theirs = {}
        for name, item in shared.items():
            if name not in self.others:
                stored = self.local.lines(name, ALL, 1)
                if name in known or (
                    stored is not None and not is_header_of(stored.header, item.owner, item.row.header)
                ):
                    continue
            elif self.others[name].owner != item.owner:
                continue
            theirs[name] = item
        return theirs

    async def retry_busy(self) -> None:
        """Change the sessions in which a turn ran."""
        ready = [name for name in self.busy if self.queues.is_free(name)]
        for begin in range(0, len(ready), _PULLED_AT_ONCE):
            await self._bring(ready[begin : begin + _PULLED_AT_ONCE])

    async def _bring_rows(self, rows: Sequence[Row]) -> None:
        """Bring here what differs of these sessions from what is known."""
        known = await self._run(self.progress.get, [row.session_id for row in rows])
        await self._bring([row.session_id for row in rows if _differs(row, known.get(row.session_id))])

    async def _bring(self, session_ids: Sequence[str]) -> None:
        """Bring these sessions to what the hub has, those that can be changed now."""
        used: dict[str, list[tuple[int, str]]] = defaultdict(list)
        remaining = list(session_ids)
        await self._run(self.progress.mark, session_ids)
        while remaining:
            known = await self._run(self.progress.get, remaining)
            wanted = await self.sessions.threads.files(self._wanted, remaining, known)
            remaining = [name for name, *_ in wanted]
            fetched = await self._fetch(wanted)
            for name in [name for name in remaining if name not in fetched]:
                await self._finished(name)
                if name not in self.others:
                    # The hub was made anew, or from a backup: it is given the session again.
                    await self._run(self.progress.forget, name)
                    self.dirty[name] = None
            following: list[str] = []
            waiting = [fetched[name] for name in remaining if name in fetched]
            for begin in range(0, len(waiting), _APPLIED_AT_ONCE):
                group = waiting[begin : begin + _APPLIED_AT_ONCE]
                results = await asyncio.gather(
                    *(self._apply(item, known.get(item.row.session_id)) for item in group)
                )
                for item, applied in zip(group, results, strict=True):
                    if applied is None:
                        continue
                    used[item.row.agent].append((applied.known.use, item.row.session_id))
                    if item.lines and applied.known.seq < item.row.last_seq:
                        following.append(item.row.session_id)
                    if applied.fork is not None:
                        await self._catch_up_last(item.row.agent, applied.fork.session_id)
            remaining = following
        for agent, sessions in used.items():
            await self._catch_up_last(agent, max(sessions)[1])

    async def _fetch(self, wanted: Sequence[tuple[str, int, int]]) -> dict[str, Fetched]:
        """What the hub has of these, whoever owns them."""
        fetched: dict[str, Fetched] = {}
        for owner in {self._owner(name) for name, *_ in wanted}:
            of_owner = [each for each in wanted if self._owner(each[0]) == owner]
            fetched |= await self._run(self.database.fetch, of_owner, owner)
        return fetched

    async def _catch_up_last(self, agent: str, session_id: str) -> None:
        """Make it its agent's last session, if it was used later than that."""
        try:
            await self.sessions.threads.files(self.sessions.catch_up_last, agent, session_id, 0)
        except RpcError as error:
            log.warning("⚠ the last session of %s is not updated: %s", agent, error.message)

    def _wanted(self, session_ids: Iterable[str], known: dict[str, Known]) -> list[tuple[str, int, int]]:
        """Of each session the generation and the seq through which it is here and at the hub."""
        wanted = []
        for name in session_ids:
            try:
                here, state = self.local.end(name), known.get(name)
            except RpcError as error:
                if name not in self.busy:
                    log.warning("⚠ %s is not brought here from the hub yet: %s", name, error.message)
                self.busy.add(name)
                continue
            if here is None:
                wanted.append((name, -1, 0))
            elif state is None or state.generation != here[0]:
                wanted.append((name, here[0] if state is None else -1, 0))
            else:
                # A file that was damaged and recovered may have less than it had.
                wanted.append((name, state.generation, min(state.seq, here[1])))
        return wanted

    async def _apply(self, fetched: Fetched, known: Known | None) -> Applied | None:
        """None where it cannot be done now, or is done without a change."""
        name = fetched.row.session_id
        if fetched.row.purged:
            gone = Known(fetched.row.generation, fetched.row.last_seq, 0, trashed=True, purged=True)
            await self._run(self.progress.put, {name: gone})
            await self._finished(name)
            return None
        may_push = name not in self.others or self.others[name].may == "write"
        try:
            async with self.queues.exclusive(name), self.sessions.order(name):
                applied = await self.sessions.threads.files(
                    self.local.apply, fetched, known, self.database.offset_ms, may_push
                )
                for event in applied.events:
                    self.sessions.events.publish(event)
                await self._unset_last(applied.summary)
        except (SessionBusy, Outdated):
            self.busy.add(name)
            return None
        except (RpcError, msgspec.DecodeError) as error:
            if name not in self.busy:
                log.warning("⚠ %s is not brought here from the hub yet: %s", name, error)
            self.busy.add(name)
            return None
        await self._run(self.progress.put, {name: applied.known})
        if applied.known.seq >= fetched.row.last_seq:
            await self._finished(name)
        if applied.unpushed:
            self.dirty[name] = None
        if applied.fork is not None:
            self.forks = [*self.forks[-9:], applied.fork]
            self.dirty[applied.fork.session_id] = None
        return applied

    async def _finished(self, session_id: str) -> None:
        self.busy.discard(session_id)
        await self._run(self.progress.mark, (), (session_id,))

    async def _unset_last(self, summary: Summary) -> None:
        """Where an agent's last session went to the trash, the one used before it is its last."""
        store, threads = self.sessions.store, self.sessions.threads
        agent, session_id = summary.agent, summary.session_id
        if store.last_sessions.get(agent) != session_id:
            return
        if await threads.files(store.where, session_id) == "trash":
            recent = await self.sessions.used_last(2, agent)
            following = next((row.session_id for row in recent if row.session_id != session_id), None)
            await threads.files(store.set_last, agent, following, instead_of=session_id)


def _differs(row: Row, known: Known | None) -> bool:
    if known is None:
        return not row.purged
    return known.purged != row.purged or (
        not row.purged
        and (known.generation, known.seq, known.trashed) != (row.generation, row.last_seq, row.trashed)
    )
