"""The reply of a running turn: its pieces, and the checkpoint that keeps them in case of a kill."""

from __future__ import annotations

import asyncio
import logging

from port42_daemon.backends.decoding import SurrogateJoiner
from port42_daemon.executors import Threads
from port42_daemon.store.interface import Checkpoint

log = logging.getLogger(__name__)

_KEEP_EVERY = 0.5  # seconds that a piece may be in memory only; a kill may cost at most a second of text
LIMIT = 4 * 1024 * 1024  # characters of one reply: an agent that never ends must not fill the disk


class PartialReply:
    """The text so far. It grows by `add` until `finish`; `close` closes its checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.pieces: list[str] = []
        self.overlong = False
        self._room = LIMIT
        self._joiner = SurrogateJoiner()
        self._checkpoint = checkpoint
        self._kept = 0
        self._failing = False

    def __str__(self) -> str:
        return "".join(self.pieces)

    def add(self, text: str) -> str:
        """Take a piece; returns what of it there is room for, in characters that UTF-8 has."""
        return self._append(self._joiner.feed(text))

    def finish(self) -> str:
        """No piece comes any more; returns what of the last one was not shown yet."""
        return self._append(self._joiner.end())

    def _append(self, text: str) -> str:
        piece = text[: self._room]
        self.overlong = self.overlong or len(text) > self._room
        if piece:
            self._room -= len(piece)
            self.pieces.append(piece)
        return piece

    def keep(self) -> bool:
        """Write what is not written yet. False where the disk refuses it: the next call tries it again.

        Blocks; called by one thread at a time.
        """
        upto = len(self.pieces)
        try:
            if self._kept < upto:
                self._checkpoint.add("".join(self.pieces[self._kept : upto]))
                self._kept = upto
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("⚠ a reply under way could not be kept: %s", error)
            self._failing = True
        return not self._failing

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
