"""A reply as it is given: its pieces, and the checkpoint that keeps them for the case of a kill."""

from __future__ import annotations

import asyncio
import logging

from port42_daemon.backends.decoding import SurrogateJoiner
from port42_daemon.executors import Threads
from port42_daemon.store.interface import Checkpoint

log = logging.getLogger(__name__)

_KEEP_EVERY = 0.5
"""Seconds that a piece may be in memory only; a kill may cost at most a second of text."""
LIMIT = 4 * 1024 * 1024
"""Characters of one reply: an agent that never ends must not fill the disk."""


class PartialReply:
    """The text so far. It grows by `add`; `settle` ends that, then `close` closes the checkpoint."""

    def __init__(self, checkpoint: Checkpoint, threads: Threads) -> None:
        self.pieces: list[str] = []
        self.overlong = False
        self._room = LIMIT
        self._joiner = SurrogateJoiner()
        self._checkpoint = checkpoint
        self._threads = threads
        self._kept = 0
        self._keeping: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

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
            if self._keeping is None:
                self._keeping = asyncio.create_task(self._keep())
        return piece

    async def settle(self) -> None:
        """Wait until what there is so far is kept."""
        self._settled.set()
        if self._keeping is not None:
            await asyncio.wait([self._keeping])

    async def close(self, *, recorded: bool) -> None:
        """Close the checkpoint; it is removed when the reply is recorded, and stays when it is not."""
        await self.settle()
        try:
            await self._threads.files(self._checkpoint.end if recorded else self._checkpoint.close)
        except OSError as error:
            log.warning("⚠ a checkpoint could not be removed: %s", error)

    async def _keep(self) -> None:
        """Write what is new, a moment from now: pieces that come meanwhile go along.

        What the disk refuses is tried again; the reply itself will be recorded, or that will fail aloud.
        """
        refused = False
        try:
            while self._kept < len(self.pieces) and not (refused and self._settled.is_set()):
                await self._moment()
                upto = len(self.pieces)
                try:
                    await self._threads.files(self._checkpoint.add, "".join(self.pieces[self._kept : upto]))
                    self._kept, refused = upto, False
                except OSError as error:
                    if not refused:
                        log.warning("⚠ a reply under way could not be kept: %s", error)
                    refused = True
        finally:
            self._keeping = None

    async def _moment(self) -> None:
        try:
            async with asyncio.timeout(_KEEP_EVERY):
                await self._settled.wait()
        except TimeoutError:
            return
