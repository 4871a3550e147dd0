"""Reads a database, or a file that is written whole, when it has changed. Blocks; used by one thread."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.progress import NEVER, SourceState, signature_at
from port42_daemon.transfer.capture.reading import (
    HELD_SECONDS,
    Batch,
    InTrash,
    LineSource,
    is_read_by_lines,
    rest_in,
)
from port42_daemon.transfer.readers import detect
from port42_daemon.transfer.readers.base import SessionInfo, Skipped, text_size
from port42_daemon.transfer.readers.files import NOT_UTF8, DiskFault, is_in_folders
from port42_daemon.transfer.readers.line_reader import ENDED_SECONDS
from port42_daemon.transfer.readers.values import LONE_SURROGATE
from port42_protocol.encoding import encode
from port42_protocol.messages.records import Record
from port42_protocol.messages.types import prepared

_TOGETHER = 50
"""Conversations of a batch that are read, or whose originals are kept."""
_BATCH_BYTES = 1024 * 1024
_PROMPT_SECONDS = 10
"""After a session's file was written, in which a prompt comes."""


class _Versions(Struct):
    """Of each conversation the version that was read, and the one whose original is kept.

    What an earlier Port42 saved says neither: the conversations are compared.
    """

    read: dict[str, str] = {}
    kept: dict[str, str] = {}


class DocumentSource:
    """A source of which the conversations that changed are read, each whole, some in a batch.

    Its state has their versions as they were read. Where each message is a file, nothing tells that one is
    written: until the reply has ended, they are looked at every second. When the source has not changed for
    half a minute, the originals of the conversations that changed are to be kept, with batches of their own.
    """

    anew = True

    def __init__(
        self, tool: str, path: Path, state: SourceState | None, limits: SessionsConfig, *, keep: bool
    ) -> None:
        """`keep`: whether originals are kept. Raises `Skipped`."""
        self._limits = limits
        self._waits: Exception | None = None
        self._in_folders = is_in_folders(path)
        # What changes while it is read is read again.
        signature = signature_at(path)
        self._state = structs.replace(state or SourceState(signature), signature=signature, problem=None)
        self._is_answered = not self._state.rest
        self._versions = msgspec.json.decode(self._state.reader or b"{}", type=prepared(_Versions))
        # Beside it there may be other databases.
        is_of_tool = detect.recognise(path) == tool
        if not is_of_tool and self._versions.read:
            self._state.problem = f"it is not one of {tool} any more"
        listed = detect.sources_of(tool, path) if is_of_tool else []
        self._changed = [
            source
            for source in reversed(listed)
            if not source.version or self._versions.read.get(source.conversation) != source.version
        ]
        whole = {"": str(signature)} if listed else {}
        originals = {each.conversation: each.version for each in listed} if path.suffix == ".db" else whole
        self._unkept = {
            name: version
            for name, version in originals.items()
            if keep and not self._in_folders and self._versions.kept.get(name) != version
        }

    def next(self) -> Batch:
        records: dict[str, list[Record]] = {}
        infos: dict[str, SessionInfo] = {}
        conversations: dict[str, str] = {}
        originals: list[str] = []
        size = 0
        if not self._changed and self._quiet() >= HELD_SECONDS:
            originals = list(islice(self._unkept, _TOGETHER))
            self._versions.kept.update((name, self._unkept.pop(name)) for name in originals)
        for source in self._changed[: -_TOGETHER - 1 : -1]:
            try:
                sessions = source.read(self._limits)
            except DiskFault:
                raise
            except Skipped as reason:
                sessions = []
                self._state = structs.replace(self._state, problem=f"{source.key}: {reason}")
            if not infos.keys().isdisjoint(session.info.source_id for session in sessions):
                break  # what is another one's, too, is in another batch
            self._changed.pop()
            self._versions.read[source.conversation] = source.version
            for session in sessions:
                key = session.info.source_id
                infos[key], conversations[key] = session.info, source.conversation
                self._is_answered = session.info.is_answered
                records[key] = list(session.records)
                size += sum(map(text_size, records[key]))
            if size >= _BATCH_BYTES:
                break
        complete = not self._changed and not (self._unkept and self._quiet() >= HELD_SECONDS)
        self._state = structs.replace(self._state, reader=self._saved(), rest=self._rest())
        return Batch(records, infos, 0, self._state, complete, size, originals, conversations)

    def _quiet(self) -> float:
        return time.time() - self._state.signature[3] / 1e9

    def _rest(self) -> int:
        if not self._in_folders:
            return HELD_SECONDS if self._unkept and self._quiet() < HELD_SECONDS else 0
        # The session's own file is written before the prompt.
        until = _PROMPT_SECONDS if self._is_answered else ENDED_SECONDS
        return int(self._quiet()) + 1 if 0 <= self._quiet() < until else 0

    def _saved(self) -> bytes:
        return encode(self._versions)

    def leave(self, batch: Batch, conversation: str, reason: Exception) -> None:
        """That conversation of `batch` cannot be recorded now: it is read again later."""
        self._versions.read.pop(conversation, None)
        batch.state = structs.replace(batch.state, reader=self._saved())
        if isinstance(reason, InTrash):
            return
        if isinstance(reason, Skipped):
            batch.state.problem = f"{conversation}: {reason}"
        else:
            self._waits = reason
            batch.state.signature = NEVER

    def wrote(self, state: SourceState) -> None:
        self._state = state

    def end(self) -> None:
        """Raises what a conversation waits for."""
        if self._waits is not None:
            raise self._waits

    def rest_in(self) -> float | None:
        """As `LineSource.rest_in`."""
        return rest_in(self._state)


def open_source(
    tool: str, path: Path, state: SourceState | None, limits: SessionsConfig, *, keep: bool
) -> LineSource | DocumentSource:
    """`keep` is as in `DocumentSource`. Raises `Skipped`."""
    if LONE_SURROGATE.search(str(path)):  # what a reader remembers of its source is stored as UTF-8
        raise Skipped(NOT_UTF8)
    if is_read_by_lines(path):
        return LineSource(tool, path, state, limits)
    return DocumentSource(tool, path, state, limits, keep=keep)
