"""JSON-RPC 2.0 with a child over stdio, one message a line: the Agent Client Protocol's wire, our side.

Both ends send requests. Lines that are not JSON-RPC objects (log lines on stdout, ``[]``) and responses
without a request are ignored. The SDK does the same and more, but costs 41 MiB and a second of import.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from port42_daemon.backends.decoding import ANY, decode
from port42_daemon.backends.errors import one_line
from port42_daemon.backends.process import LINE_LIMIT, Child, LineTooLong, Silent
from port42_protocol.encoding import encode

METHOD_NOT_FOUND = -32601
_SERVED_AT_ONCE = 64
"""Maximum number of open requests of the agent; above it, its output is not read."""


@dataclass(eq=False)
class Refused(Exception):
    """The agent answered with an error."""

    code: int
    message: str
    data: Any = None


class Gone(Exception):
    """The agent's output has ended. The text continues the agent's name."""


class Wire:
    """One conversation of requests and notifications with `child`, whose stdout it reads to the end.

    `on_notification` gets the agent's notifications, in order, and holds up what comes after. `on_request`
    answers its requests, each in a task, or raises `Refused`. A request of ours is given up when the agent
    says nothing at all for `silence` seconds, unless it waits for us. `ended` is done when no more will come.
    """

    def __init__(
        self,
        child: Child,
        on_notification: Callable[[str, dict[str, Any]], Awaitable[None]],
        on_request: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]],
        silence: float,
    ) -> None:
        self._child = child
        self._silence = silence
        self._on_notification = on_notification
        self._on_request = on_request
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._sent = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._why_gone = "ended"
        self._last_received = 0.0
        self._considering = 0
        self.stray = ""
        """The last line that was not JSON: often an error message of the program."""
        self.ended = asyncio.create_task(self._read())

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """The result of `method`. Raises `Refused`, `Gone`, `Silent`."""
        if not self.open:
            raise Gone(self._why_gone)
        self._sent += 1
        number = self._sent
        self._open[number] = answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(None) as limit:
                watching = asyncio.create_task(self._limit_silence(limit))
                try:
                    await self._write({"id": number, "method": method, "params": params})
                    return await answer
                finally:
                    watching.cancel()
        except TimeoutError:
            raise Silent from None
        finally:
            del self._open[number]

    async def _limit_silence(self, limit: asyncio.Timeout) -> None:
        """Expire `limit` after `silence` seconds without output, unless the agent waits for us."""
        now = asyncio.get_running_loop().time
        self._last_received = now()
        while (left := self._last_received + self._silence - now()) > 0:
            await asyncio.sleep(left)
            if self._considering:
                self._last_received = now()
        limit.reschedule(now())

    @property
    def open(self) -> bool:
        return not self.ended.done() and self._child.running

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        await self._write({"method": method, "params": params})

    async def close(self) -> None:
        """Stop reading and answering. The child is the owner's to stop, before."""
        tasks = [self.ended, *self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._child.lines()) as lines:
                async for line in lines:
                    self._last_received = asyncio.get_running_loop().time()
                    await self._take(line)
        except LineTooLong:
            self._why_gone = f"sent a line of more than {LINE_LIMIT // 2**20} MiB"
        finally:
            for answer in self._open.values():
                if not answer.done():
                    answer.set_exception(Gone(self._why_gone))

    async def _take(self, line: bytes) -> None:
        try:
            message = decode(line, ANY)
        except msgspec.DecodeError:
            self.stray = one_line(line.decode(errors="replace"))
            return
        match message:
            case {"method": str(method), "id": int() | str() as number}:
                while len(self._serving) >= _SERVED_AT_ONCE:
                    await asyncio.wait(self._serving, return_when=asyncio.FIRST_COMPLETED)
                task = asyncio.create_task(self._answer(number, method, fields(message.get("params"))))
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            case {"method": str(method)}:
                await self._on_notification(method, fields(message.get("params")))
            case {"id": int(number)} if number is not True:  # which would be found as 1
                self._settle(number, message)
                # Whoever waits for it goes on before the next line is looked at: what comes after the
                # end of a turn must find it ended.
                await asyncio.sleep(0)

    def _settle(self, number: int, message: dict[str, Any]) -> None:
        answer = self._open.get(number)
        if answer is None or answer.done():
            return
        match message.get("error"):
            case None:
                answer.set_result(message.get("result"))
            case {"message": str(words), **rest}:
                code = rest.get("code")
                answer.set_exception(Refused(code if isinstance(code, int) else 0, words, rest.get("data")))
            case error:
                words = error if isinstance(error, str) else "an error without words"
                answer.set_exception(Refused(0, words))

    async def _answer(self, number: int | str, method: str, params: dict[str, Any]) -> None:
        self._considering += 1
        try:
            response: dict[str, Any] = {"result": await self._on_request(method, params)}
        except Refused as refused:
            response = {"error": {"code": refused.code, "message": refused.message}}
        finally:
            self._considering -= 1
        await self._write({"id": number, **response})

    async def _write(self, message: dict[str, Any]) -> None:
        message = {"jsonrpc": "2.0", **message}
        try:
            line = encode(message)
        except UnicodeEncodeError:  # an id of theirs with half a surrogate pair
            line = json.dumps(message).encode()
        await self._child.write(line + b"\n")


def fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, of its first 1,000 entries."""
    return [entry for entry in value[:1000] if isinstance(entry, dict)] if isinstance(value, list) else []
