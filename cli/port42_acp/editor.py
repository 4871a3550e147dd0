"""The editor's side: JSON-RPC 2.0 on stdin and stdout, a message a line.

Reading and writing block in threads: stdin and stdout may be files, which an event loop cannot wait for.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from itertools import count
from typing import Any

from port42_client.errors import CommandError, DaemonError
from port42_client.wire import JsonObject
from port42_protocol.codec import decode_json, encode, repaired
from port42_protocol.errors import FrameTooLarge, InvalidRequest, MethodNotFound, ParseError, RpcError
from port42_protocol.framing import LineFramer

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of a message of the editor's; images and files may be in one."""

_NOT_FOUND = -32002
"""ACP's code for what does not exist."""

_PIECE = 64 * 1024
_UNWRITTEN = 1024 * 1024
"""Bytes that wait for the editor before no more is read from the daemon."""

_LAST_SECONDS = 5.0
"""Seconds that requests under way have at the end of stdin."""

Handler = Callable[[JsonObject], Awaitable[JsonObject]]


class Refused(Exception):
    """The editor refused a request of ours."""


class Editor:
    """The editor that started this process. `serve` answers its requests with `handlers`, by method."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin, self._stdout = stdin, stdout
        self._ids = count(1)
        self._answers: dict[str, asyncio.Future[JsonObject]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: list[bytes] = []
        self._unwritten = 0
        self._wanted = asyncio.Event()
        self._written = asyncio.Event()
        self._gone = False
        self._handlers: dict[str, Handler] = {}
        self._framer = LineFramer(LINE_LIMIT)
        self._is_passing_over = False

    async def serve(self, handlers: dict[str, Handler], end: Callable[[], Awaitable[None]]) -> None:
        """Until stdin ends or stdout is closed; then `end` is called, and what is under way answered."""
        self._handlers = handlers
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        await asyncio.wait([reader, writer], return_when=asyncio.FIRST_COMPLETED)
        reader.cancel()
        await end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LAST_SECONDS)
        while self._lines and not self._gone:
            self._written.clear()
            await self._written.wait()
        writer.cancel()

    def update(self, session_id: str, update: JsonObject) -> None:
        """A `session/update`."""
        params = {"sessionId": session_id, "update": update}
        self._send({"method": "session/update", "params": params})

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        """The editor's result. Raises `Refused`."""
        number = f"port42-{next(self._ids)}"
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, "method": method, "params": params})
        try:
            message = await answer
        finally:
            del self._answers[number]
        result = message.get("result")
        if not isinstance(result, dict):
            raise Refused
        return result

    async def drained(self) -> None:
        """Wait until the editor has read most of what was sent, or is gone."""
        while self._unwritten > _UNWRITTEN and not self._gone:
            self._written.clear()
            await self._written.wait()

    # --- reading --------------------------------------------------------------------------------------

    async def _read(self) -> None:
        pieces: asyncio.Queue[bytes] = asyncio.Queue(4)
        arguments = (asyncio.get_running_loop(), pieces)
        threading.Thread(target=self._read_stdin, args=arguments, daemon=True).start()
        while data := await pieces.get():
            self._feed(data)
        self._feed(b"\n")  # the last line needs none

    def _feed(self, data: bytes) -> None:
        """Take the lines that end in `data`. Of one that is too long the rest is passed over."""
        if self._is_passing_over:
            _, newline, data = data.partition(b"\n")
            self._is_passing_over = not newline
        self._framer.feed(data)
        try:
            while (line := self._framer.next_line()) is not None:
                self._take(line)
        except FrameTooLarge:
            self._refuse(None, InvalidRequest(f"a message may have at most {LINE_LIMIT:,} bytes"))
            self._framer = LineFramer(LINE_LIMIT)
            self._is_passing_over = True
            self._feed(data)  # it is shorter than the limit: its first line's end is this one's

    def _read_stdin(self, loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[bytes]) -> None:
        try:
            data = b"."
            while data:
                try:
                    data = os.read(self._stdin, _PIECE)
                except OSError:
                    data = b""
                asyncio.run_coroutine_threadsafe(pieces.put(data), loop).result()
        except (RuntimeError, CancelledError):
            return  # nobody reads any more, or the loop has ended, before stdin did

    def _take(self, line: bytes) -> None:
        try:
            message = _decoded(line)
            if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
                raise InvalidRequest('expected an object with "jsonrpc": "2.0"')
            method, number = message.get("method"), message.get("id")
            if method is None:
                if (answer := self._answers.get(str(number))) is not None and not answer.done():
                    answer.set_result(message)
                return
            if not isinstance(method, str) or isinstance(number, bool | float | list | dict):
                raise InvalidRequest("expected a method that is text, and an id that is text or a number")
        except RpcError as error:
            self._refuse(None, error)
            return
        handler = self._handlers.get(method)
        if handler is None:
            if "id" in message:
                self._refuse(number, MethodNotFound(method))
            return  # notifications that are not known are to be ignored
        task = asyncio.create_task(self._answer(message, handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: JsonObject, handler: Handler) -> None:
        params = message.get("params")
        try:
            result = await handler(params if isinstance(params, dict) else {})
        except (RpcError, CommandError) as error:
            if "id" in message:
                self._refuse(message["id"], error)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if "id" in message:
                self._refuse(message["id"], RuntimeError("an internal error of port42; its stderr says more"))
        else:
            if "id" in message:
                self._send({"id": message["id"], "result": result})

    # --- writing --------------------------------------------------------------------------------------

    def _refuse(self, number: str | int | None, error: Exception) -> None:
        self._send({"id": number, "error": _error(error)})

    def _send(self, message: JsonObject) -> None:
        line = encode({"jsonrpc": "2.0", **message}) + b"\n"
        self._lines.append(line)
        self._unwritten += len(line)
        self._wanted.set()

    async def _write(self) -> None:
        """Write what is sent, until the editor is gone."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                count, data = len(self._lines), b"".join(self._lines)
                await asyncio.to_thread(_write_all, self._stdout, data)
                del self._lines[:count]
                self._unwritten -= len(data)
                self._written.set()
        except OSError:
            pass
        finally:
            self._gone = True
            self._written.set()


def _decoded(line: bytes) -> Any:
    """Raises `RpcError`."""
    try:
        return decode_json(line)
    except ParseError:
        # Without its id a prompt with half an emoji would never be answered.
        return decode_json(repaired(line).encode())


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _error(error: Exception) -> JsonObject:
    """An error as JSON-RPC and ACP have it; `data.kind` is Port42's."""
    match error:
        case DaemonError(kind="session_not_found"):
            code = _NOT_FOUND
        case DaemonError(code=int(code)) if -32700 <= code <= -32600:
            pass  # JSON-RPC's own
        case RpcError(code=int(code)):
            pass
        case _:
            code = -32603
    text = "\n".join([str(error), *(error.advice if isinstance(error, CommandError) else ())])
    data = error.data if isinstance(error, DaemonError | RpcError) else None
    return {"code": code, "message": text} | ({"data": data} if data else {})
