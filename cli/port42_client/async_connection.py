"""One connection to the daemon on the event loop: calls at the same time, and events in their order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

from port42_client import silence, wire
from port42_client.client import ANSWER_LIMIT, TURNS
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, NoDaemon
from port42_client.wire import Event, JsonObject
from port42_protocol.errors import FrameTooLarge
from port42_protocol.framing import REQUEST_LIMIT, LineFramer

OnEvent = Callable[["Connection", Event], Awaitable[None]]

_PIECE = 256 * 1024


class Lost(Exception):
    """The connection ended before the answer: nothing tells whether the request was carried out."""


class Connection:
    """Made by `open`. `on_event` has returned before an answer that came after its event is returned."""

    def __init__(self, connection: socket.socket, on_event: OnEvent) -> None:
        self._socket = connection
        self._on_event = on_event
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[JsonObject]] = {}
        self._writing = asyncio.Lock()
        self._cancels: set[asyncio.Task[None]] = set()
        self.ended = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, daemon: Daemon, on_event: OnEvent, *, may_start: bool = True) -> Connection:
        """Raises `NoDaemon`, without `may_start` also where one would have to be started."""
        try:
            connection = await asyncio.to_thread(daemon.connect if may_start else daemon.existing)
        except NoDaemon:
            # Whoever else started one at the same time may have been first.
            if not may_start or (other := await asyncio.to_thread(daemon.find)) is None:
                raise
            connection = other
        connection.setblocking(False)
        return cls(connection, on_event)

    async def call(self, method: str, params: JsonObject) -> Any:
        """The result, in plain values. Raises `DaemonError`, `Lost`, and `NoDaemon` for what is no answer.

        That is raised, too, of a daemon that hangs: for `silence.PATIENCE` it does not read the request, or
        answer it; of a turn, it does not say its `status` meanwhile.
        Where the task that awaits it is cancelled, the daemon is told to cancel the request.
        """
        number = next(self._ids)
        line = encode(number, method, params)
        answer = asyncio.get_running_loop().create_future()
        if self.ended.done():
            raise Lost
        self._answers[number] = answer
        try:
            try:
                async with asyncio.timeout(silence.PATIENCE):
                    # Half a line would spoil the next one: it is written to its end, whatever happens here.
                    await asyncio.shield(self._write(line + b"\n"))
            except TimeoutError:
                raise silence.given_up(method, silence.PATIENCE) from None
            while not (await asyncio.wait([answer], timeout=silence.PATIENCE))[0]:
                if method not in TURNS:
                    raise silence.given_up(method, silence.PATIENCE)
                await self.call("status", {})
            return wire.result_in(answer.result())
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        finally:
            self._answers.pop(number, None)

    def cancel_all(self) -> None:
        """Have the daemon cancel what is under way here. One before 0.2.0 does not understand it."""
        for number in self._answers:
            self._cancel(number)

    def _cancel(self, number: int) -> None:
        notification = wire.encode({"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": number}})
        task = asyncio.create_task(self._write(notification + b"\n"))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)

    async def close(self) -> None:
        for task in self._cancels:
            task.cancel()
        self.ended.cancel()
        with suppress(asyncio.CancelledError):
            await self.ended

    async def _write(self, line: bytes) -> None:
        async with self._writing:
            with suppress(OSError):  # what is read next tells that the daemon is gone
                await asyncio.get_running_loop().sock_sendall(self._socket, line)

    async def _read(self) -> None:
        """Take what comes, until the daemon hangs up."""
        loop = asyncio.get_running_loop()
        framer = LineFramer(ANSWER_LIMIT)
        try:
            while data := await loop.sock_recv(self._socket, _PIECE):
                framer.feed(data)
                while (line := framer.next_line()) is not None:
                    await self._take(line)
        except (OSError, NoDaemon, FrameTooLarge):
            pass
        finally:
            self._socket.close()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(Lost())

    async def _take(self, line: bytes) -> None:
        message = wire.decode_line(line)
        if message is None:
            return
        if "id" not in message:
            await self._on_event(self, wire.event_in(message))
        elif (answer := self._answers.get(message["id"])) is not None and not answer.done():
            answer.set_result(message)


def encode(number: int, method: str, params: JsonObject) -> bytes:
    """A request's line, without its end. Raises the `DaemonError` with which the daemon would hang up."""
    line = wire.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    if len(line) > REQUEST_LIMIT:
        error = FrameTooLarge(REQUEST_LIMIT)
        raise DaemonError(error.code, error.message, error.data)
    return line
