"""One client's connection: reads requests, runs a bounded number at once, writes the responses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import sys
from collections.abc import Callable
from enum import Enum, auto
from time import perf_counter
from typing import Protocol, cast

from port42_daemon.events import QUEUED_BYTES, QUEUED_EVENTS
from port42_daemon.rpc.budget import PER_CLIENT, Budget
from port42_daemon.rpc.dispatch import Dispatcher, Pending, error_response
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.settings import Settings
from port42_protocol.errors import RpcError
from port42_protocol.request_framing import Framing, RequestFramer

log = logging.getLogger(__name__)

_LINGER = 2.0  # seconds that a refused client has to read the error before it is disconnected
_FIRST_REQUEST = 0.5  # seconds that a new client has to send its request when the daemon stops
_HALF_CLOSED = 0.5  # seconds between two polls of a peer that has stopped sending and waits for responses
_NEWLINE = 0.02  # seconds in which a newline may follow a first request that came without one
_SMALL = 64 * 1024  # bytes of a request or an answer that are not counted in the budget
_SLICE = 0.00025  # seconds of one client's requests after which the others have their turn


class _State(Enum):
    """The state of a connection. Transitions go forward only."""

    OPEN = auto()
    RETIRING = auto()  # the daemon stops: closed as soon as nothing is under way
    CUT = auto()  # the peer's writes fail from now on; what it wrote before is read and answered
    ENDED = auto()  # the peer sends no more; what is under way is answered
    REFUSED = auto()  # an error was sent; further input is discarded
    CLOSED = auto()


class Host(Protocol):
    """Callbacks of a connection to the server."""

    requests: set[asyncio.Task[None]]  # all that are in progress, also of closed connections

    def admit(self, connection: Connection, transport: asyncio.Transport) -> bool: ...
    def forget(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Reads, answers and writes for one peer.

    Nothing is read from a peer that does not read its responses or has too many requests in progress.
    """

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        traffic: Traffic,
        budget: Budget,
        server: Host,
    ) -> None:
        self._dispatcher = dispatcher
        self._traffic = traffic
        self._budget = budget
        self._framer = RequestFramer(settings.request_bytes)
        self._most = settings.requests_per_connection
        self._server = server
        self.notifications = True
        self._loop = asyncio.get_running_loop()
        self._state = _State.OPEN
        self._transport: asyncio.Transport | None = None
        self._at_end: list[Callable[[], None]] = []
        self._output: list[bytes] = []
        """Written at the end of this turn of the loop, all at once: a write costs more than an answer."""
        self._reads = asyncio.Event()  # set unless the peer lets its answers pile up
        self._reads.set()
        self._piled_up = 0
        self._taken = 0  # bytes of large requests under way, and of what their answers may have
        self._unread = 0  # bytes of the budget for answers that the peer has not read
        self._under_way: set[asyncio.Task[None]] = set()
        self._first_request_until = self._loop.time() + _FIRST_REQUEST

    # --- called by the event loop -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.admit(self, self._transport):
            self._state = _State.REFUSED

    def data_received(self, data: bytes) -> None:
        self._traffic.bytes_in += len(data)
        if self._state is not _State.REFUSED:
            self._first_request_until = 0.0
            self._framer.feed(data)
            self._process()

    def eof_received(self) -> bool:
        if self._state is not _State.REFUSED:
            if self._state is not _State.CUT:  # a request cut in the middle was not sent
                self._framer.end()
            self._state = _State.ENDED
            self._process()
        elif self._transport is not None:
            self._transport.close()
        self._poll_for_hangup()
        return True

    def pause_writing(self) -> None:
        self._reads.clear()

    def resume_writing(self) -> None:
        self._piled_up = 0
        self._reads.set()
        self._give_back_unread()
        self._process()

    def connection_lost(self, _: Exception | None) -> None:
        """The peer is gone. Its requests are still completed: they may be on the disk."""
        self._state, self._transport = _State.CLOSED, None
        self._reads.set()
        self._give_back_unread()
        for act in list(self._at_end):
            act()
        self._server.forget(self)

    # --- called by the server -------------------------------------------------------------------------

    def refuse(self, error: RpcError, linger: float = _LINGER) -> None:
        """Send an error, then close; input during `linger` seconds is discarded."""
        self._traffic.refused(error)
        self._send(error_response(error, None))
        self._flush()
        self._state = _State.REFUSED
        if self._transport is not None and linger:
            # Closing at once would have the peer's next write fail before it reads why.
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(linger, self.close)
        else:
            self.close()

    def retire(self) -> None:
        """Close as soon as no request is in progress; all that were received by then are answered."""
        if self._state is _State.OPEN:
            self._state = _State.RETIRING
            self._close_when_idle()

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # --- called by handlers --------------------------------------------------------------------------

    def emit(self, notification: bytes, *, at_any_rate: bool = False) -> bool:
        """Send a notification, unless this peer wants none or too much waits for it already."""
        if self._transport is None or not self.notifications:
            return False
        if not self._reads.is_set() and not at_any_rate:
            self._piled_up += 1
            if self._piled_up > QUEUED_EVENTS or self._transport.get_write_buffer_size() > QUEUED_BYTES:
                return False
        self._send(notification)
        return True

    async def drained(self) -> None:
        """Wait until this peer reads, or is gone."""
        self._flush()
        await self._reads.wait()

    def when_lost(self, act: Callable[[], None]) -> Callable[[], None]:
        """Have `act` called at the end of this connection. Returns an unsubscribe callable."""
        if self._transport is None:
            act()
        else:
            self._at_end.append(act)
        return lambda: self._at_end.remove(act) if act in self._at_end else None

    # --- inside -----------------------------------------------------------------------------------------

    def _process(self) -> None:
        """Begin the requests that were received, within the limits of one peer and of `_SLICE`."""
        until = perf_counter() + _SLICE
        all_begun = False
        while self._may_begin():
            try:
                frame = self._framer.next_frame()
            except RpcError as error:
                self.refuse(error)
                return
            if frame is None:
                all_begun = True
                break
            self._begin(frame)
            if perf_counter() > until:
                self._loop.call_soon(self._process)
                break
        self._flush()
        if self._transport is not None and self._state is not _State.ENDED:
            # Nothing is read while something is left to begin.
            if self._transport.is_reading() and not all_begun:
                self._transport.pause_reading()
            elif all_begun and not self._transport.is_reading():
                self._transport.resume_reading()
        if self._framer.framing is Framing.UNSURE:
            self._loop.call_later(_NEWLINE, self._settle_framing)
        if self._state is not _State.OPEN and (all_begun or not self._framer.begun):
            self._close_when_idle()

    def _may_begin(self) -> bool:
        return (
            self._reads.is_set()
            and self._state is not _State.REFUSED
            and len(self._under_way) < self._most
            and self._taken < PER_CLIENT
        )

    def _begin(self, request: bytes) -> None:
        answer = self._dispatcher.answer(request, self)
        if isinstance(answer, bytes):
            self._output.append(self._framer.frame(answer))
        elif answer is not None:
            size = answer.weight + (len(request) if len(request) > _SMALL else 0)
            self._taken += size
            task = self._loop.create_task(self._finish(answer, size))
            self._under_way.add(task)
            self._server.requests.add(task)
            task.add_done_callback(self._done)

    async def _finish(self, pending: Pending, size: int) -> None:
        weight = pending.weight
        if weight:
            await self._budget.take(weight)
        answer = None
        try:
            answer = await pending.answer
        finally:
            if answer is not None:
                self._send(answer)
                if weight:  # whether the peer reads it is looked at below
                    self._flush()
            self._taken -= size
            if weight and answer is not None and len(answer) > _SMALL and not self._reads.is_set():
                self._unread += weight
                self._budget.stopped_reading(self._drop)
            else:
                self._budget.give_back(weight)

    def _give_back_unread(self) -> None:
        if self._unread:
            weight, self._unread = self._unread, 0
            self._budget.read_again(self._drop)
            self._budget.give_back(weight)

    def _drop(self) -> None:
        """Disconnect a peer that does not read, because others wait for the memory of its responses."""
        if self._transport is not None:
            log.warning("✂ a client that does not read its answers is cut off")
            self._transport.abort()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._server.requests.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._abandon(error)
        self._process()

    def _send(self, text: bytes) -> None:
        """Write it at the end of this iteration of the loop, unless the connection is closing."""
        if self._state is _State.REFUSED:
            return
        if not self._output:
            self._loop.call_soon(self._flush)
        self._output.append(self._framer.frame(text))

    def _flush(self) -> None:
        output, self._output = self._output, []
        if output and self._transport is not None:
            try:
                data = output[0] if len(output) == 1 else b"".join(output)
                self._traffic.bytes_out += len(data)
                self._transport.write(data)
            except MemoryError as error:
                self._abandon(error)

    def _abandon(self, error: BaseException) -> None:
        """Disconnect a peer that cannot get its answer: it would wait for it for ever."""
        log.error("a request ended without an answer", exc_info=error)
        if self._transport is not None:
            self._transport.abort()

    def _settle_framing(self) -> None:
        if owed := self._framer.settle():
            self._output.append(owed)
            self._flush()

    def _poll_for_hangup(self) -> None:
        """Whether a peer that sends no more waits for answers or is gone: only poll(2) tells, by POLLHUP.

        While nothing is written no event tells of it, so it is polled as long as a request is under way.
        """
        if self._transport is None or not self._under_way:
            return
        asking = select.poll()
        asking.register(self._transport.get_extra_info("socket").fileno(), 0)
        if asking.poll(0):
            self._transport.abort()
        else:
            self._loop.call_later(_HALF_CLOSED, self._poll_for_hangup)

    def _close_when_idle(self) -> None:
        """Close once the peer sends no more; while the daemon stops, make it send no more first."""
        if self._under_way or self._transport is None:
            return
        if self._state is _State.ENDED:
            self.close()
        elif self._state is _State.RETIRING and not self._framer.begun:  # else its rest is on its way
            if (wait := self._first_request_until - self._loop.time()) > 0:
                self._loop.call_later(wait, self._close_when_idle)
            elif sys.platform == "linux":
                self._state = _State.CUT
                self._cut_off_writes(self._transport)
            else:
                self.close()

    @staticmethod
    def _cut_off_writes(transport: asyncio.Transport) -> None:
        """Have the peer's next write fail (EPIPE); what it wrote before is still read, then the end.

        So each side knows what was asked and what was not. Elsewhere than on Linux the bytes that wait
        here would be lost (unix(4) of the BSDs flushes them).
        """
        with contextlib.suppress(OSError):
            # uvloop's own socket object refuses to be shut down.
            descriptor = os.dup(transport.get_extra_info("socket").fileno())
            with socket.socket(fileno=descriptor) as same:
                same.shutdown(socket.SHUT_RD)
