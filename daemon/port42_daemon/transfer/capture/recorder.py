"""Reads the sources of other tools in rounds, and remembers how far each was read.

In a round a batch of each is read, and then all of them are recorded: many new sessions take one wait for the
disk, and a long source does not hold up the others.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from port42_daemon.config import CapturedToolConfig, ConfigFile
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.transfer.capture.batch_writer import BatchWriter, OriginalIsRead, Reading, TurnRuns
from port42_daemon.transfer.capture.document_source import open_source
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.capture.progress import (
    NEVER,
    Beginning,
    Progress,
    SourceState,
    signature_at,
)
from port42_daemon.transfer.capture.tools import Tool
from port42_daemon.transfer.forks import join_forks
from port42_protocol.errors import RpcError
from port42_protocol.messages.types import CaptureTool

log = logging.getLogger(__name__)

_ROUND = 3 * 1024 * 1024
"""Bytes that are read in a round, after which no further source is read in it."""


class Recorder:
    """Reads many sources at once. One round at a time; its blocking work is done in threads."""

    def __init__(
        self,
        progress: Progress,
        originals: Originals,
        sessions: Sessions,
        queues: SessionQueues,
        config: ConfigFile,
    ) -> None:
        self.progress = progress
        self._writer = BatchWriter(originals, sessions, queues, config)
        self.used = self._writer.used
        self.sessions_of = self._writer.sessions_of
        self._sessions = sessions
        self._store = sessions.store
        self._queues = queues
        self._config = config
        self._run = sessions.threads.capture
        self._created: set[str] = set()
        """New sessions, of which there may be forks already."""
        self.reading: dict[Path, Reading] = {}
        """The sources that are being read, the next one first."""

    def begin(self, tool: Tool, path: Path, config: CapturedToolConfig, *, changes_now: bool) -> None:
        """Read the source at `path` in the next rounds, before those that do not change now."""
        self.reading[path] = Reading(tool, path, config, changes_now)

    async def read(self) -> list[Reading]:
        """One round; gives the sources that are finished.

        Their `error` is none, `Skipped` where a source cannot be read, `Rewritten`, `TurnRuns`,
        `OriginalIsRead`, or one of the disk.
        """
        batches = await self._run(self._read_batches)
        answering = {each.tool.name for each in batches if self._is_answering(each.tool)}
        ids = [session_id for each in batches for session_id in each.ids.values()]
        try:
            await self._sessions.write_all(ids, self._writer.record(batches, answering))
            await self._run(self._store_progress, batches)
        except Exception as error:  # of the database, or one that none of them caused alone
            for each in batches:
                each.error = each.error or error
        finished = []
        for each in list(self.reading.values()):
            if each.error is None and each.complete and each.source is not None:
                each.again_in = each.source.rest_in()
                try:
                    each.source.end()
                except (TurnRuns, OriginalIsRead) as reason:
                    each.error = reason
            if each.error is not None or each.complete:
                self._writer.forget(each)
                del self.reading[each.path]
                finished.append(each)
                self._created.update(each.created)
        for each in batches:
            if each.path in self.reading:  # behind those that had no turn in this round
                self.reading[each.path] = self.reading.pop(each.path)
        if self._created and not self.reading:
            await self._join_forks()
        return finished

    async def _join_forks(self) -> None:
        """Nothing is being read: what is known of forks' sources is in the database."""
        created, self._created = self._created, set()
        backup = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-fork"
        try:
            moved, self._created = await join_forks(self._sessions, self._queues, created, backup)
            for session_id, by in moved.items():
                await self._run(self.progress.move, session_id, by)
        except (RpcError, sqlite3.Error) as error:  # the sources that are finished are so all the same
            log.warning("⚠ forks are joined to their originals later: %s", error)
            self._created = created

    async def refuse(self, tool: Tool, path: Path, reason: str | None, again_in: float | None = None) -> None:
        """Remember why the source is not read, until it changes, or for `again_in` seconds."""
        await self._run(self._refuse, tool, path, reason, again_in)

    def _refuse(self, tool: Tool, path: Path, reason: str | None, again_in: float | None) -> None:
        with contextlib.suppress(OSError):
            signature = signature_at(path)
            rest = 0 if again_in is None else max(1, int(time.time() + again_in - signature[3] / 1e9))
            state = self.progress.get(path) or SourceState(signature)
            state = structs.replace(state, signature=signature, problem=reason, rest=rest)
            self.progress.put([(path, tool.name, state)])

    async def restored(self, session_id: str) -> tuple[CaptureTool, Path] | None:
        """The source of a session that was in the trash: it is read as if it had changed."""
        return await self._run(self._unread, session_id)

    def _unread(self, session_id: str) -> tuple[CaptureTool, Path] | None:
        source = self.progress.source_of(session_id)
        if source is not None and (state := self.progress.get(source[1])) is not None:
            self.progress.put([(source[1], source[0], structs.replace(state, signature=NEVER))])
        return source

    # --- reading ----------------------------------------------------------------------------------

    def _read_batches(self) -> list[Reading]:
        """The next batch of some sources, with the sessions that they belong to."""
        batches: list[Reading] = []
        size = 0
        for each in sorted(self.reading.values(), key=lambda each: not each.changes_now):
            if size >= _ROUND:
                break
            try:
                if self._is_opened(each):
                    size += self._read_batch(each)
                    batches.append(each)
            except Exception as error:  # each has its own, and the others go on
                each.error = error
        try:
            self._identify(batches)
        except Exception as error:  # of the index, or of the database
            for each in batches:
                each.error = error
            return []
        return batches

    def _is_opened(self, reading: Reading) -> bool:
        """Open the source, unless there is nothing to read."""
        if reading.source is not None:
            return True
        state = self.progress.get(reading.path)
        signature = None
        with contextlib.suppress(FileNotFoundError):  # deleted by its tool: nothing is taken away here
            signature = signature_at(reading.path)
        is_known = state is not None and state.signature == signature
        if state is not None and is_known and state.rest:
            wait = state.rest_in(time.time())
            is_known, reading.again_in = wait > 0, wait
        if signature is None or is_known:
            reading.complete = True
            return False
        limits = self._config.current.sessions
        keep = self._config.current.capture.originals
        reading.source = open_source(reading.tool.name, reading.path, state, limits, keep=keep)
        return True

    def _read_batch(self, reading: Reading) -> int:
        """The size of the batch."""
        assert reading.source is not None  # noqa: S101  # it is opened
        batch = reading.batch = reading.source.next()
        if batch.is_of_another:
            self._writer.forget(reading)
            reading.original = None
        reading.state, reading.stored = None, dict(batch.state.sessions)
        return batch.size

    def _identify(self, batches: Sequence[Reading]) -> None:
        """Find the sessions that the batches belong to, and those that new ones may be copies of."""
        begun: list[tuple[Reading, str, Beginning]] = []
        for each, ids in zip(batches, self._writer.identify(batches), strict=True):
            each.ids, each.copied_from = ids, {}
            assert each.batch is not None  # noqa: S101  # it was read in this round
            for key in each.batch.records:
                info = each.batch.infos[key]
                is_new = key not in each.stored and self._store.where(ids[key]) is None
                if is_new and info.first_mark and not info.parent and not info.forked_from:
                    begun.append((each, key, (info.first_mark, each.tool.name, ids[key])))
        firsts = self.progress.begun_with([beginning for *_, beginning in begun])
        for (each, key, (*_, session_id)), first in zip(begun, firsts, strict=True):
            if first != session_id:
                each.copied_from[key] = first

    def _store_progress(self, batches: Sequence[Reading]) -> None:
        self.progress.put(
            [(each.path, each.tool.name, each.state) for each in batches if each.state and not each.error]
        )

    def _is_answering(self, tool: Tool) -> bool:
        """Whether a turn runs that `tool` may answer: the session of a new source may be that turn's."""
        config = self._config.current
        for turns in self._queues.by_agent:
            agent = config.agents.get(turns.agent)
            backend = config.backends.get(agent.backend) if agent and agent.backend else None
            if any(tool.name in word for word in getattr(backend, "command", ())):
                return True
        return False
