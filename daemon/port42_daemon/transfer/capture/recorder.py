"""Adds what a source has to its sessions, each record once, and remembers how far the source was read."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import UNSET, Struct, structs

from port42_daemon.config import CapturedToolConfig, ConfigFile
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions, now
from port42_daemon.store.interface import RENAMED, Header
from port42_daemon.transfer.capture.known import Known, identity
from port42_daemon.transfer.capture.originals import Original, Originals
from port42_daemon.transfer.capture.progress import NEVER, Progress, SourceState, Stored, signature_at
from port42_daemon.transfer.capture.reading import (
    Batch,
    DocumentSource,
    InTrash,
    LineSource,
    open_source,
    part,
)
from port42_daemon.transfer.capture.tools import Tool, agent_of
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.imports import derived_id, header_of
from port42_daemon.transfer.merge import is_of_source
from port42_daemon.transfer.readers.base import SessionInfo, Skipped
from port42_protocol.errors import RpcError, SessionNotFound
from port42_protocol.messages.records import AssistantMessage, EventRecord, ForkPoint, Parent, Record, replace
from port42_protocol.messages.types import CaptureTool

log = logging.getLogger(__name__)


class TurnRuns(Exception):
    """A turn of Port42 runs that the source may belong to: it is read afterwards."""


class OriginalIsRead(Exception):
    """The session that the source is a fork of is being read: it is read afterwards."""


class _Compared(Struct):
    """What a session has of a source: its records through `seq` are in `known`, or were added from there."""

    session_id: str
    seq: int
    known: Known


class Recorder:
    """Reads one source at a time. Blocking work is done by the thread for capture."""

    def __init__(
        self,
        progress: Progress,
        originals: Originals,
        sessions: Sessions,
        queues: SessionQueues,
        config: ConfigFile,
    ) -> None:
        self.progress = progress
        self._originals = originals
        self._sessions = sessions
        self._queues = queues
        self._config = config
        self._run = sessions.threads.capture
        self.used: dict[str, tuple[str, str, int]] = {}
        """Of each agent the time, id and last seq of the newest session that was added to."""
        self._under_way: Counter[str] = Counter()
        """Sessions whose sources are being read, a batch at a time."""

    async def read(self, tool: Tool, path: Path, config: CapturedToolConfig) -> float | None:
        """Read what is new in the source at `path`; returns in how many seconds to look at it again, if so.

        Raises `Skipped` where it cannot be read, `Rewritten`, `TurnRuns`, `OriginalIsRead`, and errors of
        the disk.
        """
        source = await self._run(self._open, tool, path)
        if not isinstance(source, LineSource | DocumentSource):
            return source
        compared: dict[str, _Compared] = {}
        try:
            await self._read(tool, path, config, source, compared)
        finally:
            self._under_way -= Counter(state.session_id for state in compared.values())
        source.end()
        return source.rest_in()

    async def _read(
        self,
        tool: Tool,
        path: Path,
        config: CapturedToolConfig,
        source: LineSource | DocumentSource,
        compared: dict[str, _Compared],
    ) -> None:
        files = self._sessions.threads.files
        original: Original | None = None
        complete = False
        while not complete:
            batch = await self._run(source.next)
            complete = batch.complete
            if batch.state.offset == batch.start and not batch.records:
                source.wrote(batch.state)
                if complete:
                    await self._run(self.progress.put, path, tool.name, batch.state)
                continue
            stored = dict(batch.state.sessions)
            try:
                for key, records in batch.records.items():
                    stored[key] = await self._record(tool, config, source, batch, key, records, compared)
            except (Skipped, TurnRuns, OriginalIsRead) as reason:
                source.leave(batch, reason)
            state = structs.replace(batch.state, sessions=stored, read_at=now())
            if self._config.current.capture.originals and isinstance(source, LineSource):
                original, state = await files(self._keep, tool, path, source, batch, state, original)
            source.wrote(state)
            if complete or not source.anew:
                # A source that is compared from its beginning is begun again after a crash.
                await self._run(self.progress.put, path, tool.name, state)

    async def refuse(self, tool: Tool, path: Path, reason: str | None) -> None:
        """Remember why the source is not read, until it changes."""
        await self._run(self._refuse, tool, path, reason)

    def _refuse(self, tool: Tool, path: Path, reason: str | None) -> None:
        with contextlib.suppress(OSError):
            signature = signature_at(path)
            state = self.progress.get(path) or SourceState(signature)
            self.progress.put(path, tool.name, structs.replace(state, signature=signature, problem=reason))

    async def restored(self, session_id: str) -> tuple[CaptureTool, Path] | None:
        """The source of a session that was in the trash: it is read as if it had changed."""
        return await self._run(self._unread, session_id)

    def _unread(self, session_id: str) -> tuple[CaptureTool, Path] | None:
        source = self.progress.source_of(session_id)
        if source is not None and (state := self.progress.get(source[1])) is not None:
            self.progress.put(source[1], source[0], structs.replace(state, signature=NEVER))
        return source

    def _open(self, tool: Tool, path: Path) -> LineSource | DocumentSource | float | None:
        """None where there is nothing new, or in how many seconds there will be."""
        state = self.progress.get(path)
        try:
            signature = signature_at(path)
        except FileNotFoundError:
            return None  # deleted by its tool: nothing is taken away here
        if state is not None and state.signature == signature:
            if not state.rest:
                return None
            if (wait := state.rest_in(time.time())) > 0:
                return wait
        return open_source(tool.name, path, state, self._config.current.sessions)

    async def _record(  # noqa: PLR0913, PLR0917  # what one pass over a source has
        self,
        tool: Tool,
        config: CapturedToolConfig,
        source: LineSource | DocumentSource,
        batch: Batch,
        key: str,
        records: Sequence[Record],
        compared: dict[str, _Compared],
    ) -> Stored:
        info, files = batch.infos[key], self._sessions.threads.files
        stored = batch.state.sessions.get(key)
        session_id = stored.session_id if stored else await self._session_of(tool, info.source_id)
        if self._queues.busy(session_id):
            raise TurnRuns
        async with self._sessions.order(session_id):
            where = await files(self._sessions.store.where, session_id)
            if where == "trash":
                raise InTrash
            if where is None and stored is None and self._is_answering(tool):
                raise TurnRuns
            seq = stored.last_seq if stored and not source.anew else 0
            state = compared.get(key)
            if state is None:
                known = Known(timed=isinstance(source, LineSource))
                state = compared[key] = _Compared(session_id, seq, known)
                if isinstance(source, LineSource):  # others have whole conversations, one after the other
                    self._under_way[session_id] += 1
            new = await self._run(self._new_records, session_id if where else None, state, records)
            new = [_in_the_tool(record, info.source_id) for record in new]
            summary = await files(self._sessions.store.summary, session_id) if where else None
            given = stored.title if stored else None
            if summary and info.title and info.title != summary.title in {given, *info.titles}:
                when = info.last_time or now()
                new.append(EventRecord(seq=0, event=RENAMED, timestamp=when, title=info.title))
            if new or where is None:
                header = await self._header(tool, config, info, session_id, batch)
                if where is None and header.parent is UNSET:
                    point = await self._fork_point(tool, source, batch, key, session_id)
                    header = structs.replace(header, forked_from=point)
                written = await self._sessions.add_captured(header, new)
                state.seq, summary = written.seq, written.summary
                if header.parent is UNSET:
                    used = (summary.last_activity, session_id, written.seq)
                    self.used[summary.agent] = max(used, self.used.get(summary.agent, used))
        title = summary.title if summary else given
        return Stored(session_id, info.source_id, state.seq, title)

    async def _session_of(self, tool: Tool, source_id: str) -> str:
        """A session of Port42 that is continued in the tool, or that of the source."""
        native = await self._sessions.threads.index(self._sessions.catalogue.by_native, source_id)
        return native or derived_id(tool.name, source_id)

    def _is_answering(self, tool: Tool) -> bool:
        """Whether a turn runs that `tool` may answer: the session of a new source may be that turn's."""
        config = self._config.current
        for turns in self._queues.by_agent:
            agent = config.agents.get(turns.agent)
            backend = config.backends.get(agent.backend) if agent and agent.backend else None
            if any(tool.name in word for word in getattr(backend, "command", ())):
                return True
        return False

    def _new_records(
        self, session_id: str | None, compared: _Compared, records: Sequence[Record]
    ) -> list[Record]:
        """The records that the session lacks."""
        store = self._sessions.store
        if session_id is not None:
            last_seq = store.ends(session_id)[1].last_seq
            if last_seq > compared.seq:
                compared.known.add(records_after(store, session_id, compared.seq))
                compared.seq = last_seq
        return [record for record in records if not compared.known.take(record)]

    async def _fork_point(
        self,
        tool: Tool,
        source: LineSource | DocumentSource,
        batch: Batch,
        key: str,
        session_id: str,
    ) -> ForkPoint | None:
        """Where a session that its tool forked leaves the original: the one that it names, or the one that
        begins with the same message. Raises `OriginalIsRead` while that is read, too."""
        info = batch.infos[key]
        original = await self._session_of(tool, info.forked_from) if info.forked_from else None
        if original is None and info.first_mark:
            original = await self._run(self.progress.begun_with, tool.name, info.first_mark, session_id)
        if original is None:
            return None
        if self._under_way[original]:
            raise OriginalIsRead
        stored = records_after(self._sessions.store, original, 0)
        seq, same = await self._run(_copied, stored, batch.records[key])
        if same and isinstance(source, LineSource):
            # What follows in the file may be copied, too.
            stored = records_after(self._sessions.store, original, 0)
            ahead, complete = await self._run(source.copy), batch.complete
            while same and not complete:
                batch = await self._run(ahead.next)
                last, same = await self._run(_copied, stored, batch.records.get(key, ()))
                seq, complete = last or seq, batch.complete
        return ForkPoint(original, seq) if seq or info.forked_from else None

    async def _header(
        self, tool: Tool, config: CapturedToolConfig, info: SessionInfo, session_id: str, batch: Batch
    ) -> Header:
        header = header_of(info, tool.name, agent_of(config, tool.name, info.cwd))
        if isinstance(header.parent, Parent) and info.parent is not None:
            own = batch.state.sessions.get("")
            parent = own.session_id if own and own.source_id == info.parent else header.parent.session_id
            seq = 0
            with contextlib.suppress(SessionNotFound):
                seq = (await self._sessions.threads.files(self._sessions.store.ends, parent))[1].last_seq
            header = structs.replace(header, parent=Parent(parent, seq))
        return structs.replace(header, id=session_id, client="capture")

    def _keep(  # noqa: PLR0913, PLR0917  # as above
        self,
        tool: Tool,
        path: Path,
        source: LineSource,
        batch: Batch,
        state: SourceState,
        original: Original | None,
    ) -> tuple[Original, SourceState]:
        """Keep the bytes that the batch was read from."""
        sessions = {stored.session_id: stored.source_id for stored in state.sessions.values()}
        start, kept = batch.start, state.kept
        if original is None and not source.anew:
            original = self._originals.latest(tool.name, path)
        if original is None or self._originals.size(original) < kept:
            # A new generation: the source was written anew, or what was kept of it is lost.
            original = self._originals.begin(Original(tool.name, os.fspath(path), now(), sessions=sessions))
            start = kept = 0
        if original.sessions != sessions:
            original.sessions = sessions
            self._originals.describe(original)
        kept = self._originals.add(original, part(path, start, state.offset), kept)
        return original, structs.replace(state, kept=kept)


def _copied(stored: Iterator[Record], records: Sequence[Record]) -> tuple[int, bool]:
    """The seq of the last stored record that one of the next `records` copies, and whether all are copies."""
    seq = 0
    stored = filter(is_of_source, stored)
    with contextlib.suppress(RpcError):  # it is not here
        for record in filter(is_of_source, records):
            original = next(stored, None)
            if original is None or identity(original) != identity(record):
                return seq, False
            seq = original.seq
        return seq, True
    return 0, False


def _in_the_tool(record: Record, native_id: str) -> Record:
    """The record; a reply says that the tool's own session with this id has it."""
    if isinstance(record, AssistantMessage) and record.turn:
        return replace(record, turn=structs.replace(record.turn, native_id=native_id))
    return record
