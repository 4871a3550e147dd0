"""Reads a file with the titles of a tool's sessions: a title may come though its session does not grow."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from msgspec import structs

from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import RENAMED
from port42_daemon.transfer.capture.progress import NEVER, SourceState, signature_at
from port42_daemon.transfer.capture.recorder import Recorder
from port42_daemon.transfer.capture.tools import Tool
from port42_daemon.transfer.readers import codex
from port42_daemon.transfer.readers.files import whole_lines
from port42_protocol.messages.records import EventRecord
from port42_protocol.times import now

_AT_ONCE = 1000
"""Lines."""


class Titles:
    """Reads one file at a time, from where it stopped. Blocking work is done by the thread for capture."""

    def __init__(self, recorder: Recorder, sessions: Sessions) -> None:
        self._recorder = recorder
        self._progress = recorder.progress
        self._sessions = sessions
        self._store = sessions.store
        self._run = sessions.threads.capture

    async def read(self, tool: Tool, path: Path) -> bool:
        """Give sessions the titles that were added at `path`; False while one of them is being read.

        Raises `Skipped`, and errors of the disk.
        """
        lines = _AT_ONCE
        while lines == _AT_ONCE:
            state, lines, titles = await self._run(self._next, tool, path)
            for session_id, title in titles.items():
                if not await self._retitle(session_id, title):
                    return False
            await self._run(self._progress.put, [(path, tool.name, state)])
        return True

    def _next(self, tool: Tool, path: Path) -> tuple[SourceState, int, dict[str, str]]:
        """How far the file is read with the next lines, their number, and the titles by Port42's ids."""
        state = self._progress.get(path) or SourceState(NEVER)
        signature = signature_at(path)
        # A file that was written anew has the latest titles, too.
        end, number = state.offset if state.offset <= signature[2] else 0, 0
        titles: dict[str, str] = {}
        for offset, line in islice(whole_lines(path, end), _AT_ONCE):
            titles |= codex.names_in([line])
            end, number = offset, number + 1
        ids = self._recorder.sessions_of([(tool, source_id) for source_id in titles])
        by_id = dict(zip(ids, titles.values(), strict=True))
        return SourceState(signature, end, read_at=now()), number, by_id

    async def _retitle(self, session_id: str, title: str) -> bool:
        """Unless a person named it here. A session that is not here gets its title when it is read."""
        files = self._sessions.threads.files
        source = await self._run(self._progress.source_of, session_id)
        if source is None or await files(self._store.where, session_id) != "sessions":
            return True
        name, path = source
        if path in self._recorder.reading:
            return False
        async with self._sessions.order(session_id):
            state = await self._run(self._progress.get, path)
            summary = await files(self._store.summary, session_id)
            for key, stored in state.sessions.items() if state else ():
                if state and stored.session_id == session_id and title != summary.title == stored.title:
                    event = EventRecord(seq=0, event=RENAMED, timestamp=now(), title=title)
                    await self._sessions.add_later(session_id, [event])
                    sessions = {**state.sessions, key: structs.replace(stored, title=title)}
                    state = structs.replace(state, sessions=sessions)
                    await self._run(self._progress.put, [(path, name, state)])
        return True
