"""Adds what sources have to their sessions, each record once, and keeps the bytes that it was read from."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from msgspec import UNSET, Struct, field, structs

from port42_daemon.config import CapturedToolConfig, ConfigFile
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions, Written
from port42_daemon.store.interface import RENAMED, Header
from port42_daemon.transfer.capture.document_source import DocumentSource
from port42_daemon.transfer.capture.kept import original_of
from port42_daemon.transfer.capture.known import Known
from port42_daemon.transfer.capture.original_rows import Damaged, Original
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.capture.progress import SourceState, Stored
from port42_daemon.transfer.capture.reading import (
    Batch,
    InTrash,
    LineSource,
)
from port42_daemon.transfer.capture.tools import Tool, agent_of
from port42_daemon.transfer.export import records_after
from port42_daemon.transfer.forks import copied_through, with_original
from port42_daemon.transfer.headers import derived_id, header_of, in_parent
from port42_daemon.transfer.merge import copied
from port42_daemon.transfer.readers.base import SessionInfo, Skipped
from port42_daemon.transfer.readers.files import DiskFault
from port42_daemon.transfer.readers.values import timestamp_of
from port42_protocol.errors import RpcError
from port42_protocol.messages.records import AssistantMessage, EventRecord, ForkPoint, Parent, Record, replace
from port42_protocol.messages.types import CaptureTool
from port42_protocol.times import now


class TurnRuns(Exception):
    """A turn of Port42 runs that the source may belong to: it is read afterwards."""


class OriginalIsRead(Exception):
    """The session that the source is a fork or a sub-agent of is being read: it is read afterwards."""


class _Compared(Struct):
    """What a session has of a source: its records through `seq` are in `known`, or were added from there."""

    session_id: str
    seq: int
    known: Known


class Reading(Struct, eq=False):
    """A source that is being read. `error` is why it is not read further."""

    tool: Tool
    path: Path
    config: CapturedToolConfig
    changes_now: bool
    again_in: float | None = None
    """Seconds after which it is looked at again, if it does not change."""
    source: LineSource | DocumentSource | None = None
    error: Exception | None = None
    complete: bool = False
    batch: Batch | None = None
    """What is recorded in this round."""
    ids: dict[str, str] = field(default_factory=dict)
    """Sessions of Port42, by the keys of the batch."""
    moved: set[str] = field(default_factory=set)
    """Keys whose session is another one since it was read, by a turn that has ended."""
    copied_from: dict[str, str] = field(default_factory=dict)
    """For new sessions, the one that began with the same message."""
    stored: dict[str, Stored] = field(default_factory=dict)
    """The sessions as they are with this round."""
    state: SourceState | None = None
    """How far the source is read with this round, once its records are durable."""
    compared: dict[str, _Compared] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    """The sessions that were begun with it."""
    original: Original | None = None


class _New(Struct):
    """A session that is to be begun."""

    reading: Reading
    key: str
    source_id: str
    compared: _Compared
    header: Header
    records: list[Record]


class BatchWriter:
    """Records a batch of each of many sources. Blocks; `Sessions.write_all` takes its steps."""

    def __init__(
        self, originals: Originals, sessions: Sessions, queues: SessionQueues, config: ConfigFile
    ) -> None:
        self._originals = originals
        self._sessions = sessions
        self._store = sessions.store
        self._queues = queues
        self._config = config
        self.used: dict[str, tuple[str, str, int]] = {}
        """Of each agent the time, id and last seq of the newest session that was added to."""
        self._under_way: Counter[str] = Counter()
        """Sessions whose sources are being read, a batch at a time."""
        self._new: dict[str, _New] = {}

    def sessions_of(self, sources: Sequence[tuple[Tool, str]]) -> list[str]:
        """For ids in tools, the session of Port42 that is continued there, or that of the source.

        All in one query, which may have to wait until the index is written.
        """
        ids = [source_id for _, source_id in sources]
        natives = self._sessions.catalogue.by_native(ids) if ids else {}
        return [natives.get(each) or derived_id(tool.name, each) for tool, each in sources]

    def identify(self, batches: Sequence[Reading]) -> list[dict[str, str]]:
        """The sessions of Port42 that the records of each batch belong to, by the batch's keys."""
        new = [
            (number, key, each.tool, batch.infos[key].source_id)
            for number, each in enumerate(batches)
            if (batch := each.batch) is not None
            for key in batch.records
            if key not in batch.state.sessions
        ]
        ids = [{key: stored.session_id for key, stored in each.stored.items()} for each in batches]
        sources = [(tool, source_id) for *_, tool, source_id in new]
        for (number, key, *_), session_id in zip(new, self.sessions_of(sources), strict=True):
            ids[number][key] = session_id
        return ids

    def forget(self, reading: Reading) -> None:
        """The source is not read any more: others may be compared with its sessions."""
        self._under_way -= Counter(compared.session_id for compared in reading.compared.values())
        reading.compared.clear()

    def record(self, batches: Sequence[Reading], answering: set[CaptureTool]) -> Iterator[list[Written]]:
        """Add the records of the batches, and keep the bytes that they were read from."""
        for each, ids in zip(batches, self.identify(batches), strict=True):
            each.moved = {key for key, session_id in ids.items() if each.ids.get(key) != session_id}
            batch, source = each.batch, each.source
            assert batch is not None  # noqa: S101  # it was read in this round
            assert source is not None  # noqa: S101
            left: set[str] = set()
            try:
                for key, records in batch.records.items():
                    conversation = batch.conversations.get(key, "")
                    if conversation in left:
                        continue
                    try:
                        yield from self._record(each, batch, key, records, answering)
                        batch.records[key] = []  # a round has thousands, which are copied now
                    except (Skipped, TurnRuns, OriginalIsRead) as reason:
                        source.leave(batch, conversation, reason)
                        left.add(conversation)
            except Exception as error:  # each has its own, and the others go on
                each.error = error
            if batch.complete:
                self.forget(each)
        yield from self._create()
        keep = self._config.current.capture.originals
        with self._originals.changes() if keep else contextlib.nullcontext():
            for each in batches:
                if each.error is None:
                    try:
                        self._finish(each)
                    except Exception as error:
                        each.error = error

    def _record(
        self, reading: Reading, batch: Batch, key: str, records: Sequence[Record], answering: set[CaptureTool]
    ) -> Iterator[list[Written]]:
        info, session_id = batch.infos[key], reading.ids[key]
        stored = batch.state.sessions.get(key)
        if self._queues.busy(session_id):
            raise TurnRuns
        yield from self._create_first(session_id)
        where = self._store.where(session_id)
        if where == "trash":
            raise InTrash
        if where is None and stored is None and (reading.tool.name in answering or key in reading.moved):
            raise TurnRuns
        compared = self._compared(reading, key, session_id, stored)
        if where and not compared.seq:
            compared.seq = copied_through(self._store.ends(session_id)[0], info)
        new = self._new_records(session_id if where else None, compared, records)
        new = [_in_the_tool(record, info.source_id) for record in new]
        if where is None:
            header = yield from self._header(reading, batch, info, session_id)
            if header.parent is UNSET:
                point = yield from self._fork_point(reading, batch, key)
                header = structs.replace(header, forked_from=point)
            header, copies = with_original(self._store, header, info)
            records = [*copies, *new]
            self._new[session_id] = _New(reading, key, info.source_id, compared, header, records)
            return
        summary = self._store.summary(session_id)
        given = stored.title if stored else None
        if info.title and info.title != summary.title in {given, *info.titles}:
            when = info.last_time or now()
            new.append(EventRecord(seq=0, event=RENAMED, timestamp=when, title=info.title))
        if new:
            written = self._sessions.write_captured(session_id, new)
            compared.seq, summary = written.seq, written.summary
            self._note_use(written)
            yield [written]
        reading.stored[key] = Stored(session_id, info.source_id, compared.seq, summary.title)

    def _compared(self, reading: Reading, key: str, session_id: str, stored: Stored | None) -> _Compared:
        compared = reading.compared.get(key)
        if compared is None:
            by_lines = isinstance(reading.source, LineSource)
            seq = stored.last_seq if stored and reading.source and not reading.source.anew else 0
            compared = reading.compared[key] = _Compared(session_id, seq, Known(timed=by_lines))
            if by_lines:  # others have whole conversations, one after the other
                self._under_way[session_id] += 1
        return compared

    def _new_records(
        self, session_id: str | None, compared: _Compared, records: Sequence[Record]
    ) -> list[Record]:
        """The records that the session lacks."""
        if session_id is not None:
            last_seq = self._store.ends(session_id)[1].last_seq
            if last_seq > compared.seq:
                compared.known.add(records_after(self._store, session_id, compared.seq))
                compared.seq = last_seq
        if not compared.known:
            return list(records)
        new = (compared.known.without_counted(each) for each in records if not compared.known.take(each))
        return [record for record in new if record is not None]

    def _create_first(self, session_id: str) -> Iterator[list[Written]]:
        """Create a session that another depends on, if that is still to be done."""
        if session_id in self._new:
            yield from self._create()

    def _create(self) -> Iterator[list[Written]]:
        """Create the new sessions, with one wait for the disk."""
        new, self._new = list(self._new.values()), {}
        created = self._store.create_all([(each.header, each.records) for each in new])
        written = []
        for each, result in zip(new, created, strict=True):
            if isinstance(result, RpcError):
                each.reading.error = each.reading.error or result
                continue
            summary, records = result
            each.reading.created.append(summary.session_id)
            each.compared.seq = len(records)
            each.reading.stored[each.key] = Stored(
                summary.session_id, each.source_id, len(records), summary.title
            )
            written.append(Written(summary, records, len(records)))
            self._note_use(written[-1])
        if written:
            yield written

    def _note_use(self, written: Written) -> None:
        summary = written.summary
        if not summary.parent:
            used = (summary.last_activity, summary.session_id, written.seq)
            self.used[summary.agent] = max(used, self.used.get(summary.agent, used))

    def _fork_point(
        self, reading: Reading, batch: Batch, key: str
    ) -> Generator[list[Written], None, ForkPoint | None]:
        """Where a session that its tool forked leaves the original: the one that it names, or the one that
        begins with the same message. Raises `OriginalIsRead` while that is read, too."""
        info, source = batch.infos[key], reading.source
        original = reading.copied_from.get(key)
        if info.forked_from:
            [original] = self.sessions_of([(reading.tool, info.forked_from)])
        if original is None:
            return None
        if self._under_way[original]:
            raise OriginalIsRead
        yield from self._create_first(original)
        stored = records_after(self._store, original, 0)
        seq, same = copied(stored, batch.records[key])
        if same and isinstance(source, LineSource):
            # What follows in the file may be copied, too.
            stored = records_after(self._store, original, 0)
            ahead, complete = source.copy(), batch.complete
            while same and not complete:
                batch = ahead.next()
                last, same = copied(stored, batch.records.get(key, ()))
                seq, complete = last or seq, batch.complete
        return ForkPoint(original, seq) if seq or info.forked_from else None

    def _header(
        self, reading: Reading, batch: Batch, info: SessionInfo, session_id: str
    ) -> Generator[list[Written], None, Header]:
        name = reading.tool.name
        header = header_of(info, name, agent_of(reading.config, name, info.cwd))
        if isinstance(header.parent, Parent) and info.parent is not None:
            own = batch.state.sessions.get("")
            parent = own.session_id if own and own.source_id == info.parent else header.parent.session_id
            if self._under_way[parent] and reading.ids.get("") != parent:
                raise OriginalIsRead
            yield from self._create_first(parent)
            header = in_parent(self._store, header, Parent(parent, 0))
        return structs.replace(header, id=session_id, client="capture")

    def _finish(self, reading: Reading) -> None:
        """The records of the batch are durable: keep the bytes that it was read from."""
        batch, source, reading.batch = reading.batch, reading.source, None
        assert batch is not None  # noqa: S101  # it was read in this round
        assert source is not None  # noqa: S101
        batch.state.kept += sum(self._keep_document(reading, name, batch.state) for name in batch.originals)
        if batch.state.offset == batch.start and not batch.records:
            source.wrote(batch.state)
            reading.state = batch.state if batch.complete else None
        else:
            state = structs.replace(batch.state, sessions=reading.stored, read_at=now())
            if isinstance(source, LineSource):
                state = self._keep(reading, source, batch, state)
            source.wrote(state)
            # A source that is compared from its beginning is begun again after a crash.
            reading.state = state if batch.complete or not source.anew else None
        reading.complete = batch.complete

    def _keep_document(self, reading: Reading, conversation: str, state: SourceState) -> int:
        """By how many bytes there is more of it."""
        name, path = reading.tool.name, os.fspath(reading.path)
        # The keys of a database are its conversations.
        of_it = [state.sessions.get(conversation)] if conversation else state.sessions.values()
        sessions = {stored.session_id: stored.source_id for stored in of_it if stored is not None}
        try:
            data = original_of(name, reading.path, conversation)
        except DiskFault:
            raise
        except Skipped:  # it is too large, or gone by now
            return 0
        # Formats without times have that of the file.
        written_at = timestamp_of(state.signature[3] / 1e9) or now()
        return self._originals.keep(Original(name, path, written_at, 1, sessions, conversation), data)

    def _keep(self, reading: Reading, source: LineSource, batch: Batch, state: SourceState) -> SourceState:
        if not self._config.current.capture.originals:
            # When they are kept again, another generation begins, which has what is read meanwhile.
            reading.original = None
            return structs.replace(state, kept=0, generation=0)
        name, path, original = reading.tool.name, reading.path, reading.original
        sessions = {stored.session_id: stored.source_id for stored in state.sessions.values()}
        start, kept = batch.start, state.kept
        if original is None and not source.anew:
            original = self._originals.find(name, os.fspath(path), state.generation) if kept else None
        elif original is None and not state.rewritten:
            # A crash may have come before it was stored how far the source was read: it is kept once. What
            # is known by its generation is of the source, which another session was recorded from until now.
            latest = self._originals.find(name, os.fspath(path), state.generation)
            if latest is not None and (state.generation or self._is_begun_with(latest, source)):
                original = latest
        if original is None or self._originals.size(original) < kept:
            # A new generation: the source was written anew, or what was kept of it is lost.
            original = self._originals.begin(Original(name, os.fspath(path), now(), sessions=sessions))
            start = kept = 0
        if original.sessions != sessions:
            original.sessions = sessions
            self._originals.describe(original)
        reading.original = original
        kept = self._originals.add(original, source.part(start, state.offset), kept)
        return structs.replace(state, kept=kept, generation=original.generation)

    def _is_begun_with(self, original: Original, source: LineSource) -> bool:
        with contextlib.suppress(Damaged):
            return source.begins_with(self._originals.data(original))
        return False


def _in_the_tool(record: Record, native_id: str) -> Record:
    """The record; a reply says that the tool's own session with this id has it."""
    if isinstance(record, AssistantMessage) and record.turn:
        return replace(record, turn=structs.replace(record.turn, native_id=native_id))
    return record
