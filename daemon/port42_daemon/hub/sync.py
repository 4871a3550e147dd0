"""Pushes what was recorded here, and brings here what was recorded elsewhere, a session at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from port42_daemon.config import HubConfig
from port42_daemon.hub.database import PIECE_BYTES, Change, Database, Fetched, Row
from port42_daemon.hub.lines import checksum, header_to_push, lines_to_push, may_leave
from port42_daemon.hub.local import Applied, LocalSessions
from port42_daemon.hub.progress import NO_FILE, Known, Progress
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import SessionFilter
from port42_protocol.errors import RpcError, SessionBusy
from port42_protocol.messages.records import Summary

log = logging.getLogger(__name__)

_PUSHED_AT_ONCE = 64
_PULLED_AT_ONCE = 32
_APPLIED_AT_ONCE = 4
"""Sessions in one step. Of the last number one is synced while another is decoded."""


class _NotAsKnown(Exception):
    """The session here is not what it was when it was pushed or brought here last."""


class _Prepared(msgspec.Struct, frozen=True):
    """A change to push, what is known of the session after it, and whether that is all of it."""

    change: Change
    after: Known
    complete: bool


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
        self.dirty: dict[str, None] = {}
        self.busy: set[str] = set()
        self.forks: list[Summary] = []
        """Made because a session was continued here and elsewhere at once; the latest last."""
        self.to_pull = 0
        """Sessions at the hub that are not known to be here, while a new machine is brought everything."""

    async def begin(self) -> None:
        """Find what changed here and what was left undone while there was no connection."""
        await self._run(self.progress.belong_to, self.database.hub, self.database.owner)
        known = await self._run(self.progress.all)
        files = await self.sessions.threads.patient(self.sessions.catalogue.files)
        changed = await self.sessions.threads.files(self._changed, known, files)
        self.dirty = dict.fromkeys([*changed, *self.dirty])
        self.busy.update(await self._run(self.progress.behind))
        if not await self._run(lambda: self.progress.joined):
            await self._count_missing()

    def _changed(self, known: dict[str, Known], files: dict[str, tuple[int, int]]) -> list[str]:
        changed = [name for name, file in files.items() if name not in known or known[name].signature != file]
        where = self.sessions.store.where
        gone = [name for name, state in known.items() if name not in files and not state.purged]
        return changed + [name for name in gone if not (known[name].trashed and where(name) == "trash")]

    # --- pushing ----------------------------------------------------------------------------------

    async def push(self) -> None:
        """Push what is dirty: some of it, if it is much."""
        taken = list(self.dirty)[:_PUSHED_AT_ONCE]
        known = await self._run(self.progress.get, taken)
        prepared: list[_Prepared] = []
        differing: list[str] = []
        size = 0
        for session_id in taken:
            del self.dirty[session_id]
            try:
                item = await self.sessions.threads.files(self._change, session_id, known.get(session_id))
            except _NotAsKnown:
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

    async def _send(self, prepared: Sequence[_Prepared]) -> list[str]:
        """Push these; gives the sessions of which the hub has something else than it was known to have."""
        names = [item.change.session_id for item in prepared]
        try:
            pushed = await self._run(self.database.push, [item.change for item in prepared])
        except BaseException:
            self.dirty = dict.fromkeys([*names, *self.dirty])
            raise
        after = {name: item.after for name, item in zip(names, prepared, strict=True)}
        await self._run(self.progress.put, {name: after[name] for name in pushed.accepted})
        await self._run(self.progress.advance_by_own, pushed.number)
        return [name for name in names if name not in pushed.accepted]

    def _change(self, session_id: str, known: Known | None) -> _Prepared | None:
        """What is to be pushed of a session; None for nothing."""
        if known is not None and known.purged:
            return None
        stored = self.local.lines(session_id, known.seq if known else 0, PIECE_BYTES)
        if stored is None:
            return self._purge(session_id, known)
        header, footer = stored.header, stored.footer
        if not may_leave(self.config, header, footer) or (known is None and stored.trashed):
            return None  # nor is what was thrown away before the hub ever had it
        generation = header.generation or 0
        if known is not None and generation != known.generation:
            stored = self.sessions.store.lines(session_id, 0, PIECE_BYTES)
        elif known is not None:
            if known.seq and self.local.checksum(session_id, known.seq) != known.line:
                raise _NotAsKnown
            if not stored.lines and stored.trashed == known.trashed:
                return None
        lines = stored.lines
        change = Change(
            session_id=session_id,
            agent=header.agent,
            header=header_to_push(header, redact=self.config.redact),
            base=(known.generation, known.seq) if known else None,
            generation=generation,
            lines=lines_to_push(lines, redact=self.config.redact),
            used=footer.use + self.database.offset_ms if known is None or footer.use > known.use else None,
            trashed=stored.trashed,
        )
        seq = change.last_seq
        line = checksum(lines[-1:], seq) if lines or known is None or change.replaces else known.line
        signature = stored.signature if stored.complete else NO_FILE
        after = Known(generation, seq, footer.use, stored.trashed, signature=signature, line=line)
        return _Prepared(change, after, stored.complete)

    def _purge(self, session_id: str, known: Known | None) -> _Prepared | None:
        """A session that is gone: for good if it was in the trash. A file that was removed comes back."""
        if known is None:
            return None
        if not known.trashed:
            raise _NotAsKnown
        change = Change(
            session_id, "", b"", (known.generation, known.seq), known.generation, (), None, True, purges=True
        )
        return _Prepared(change, msgspec.structs.replace(known, purged=True), complete=True)

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
            fetched = await self._run(self.database.fetch, wanted)
            for name in [name for name in remaining if name not in fetched]:
                # The hub was made anew, or from a backup: it is given the session again.
                await self._run(self.progress.forget, name)
                await self._finished(name)
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
            here, state = self.local.end(name), known.get(name)
            if here is None:
                wanted.append((name, -1, 0))
            elif state is None:
                wanted.append((name, here[0], 0))
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
        try:
            async with self.queues.exclusive(name), self.sessions.order(name):
                applied = await self.sessions.threads.files(
                    self.local.apply, fetched, known, self.database.offset_ms
                )
                for event in applied.events:
                    self.sessions.events.publish(event)
                await self._unset_last(applied.summary)
        except SessionBusy:
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
            recent, *_ = await threads.index(
                self.sessions.catalogue.page, SessionFilter(agent=agent), None, 2
            )
            following = next((row.session_id for row in recent if row.session_id != session_id), None)
            await threads.files(store.set_last, agent, following, instead_of=session_id)


def _differs(row: Row, known: Known | None) -> bool:
    if known is None:
        return not row.purged
    return known.purged != row.purged or (
        not row.purged
        and (known.generation, known.seq, known.trashed) != (row.generation, row.last_seq, row.trashed)
    )
