"""One client: its bytes in, its lines answered, its answers out; never more under way than it may."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import cast

from port42_daemon.events import QUEUED_BYTES, QUEUED_EVENTS
from port42_daemon.rpc.dispatch import Answer, Dispatcher
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import Settings
from port42_protocol import codec
from port42_protocol.errors import FrameTooLarge, RpcError
from port42_protocol.framing import LineFramer

log = logging.getLogger(__name__)

_LINGER = 2.0
"""Seconds that a refused client gets to read why, before its connection is cut."""
_FIRST_WORD = 0.5
"""Seconds that a peer who has just come gets to say what for, when the daemon stops."""
_HALF_CLOSED = 0.5
"""Seconds between looks at a peer that has said its last and still waits."""


class Connection(asyncio.Protocol):
    """Reads, answers and writes for one peer.

    A peer that does not read its answers, or has too many requests under way, is not read from: what
    it may cost is bounded, and nobody else waits.
    """

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        traffic: Traffic,
        admit: Callable[[Connection, asyncio.Transport], bool],
        lost: Callable[[Connection], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._traffic = traffic
        self._framer = LineFramer(settings.request_bytes)
        self._most = settings.requests_per_connection
        self._admit = admit
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._at_end: list[Callable[[], None]] = []
        self._read: asyncio.Future[None] | None = None
        self._waiting = 0
        self._notifications: list[bytes] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._clogged = self._ended = self._refused = self._paused = False
        self._heard = self._retiring = self._cut = False
        self._since = asyncio.get_running_loop().time()

    # --- what the event loop says -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there; whether to talk to them is the server's to say."""
        self._transport = cast("asyncio.Transport", transport)
        self._refused = not self._admit(self, self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer what is whole; keep the rest."""
        self._heard = True
        self._traffic.bytes_in += len(data)
        if not self._refused:
            self._framer.feed(data)
            self._go_on()
            self._retire_when_idle()

    def eof_received(self) -> bool:
        """The peer said all it had to say; what is under way is still answered."""
        self._ended = True
        if not self._refused:
            if not self._cut:
                self._framer.end()
            self._go_on()
        self._close_when_done()
        self._look_for_end()
        return True

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._clogged = True

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._clogged, self._waiting = False, 0
        self._wake()
        self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        """The peer is gone. What it asked for is carried out all the same: it may be on the disk."""
        self._transport = None
        self._wake()
        for act in list(self._at_end):
            act()
        self._lost(self)

    # --- what the server says -------------------------------------------------------------------------

    def refuse(self, error: RpcError) -> None:
        """Say why, then close; what still comes in is thrown away."""
        self._refused = True
        self._traffic.refused(error)
        answer = {"code": error.code, "message": error.message, "data": error.data}
        self._write(codec.encode({"jsonrpc": "2.0", "error": answer, "id": None}))
        if self._transport is not None:
            # Closing at once, with unread bytes in the socket, would reset it: the answer, lost.
            self._transport.write_eof()
            self._transport.resume_reading()
            asyncio.get_running_loop().call_later(_LINGER, self.close)

    def retire(self) -> None:
        """Let go of the peer as soon as nothing is under way for it; all it has sent by then is answered."""
        self._retiring = True
        self._retire_when_idle()

    # --- what handlers say --------------------------------------------------------------------------

    def emit(self, line: bytes, *, at_any_rate: bool = False) -> bool:
        """Send a notification, unless too much waits for this peer already."""
        if self._transport is None:
            return False
        if self._clogged and not at_any_rate:
            self._waiting += 1
            if self._waiting > QUEUED_EVENTS or self._transport.get_write_buffer_size() > QUEUED_BYTES:
                return False
        if not self._notifications:
            asyncio.get_running_loop().call_soon(self._flush)
        self._notifications.append(line)
        return True

    async def drained(self) -> None:
        """Wait until this peer reads, or is gone."""
        self._flush()
        if self._clogged and self._transport is not None:
            if self._read is None:
                self._read = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._read)

    def when_lost(self, act: Callable[[], None]) -> Callable[[], None]:
        """Have `act` called at the end of this connection; gives what takes that back."""
        if self._transport is None:
            act()
        else:
            self._at_end.append(act)
        return lambda: self._at_end.remove(act) if act in self._at_end else None

    # --- and the rest ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the peer once what was written has gone out."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    @property
    def under_way(self) -> frozenset[asyncio.Task[None]]:
        """Requests that are not answered yet."""
        return frozenset(self._under_way)

    # --- inside -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Answer line after line, as long as this peer may have more under way."""
        while self._may_go_on():
            try:
                line = self._framer.next_line()
            except FrameTooLarge as error:
                self.refuse(error)
                return
            if line is None:
                break
            self._begin(line)
        self._read_if(self._may_go_on())

    def _may_go_on(self) -> bool:
        return not self._clogged and not self._refused and len(self._under_way) < self._most

    def _read_if(self, wanted: bool) -> None:
        if wanted == (not self._paused) or self._transport is None or self._refused:
            return
        self._paused = not wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _look_for_end(self) -> None:
        """After its last byte a peer waits for answers, or is gone: only poll(2) tells, by POLLHUP.

        It has no edge to wait for while we do not write, so it is asked again as long as something is
        under way for this peer.
        """
        if self._transport is None or not self._under_way:
            return
        asking = select.poll()
        asking.register(self._transport.get_extra_info("socket").fileno(), 0)
        if asking.poll(0):
            self._transport.abort()
        else:
            asyncio.get_running_loop().call_later(_HALF_CLOSED, self._look_for_end)

    def _wake(self) -> None:
        """Let go on whoever waits for this peer to read."""
        if self._read is not None and not self._read.done():
            self._read.set_result(None)
        self._read = None

    def _begin(self, line: bytes) -> None:
        answer = self._dispatcher.answer(line, self)
        if answer is None or isinstance(answer, bytes):
            self._write(answer)
            return
        task = asyncio.get_running_loop().create_task(self._finish(answer))
        self._under_way.add(task)
        task.add_done_callback(self._done)

    async def _finish(self, answer: Awaitable[Answer]) -> None:
        self._write(await answer)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a request ended without an answer", exc_info=error)
        self._go_on()
        self._close_when_done()
        self._retire_when_idle()

    def _retire_when_idle(self) -> None:
        if not self._retiring or self._under_way or self._ended or self._refused or self._transport is None:
            return
        if self._framer.begun:
            return  # the rest of the line is on its way
        loop = asyncio.get_running_loop()
        if not self._heard and (wait := self._since + _FIRST_WORD - loop.time()) > 0:
            loop.call_later(wait, self._retire_when_idle)
        elif sys.platform == "linux":
            self._cut_off_writes()
        else:
            self.close()

    def _cut_off_writes(self) -> None:
        """Have the peer's next write fail (EPIPE); what it wrote before is still read, then the end.

        So each side knows what was asked and what was not. Elsewhere than on Linux the bytes that wait
        here would be lost (unix(4) of the BSDs flushes them).
        """
        if self._transport is not None and not self._cut:
            self._cut = True
            with contextlib.suppress(OSError):
                # uvloop's own socket object refuses to be shut down.
                descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
                with socket.socket(fileno=descriptor) as same:
                    same.shutdown(socket.SHUT_RD)

    def _write(self, answer: Answer) -> None:
        if answer is not None and self._transport is not None:
            self._flush()
            self._traffic.bytes_out += len(answer) + 1
            self._transport.write(answer + b"\n")

    def _flush(self) -> None:
        """Write the notifications of this turn of the loop, all at once: a write costs more than they do."""
        if self._notifications and self._transport is not None:
            self._notifications.append(b"")
            data = b"\n".join(self._notifications)
            self._traffic.bytes_out += len(data)
            self._transport.write(data)
        self._notifications = []

    def _close_when_done(self) -> None:
        if self._ended and not self._under_way:
            self.close()
