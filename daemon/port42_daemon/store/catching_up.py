"""What a start finds: an index that is behind, and a mapping that is there, gone or damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from pathlib import Path

from port42_daemon.store import document
from port42_daemon.store.document import Document
from port42_daemon.store.failures import storage
from port42_daemon.store.index import Index, Row
from port42_daemon.store.mapping import Mapping, MappingDamaged
from port42_daemon.store.open_sessions import OpenSessions, reader
from port42_daemon.store.recovery import set_aside
from port42_protocol.errors import RpcError
from port42_protocol.messages import Summary

log = logging.getLogger(__name__)


class CatchingUp:
    """Brings the index up to what the files say, in a thread of its own."""

    def __init__(self, sessions: OpenSessions, index: Index) -> None:
        self._sessions = sessions
        self._index = index
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Open the index, and bring it up to date behind our back."""
        try:
            self._index.open()
        except (sqlite3.Error, OSError) as error:
            # Sessions are read and resumed without it; only questions across them fail, and say so.
            log.warning("⚠ index.db cannot be used: %s", error)
        self._thread = threading.Thread(target=self._run, name="catch-up")
        self._thread.start()

    def end(self) -> None:
        """Stop where it is; the next start goes on from there."""
        self._index.interrupt()
        if self._thread is not None:
            self._thread.join()

    def newest(self) -> dict[str, str]:
        """Each agent's session with the latest activity: what a mapping is rebuilt from."""
        try:
            return self._index.newest()
        except sqlite3.Error:
            return self._newest_by_reading()

    def _run(self) -> None:
        try:
            read = self._index.catch_up(self._sessions.scan(), self._row_since)
        except (sqlite3.Error, OSError) as error:
            log.warning("⚠ index.db could not be brought up to date: %s", error)
        else:
            if read:
                log.info("index.db: %d sessions read anew", read)

    def _newest_by_reading(self) -> dict[str, str]:
        newest: dict[str, Summary] = {}
        for session_id, _, _ in self._sessions.scan():
            if row := self._row_since(session_id, 0):
                before = newest.setdefault(row.summary.agent, row.summary)
                if before.last_activity < row.summary.last_activity:
                    newest[row.summary.agent] = row.summary
        return {agent: summary.session_id for agent, summary in newest.items()}

    def _row_since(self, session_id: str, after_seq: int) -> Row | None:
        """What the index keeps of a session, with the keys after `after_seq`."""

        def look(opened: int, whole: Document) -> Row:
            keys = tuple(document.keys(reader(opened), whole, after_seq))
            return row(whole, os.fstat(opened), keys)

        try:
            return self._sessions.passing(session_id, look)
        except RpcError as error:
            log.warning("⚠ %s is not in the list: %s", session_id, error)
            return None


def open_mapping(mapping: Mapping, path: Path, catching_up: CatchingUp) -> None:
    """Read the mapping; one that is gone or damaged is rebuilt from the sessions."""
    try:
        with storage(f"read {path.name}"):
            if mapping.load():
                return
    except MappingDamaged as damage:
        original = set_aside(path)
        log.warning("⚠ %s was damaged (%s); it is %s", path.name, damage, original.name)
    last = catching_up.newest()
    if last:
        log.warning("⚠ %s rebuilt from the sessions of %d agents", path.name, len(last))
    mapping.rebuild(last)


def row(whole: Document, found: os.stat_result, keys: tuple[tuple[str, int], ...] = ()) -> Row:
    """What the index keeps of a session whose file is the one that `found` tells of."""
    return Row(whole.summary, whole.footer.last_seq, found.st_size, found.st_mtime_ns, keys)
