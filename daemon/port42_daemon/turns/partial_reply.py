"""What a running turn has that is not recorded yet, kept in a checkpoint in case the daemon is killed."""

from __future__ import annotations

import asyncio
import logging

from port42_daemon.executors import Threads
from port42_daemon.store.interface import Checkpoint
from port42_daemon.turns.transcript import Call, Transcript
from port42_protocol.messages.records import Record

log = logging.getLogger(__name__)

_KEEP_EVERY = 0.5  # seconds that a piece may be in memory only; a kill may cost at most a second of text


class PartialReply:
    """The text of a turn, the calls that run, and the records that could not be written.

    The checkpoint has all of the text, also what is recorded: recovery leaves out what the session has.
    """

    def __init__(self, checkpoint: Checkpoint, transcript: Transcript) -> None:
        self._checkpoint = checkpoint
        self._transcript = transcript
        self._lines: list[str | Call | Record] = []
        self._failing = False

    def add(self, line: str | Call | Record) -> None:
        self._lines.append(line)

    def keep(self) -> bool:
        """Write what is not written yet. False where the disk refuses it: the next call tries it again.

        Blocks; called by one thread at a time.
        """
        upto = len(self._lines)
        lines = self._kept_lines(self._lines[:upto])
        try:
            if lines:
                self._checkpoint.add(lines)
            del self._lines[:upto]
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("⚠ a reply under way could not be kept: %s", error)
            self._failing = True
        return not self._failing

    def _kept_lines(self, lines: list[str | Call | Record]) -> list[str | Record]:
        """The text in one piece, then the records, then the calls that still run, as interrupted."""
        text = "".join(line for line in lines if isinstance(line, str))
        records = [line for line in lines if isinstance(line, Record)]
        latest = {line.tool.id: line for line in lines if isinstance(line, Call)}
        running = [call for tool_id, call in latest.items() if tool_id in self._transcript.calls]
        return [*([text] if text else []), *records, *map(self._transcript.interrupted, running)]

    def close(self, *, recorded: bool) -> None:
        """Remove the checkpoint of a reply that is recorded; of another it keeps all. Blocks."""
        try:
            if recorded:
                self._checkpoint.end()
            else:
                self.keep()
                self._checkpoint.close()
        except OSError as error:
            log.warning("⚠ a checkpoint could not be removed: %s", error)


class ReplyKeeper:
    """Writes the replies under way to their checkpoints, all of them in one trip to a thread."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._waiting: set[PartialReply] = set()
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def grown(self, reply: PartialReply) -> None:
        """Have `reply` written, a moment from now: what comes meanwhile goes along."""
        self._waiting.add(reply)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self, reply: PartialReply, *, recorded: bool) -> None:
        """Write no more of it, and close it."""
        async with self._writing:  # not while it is being written
            self._waiting.discard(reply)
            await self._threads.files(reply.close, recorded=recorded)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_KEEP_EVERY)
                async with self._writing:
                    replies, self._waiting = self._waiting, set()
                    self._waiting.update(await self._threads.files(_keep_all, replies))
        finally:
            self._task = None


def _keep_all(replies: set[PartialReply]) -> list[PartialReply]:
    """Those that could not be kept."""
    return [reply for reply in replies if not reply.keep()]
