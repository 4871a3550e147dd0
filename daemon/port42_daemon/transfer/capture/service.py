"""Reads what tools write into sessions as they write it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from port42_daemon.agents import Agents
from port42_daemon.config import CaptureConfig, CapturedToolConfig
from port42_daemon.process import memory
from port42_daemon.sessions.queue import SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.transfer.capture.originals import Originals
from port42_daemon.transfer.capture.pending import Pending
from port42_daemon.transfer.capture.tools import TOOLS, Tool
from port42_daemon.transfer.capture.watching import Watcher, below
from port42_protocol.errors import RpcError, StorageFailed
from port42_protocol.messages.types import CaptureTool

if TYPE_CHECKING:
    from port42_daemon.transfer.capture.batch_writer import Reading
    from port42_daemon.transfer.capture.kept import KeptSource
    from port42_daemon.transfer.capture.progress import Progress, Totals
    from port42_daemon.transfer.capture.recorder import Recorder
    from port42_daemon.transfer.readers.files import DiskFault

log = logging.getLogger(__name__)

_GATHER_SECONDS = 0.1
_RETRY_SECONDS = 3.0
_FAULT_SECONDS = (3.0, 15.0, 60.0, 300.0, 1800.0)
"""Between attempts to read a source that the machine does not let be read; the last one for all later."""
_NOTE_SECONDS = 0.5
_MANY = 100
"""Sources after which the memory that they took is returned."""
_DOCUMENT_SECONDS = 0.5
"""Between two times that a document is read whole."""


@dataclass(eq=False)
class Capture:
    """Captures while `run` runs."""

    home: Path
    agents: Agents
    sessions: Sessions
    queues: SessionQueues
    watcher: Watcher = field(init=False)
    _watching: asyncio.Task[None] | None = field(default=None, init=False)
    _config: CaptureConfig = field(default_factory=CaptureConfig, init=False)
    _watched: list[tuple[Tool, list[Path], list[Path]]] = field(default_factory=list, init=False)
    """Each tool that is on, its folders, and files beside them: to find them takes longer than what is asked
    of them at each change of a file."""
    _pending: Pending = field(default_factory=Pending, init=False)
    _scanned: set[Path] = field(default_factory=set, init=False)
    """The folders of tools of which what was there before is known."""
    _soon: dict[Path, Tool] = field(default_factory=dict, init=False)
    """Sources that wait for a moment: they are being written anew, or depend on one that is being read."""
    _read_at: dict[Path, float] = field(default_factory=dict, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    """For the first of the sources that are read again at a time."""
    _faults: dict[Path, int] = field(default_factory=dict, init=False)
    """How often a source could not be read, one time after another."""
    _unwritten: dict[Path, tuple[Tool, str]] = field(default_factory=dict, init=False)
    """Sources that could not be recorded, as on a full disk, and why; the latest is the last."""
    _closed: dict[CaptureTool, list[str]] = field(default_factory=dict, init=False)
    """Folders of tools that the latest look through could not read, each with why."""
    _work: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _applying: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _progress: Progress | None = field(default=None, init=False)
    _recorder: Recorder | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.originals = Originals(self.home)
        self.watcher = Watcher(self.sessions.threads, self._changed, self._scan)

    # --- its life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Capture until cancelled."""
        try:
            while True:
                try:
                    await self._take_in_originals()
                    await self.sessions.recovered()  # or a session that is here would be captured once more
                    await self.apply()
                    await self._read_due()
                except Exception:  # one failure must not end the capture
                    log.exception("capture goes on after an error")
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                await self._work.wait()
                await asyncio.sleep(_GATHER_SECONDS)
                self._work.clear()
        finally:
            if self._watching is not None:
                self._watching.cancel()
            if self._timer is not None:
                self._timer.cancel()
            if self._progress is not None:
                self._closing = self.sessions.threads.capture(self._progress.close)
            self._closing = self.sessions.threads.capture(self.originals.close)

    async def _take_in_originals(self) -> None:
        """What an earlier version kept in files, some at a time: others use the thread in between."""
        if not self.originals.has_files():
            return
        try:
            while await self.sessions.threads.capture(self.originals.take_in_some):
                pass
        except OSError as error:  # whoever needs them tries it again
            log.warning("⚠ originals of an earlier version are taken in later: %s", error)

    def config_changed(self) -> None:
        self._work.set()

    def turns_changed(self) -> None:
        """A turn may have ended."""
        if self._pending.turn_ended():
            self._work.set()

    async def session_restored(self, session_id: str) -> None:
        """A session is out of the trash: its tool may have gone on with it."""
        if self._recorder is None:
            return
        with contextlib.suppress(sqlite3.Error):
            if (source := await self._recorder.restored(session_id)) is not None:
                name, path = source
                self._queue(path, TOOLS[name])

    async def discard_originals(self, session_ids: Collection[str], *, dry_run: bool) -> int:
        """Delete the originals of sessions that are deleted for good; returns their bytes."""

        def is_gone(session_id: str) -> bool:
            return self.sessions.store.where(session_id) is None

        try:
            return await self.sessions.threads.files(
                self.originals.discard, session_ids, dry_run=dry_run, is_gone=is_gone
            )
        except OSError as error:
            what = f"the sessions are deleted, but not what capture kept of them: {error.strerror}"
            raise StorageFailed(what) from error

    async def apply(self) -> None:
        """Watch what config.toml says now."""
        async with self._applying:
            config = (await self.agents.refresh()).capture
            if config == self._config:
                return
            self._config = config
            self._unwritten.clear()
            self._closed.clear()
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.gather(self._watching, return_exceptions=True)
            self._watched = [
                (tool, self._folders(tool), tool.beside(self.config_of(tool))) for tool in self.on()
            ]
            folders = {folder: tool.passed_over for tool, its, _ in self._watched for folder in its}
            self._scanned.intersection_update(folders)
            if not folders:
                self._watching, self.watcher.mode = None, "off"
                return
            if self._recorder is None and not await self._start():
                self._config = CaptureConfig()  # it is tried again
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._work.set)
                return
            if self._recorder is not None:
                await self._note_newest(self._recorder)
            beside = [path for *_, files in self._watched for path in files]
            self._watching = asyncio.create_task(self._watch(folders, [self.home / "config.toml", *beside]))

    async def _watch(self, folders: Mapping[Path, Collection[str]], files: list[Path]) -> None:
        while True:
            try:
                await self.watcher.run(folders, files)
            except Exception:
                log.exception("the folders of tools are watched again after an error")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _start(self) -> bool:
        # Imported here: a daemon that captures nothing needs none of it.
        from port42_daemon.transfer.capture.recorder import Recorder

        try:
            progress = await self.sessions.threads.capture(self.progress)
        except (sqlite3.Error, OSError) as error:
            log.error("nothing is captured: capture.db cannot be used: %s", error)
            return False
        self._recorder = Recorder(progress, self.originals, self.sessions, self.queues, self.agents.config)
        return True

    def progress(self) -> Progress:
        """``capture.db``, opened when it is needed first. For the thread for capture.

        Raises sqlite3.Error and OSError.
        """
        from port42_daemon.transfer.capture.progress import Progress

        if self._progress is None:
            self._progress = Progress(self.home / "capture.db")
        return self._progress

    def kept_sources(self) -> tuple[list[str], list[KeptSource]]:
        """The formats of all originals, and the originals as sources that can be read again.

        Raises `StorageFailed`.
        """
        # Imported here: the readers would add a tenth to the daemon's start.
        from port42_daemon.transfer.capture.kept import kept_sources

        try:
            return kept_sources(self.originals)
        except OSError as error:
            raise StorageFailed(f"cannot read the originals: {error.strerror}") from error

    def on(self) -> list[Tool]:
        configs = [(tool, self.config_of(tool)) for tool in TOOLS.values()]
        return [tool for tool, config in configs if config and config.on and tool.path(config) is not None]

    def _folders(self, tool: Tool) -> list[Path]:
        return tool.folders(self.config_of(tool))

    def config_of(self, tool: Tool) -> CapturedToolConfig | None:
        config: CapturedToolConfig | None = getattr(self._config, tool.name)
        return config

    def _changed(self, path: Path) -> None:
        """Called for each file that may have changed."""
        if path == self.home / "config.toml":
            self._work.set()
        for tool, folders, beside in self._watched:
            source = tool.source(path)
            if source is not None and any(folder in path.parents for folder in folders):
                self._queue(source, tool)
            elif path in beside:
                self._queue(path, tool)

    async def _scan(self) -> None:
        """Find the sources that changed while nothing watched them."""
        for tool in self.on():
            folders = self._folders(tool)
            is_known = self._scanned.issuperset(folders)
            signatures = await self.sessions.threads.capture(self._signatures, tool)
            # In another thread: whoever asks how far it is waits for that of capture.
            for path in await self.sessions.threads.files(self._changed_sources, tool, signatures):
                if not is_known:
                    self._pending.add_later(path, tool)
                elif not self._pending.is_in_backlog(path):
                    self._pending.add(path, tool)
            self._scanned.update(folders)
        self._work.set()

    def _signatures(self, tool: Tool) -> dict[bytes, bytes]:
        assert self._progress is not None  # noqa: S101  # it was opened before anything is watched
        try:
            return self._progress.signatures(tool.name)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # a full disk, say: the file may be good
            self._progress.renew(error)
            return {}

    def _changed_sources(self, tool: Tool, signatures: dict[bytes, bytes]) -> list[Path]:
        from port42_daemon.transfer.capture.progress import is_read, signature_at

        changed: dict[Path, int] = {}
        closed: list[str] = []

        def note(error: OSError) -> None:
            if isinstance(error, PermissionError):  # others are gone meanwhile
                closed.append(f"{error.filename}: it cannot be read: permission denied")

        folders = self._folders(tool)
        files = chain.from_iterable(below(folder, tool.passed_over, note) for folder in folders)
        for path in chain(filter(None, map(tool.source, files)), tool.beside(self.config_of(tool))):
            with contextlib.suppress(OSError):
                signature = signature_at(path)
                if not is_read(signatures, path, signature):
                    changed[path] = signature[3]
        self._closed[tool.name] = closed
        if tool.forks_need_originals:  # whose names begin with the times at which they began
            return sorted(changed, key=lambda path: path.name)
        # What was copied comes before its copy, which may not say that it is one, and sub-agents come last.
        later = {path for path in changed if tool.sub_agents and path.match(tool.sub_agents)}
        return sorted(changed, key=lambda path: (path in later, changed[path], path))

    async def _read_due(self) -> None:
        """Read the sources that are pending, many in turns."""
        recorder = self._recorder
        if recorder is None:
            return
        noted, finished = time.monotonic(), 0
        while True:
            while (due := self._pending.take(recorder.reading)) is not None:
                path, tool, changes_now = due
                if path in tool.beside(self.config_of(tool)):
                    await self._read_titles(recorder, path, tool)
                else:
                    self._begin_reading(recorder, path, tool, changes_now)
            if not recorder.reading:
                break
            for read in await recorder.read():
                finished += 1
                try:
                    again_in = await self._finish(recorder, read)
                    self._unwritten.pop(read.path, None)
                except (RpcError, OSError, sqlite3.Error) as error:
                    again_in = self._note_unwritten(read.path, read.tool, error)
                self._queue_in(again_in, read.path, read.tool)
            if time.monotonic() - noted > _NOTE_SECONDS:
                await self._note_last(recorder)
                noted = time.monotonic()
        await self._note_last(recorder)
        if finished >= _MANY:
            await self.sessions.threads.capture(memory.give_back)

    async def _read_titles(self, recorder: Recorder, path: Path, tool: Tool) -> None:
        from port42_daemon.transfer.capture.titles import Titles
        from port42_daemon.transfer.readers.base import Skipped
        from port42_daemon.transfer.readers.files import DiskFault

        try:
            try:
                if not await Titles(recorder, self.sessions).read(tool, path):
                    self._queue_in(_GATHER_SECONDS, path, tool)
                self._faults.pop(path, None)
                self._unwritten.pop(path, None)
            except FileNotFoundError:
                pass  # its tool has deleted it
            except DiskFault as fault:
                self._queue_in(await self._note_fault(recorder, tool, path, fault), path, tool)
            except Skipped as reason:
                await recorder.refuse(tool, path, str(reason))
        except (RpcError, OSError, sqlite3.Error) as error:
            self._queue_in(self._note_unwritten(path, tool, error), path, tool)

    def _queue_in(self, seconds: float | None, path: Path, tool: Tool) -> None:
        """Read the source again then; None: when it changes."""
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._pending.add_at(loop.time() + seconds, path, tool)
            if self._timer is None or self._timer.when() > loop.time() + seconds:
                self._set_timer(loop.time() + seconds)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._queue_due)

    def _queue_due(self) -> None:
        self._timer = None
        if (following := self._pending.add_due(asyncio.get_running_loop().time())) is not None:
            self._set_timer(following)
        self._work.set()

    def _begin_reading(self, recorder: Recorder, path: Path, tool: Tool, changes_now: bool) -> None:
        config = self.config_of(tool)
        self._soon.pop(path, None)
        if config is None or not config.on or self._postponed(path, tool):
            return
        self._pending.begun(path)
        recorder.begin(tool, path, config, changes_now=changes_now)

    async def _finish(self, recorder: Recorder, read: Reading) -> float | None:
        """Returns in how many seconds to read the source again; None: when it changes.

        Raises RpcError, OSError and sqlite3.Error where it, or why it is not read, could not be written.
        """
        from port42_daemon.transfer.capture.batch_writer import OriginalIsRead, TurnRuns
        from port42_daemon.transfer.capture.reading import InTrash, Rewritten
        from port42_daemon.transfer.readers.base import Skipped
        from port42_daemon.transfer.readers.files import DiskFault

        tool, path, error = read.tool, read.path, read.error
        match error:
            case None:
                if read.source is not None:
                    self._faults.pop(path, None)
                return read.again_in
            case TurnRuns():
                self._pending.add_after_turn(path, tool)
                if not self.queues.under_way:  # it has ended meanwhile
                    self.turns_changed()
            case Rewritten() | OriginalIsRead():
                self._soon[path] = tool
                return _GATHER_SECONDS
            case DiskFault():
                return await self._note_fault(recorder, tool, path, error)
            case Skipped():
                # What is in the trash is so because somebody wanted it, and is read when it is restored.
                await recorder.refuse(tool, path, None if isinstance(error, InTrash) else str(error))
            case RpcError() | OSError() | sqlite3.Error():
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(
                    error, sqlite3.OperationalError
                ):
                    await self.sessions.threads.capture(recorder.progress.renew, error)
                raise error
            case _:
                log.error("%s could not be captured", path.name, exc_info=error)
                await recorder.refuse(tool, path, "an internal error, see the log")
        return None

    async def _note_fault(self, recorder: Recorder, tool: Tool, path: Path, fault: DiskFault) -> float:
        """As `_finish`, for a source that is as it was, which the machine did not let be read."""
        number = self._faults.get(path, 0)
        again_in = _FAULT_SECONDS[min(number, len(_FAULT_SECONDS) - 1)]
        self._faults[path] = number + 1
        if number < len(_FAULT_SECONDS):
            log.warning("⚠ %s is read later: %s", path.name, fault)
        await recorder.refuse(tool, path, f"{fault}; it is tried again", again_in)
        return again_in

    def _note_unwritten(self, path: Path, tool: Tool, error: Exception) -> float:
        """As `_finish`, for a source that could not be recorded; a reason is logged once."""
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        if self._unwritten.pop(path, None) != (tool, reason):
            log.warning("⚠ %s is read later: %s", path.name, error)
        self._unwritten[path] = tool, reason
        return _RETRY_SECONDS

    def _postponed(self, path: Path, tool: Tool) -> bool:
        """Whether it is a document that was read a moment ago; then it is queued for later."""
        wait = self._read_at.get(path, 0.0) + _DOCUMENT_SECONDS - time.monotonic()
        if path.suffix != ".jsonl" and wait > 0:
            self._queue_in(wait, path, tool)
            return True
        if path.suffix != ".jsonl":
            self._read_at[path] = time.monotonic()
        return False

    async def _note_last(self, recorder: Recorder) -> None:
        """Write which sessions their agents used last, once for many sources."""
        while recorder.used:
            agent, (_, session_id, seq) = recorder.used.popitem()
            with contextlib.suppress(RpcError):
                await self.sessions.threads.files(self.sessions.catch_up_last, agent, session_id, seq)

    async def _note_newest(self, recorder: Recorder) -> None:
        """What a crash kept from being noted: the sessions used last, as their files say."""
        for tool in self.on():
            if (config := self.config_of(tool)) is None:
                continue
            for agent in {config.agent or tool.name, *config.folders.values()}:
                with contextlib.suppress(RpcError):
                    newest = await self.sessions.used_last(1, agent)
                    if newest:
                        recorder.used[agent] = ("", newest[0].session_id, 0)

    def _queue(self, path: Path, tool: Tool) -> None:
        self._pending.add(path, tool)
        self._work.set()

    # --- for the methods and doctor ---------------------------------------------------------------

    def waiting(self, tool: Tool) -> int:
        """How many of its sources are to be read, or are being read."""
        reading = self._recorder.reading.values() if self._recorder is not None else ()
        begun = chain((each.tool for each in reading), self._soon.values())
        return self._pending.count(tool) + sum(each is tool for each in begun)

    def unwritten(self, tool: Tool) -> str | None:
        """The latest of its sources that could not be recorded, and why, or a folder that cannot be read."""
        tried = [
            f"{path}: {why}; it is tried again" for path, (its, why) in self._unwritten.items() if its is tool
        ]
        reasons = self._closed.get(tool.name, []) + tried
        more = f" (and {len(reasons) - 1:,} more)" if len(reasons) > 1 else ""
        return reasons[-1] + more if reasons else None

    def is_scanned(self, tool: Tool) -> bool:
        """Whether it is known what was in its folder when the capture began. Of a tool that is on."""
        folders = self._folders(tool)
        return bool(folders) and self._scanned.issuperset(folders)

    async def totals(self) -> dict[CaptureTool, Totals]:
        """What was read of each tool, as far as anything is known."""
        if self._progress is None:
            return {}
        beside = {tool.name: tool.beside(self.config_of(tool)) for tool in TOOLS.values()}
        try:
            return await self.sessions.threads.capture(self._progress.totals, beside)
        except sqlite3.Error as error:
            log.error("capture.db cannot be used: %s", error)
            return {}
