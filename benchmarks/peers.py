"""Servers to compare the daemon with, each a process of its own: ``peers.py KIND SOCKET READY_FD LENGTH``.

raw        a blocking loop that answers every line with as many bytes as the daemon's answer has
uvloop     the same on a uvloop Protocol: the least that an event loop in Python costs
json       asyncio streams and the json module: a server written in an afternoon
rpc        asyncio streams and jsonrpcserver as it comes
model      not compared with, but asked: a model server; its port is written to SOCKET
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

_BUFFER = 16 * 1024  # from 128 KiB on, each recv would map and unmap memory


def raw(path: str, ready: Callable[[], None], answer: bytes) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    ready()
    while True:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(_BUFFER):
                if data.endswith(b"\n"):
                    connection.sendall(answer)


def uvloop(path: str, ready: Callable[[], None], answer: bytes) -> None:
    import uvloop as loops

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            # uvloop's transports do not inherit from asyncio's.
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            if data.endswith(b"\n"):
                self.transport.write(answer)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Echo, path)
        ready()
        await server.serve_forever()

    loops.run(serve())


def json_streams(path: str, ready: Callable[[], None], answer: bytes) -> None:
    result = json.loads(answer)["result"]

    async def respond(line: bytes) -> str:
        request = json.loads(line)
        return json.dumps({"jsonrpc": "2.0", "result": result, "id": request["id"]})

    asyncio.run(_streams(path, ready, respond))


def rpc(path: str, ready: Callable[[], None], answer: bytes) -> None:
    import jsonrpcserver

    result = json.loads(answer)["result"]

    async def get_last_session(agent: str) -> jsonrpcserver.Result:
        return jsonrpcserver.Success({**result, "agent": agent})

    methods = {"get_last_session": get_last_session}

    async def respond(line: bytes) -> str:
        return await jsonrpcserver.async_dispatch(line.decode(), methods)

    asyncio.run(_streams(path, ready, respond))


async def _streams(path: str, ready: Callable[[], None], respond: Callable[[bytes], Awaitable[str]]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write((await respond(line)).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    ready()
    await server.serve_forever()


def model(path: str, ready: Callable[[], None], answer: bytes) -> None:  # noqa: ARG001  # every kind's signature
    """Chat Completions: a message ``[deltas, a second]`` is answered by so many; 0: as fast as may be."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]  # our own client
                asked = json.loads(await reader.readexactly(length))
                deltas, per_second = json.loads(asked["messages"][-1]["content"])
                writer.write(_HEAD)
                loop = asyncio.get_running_loop()
                due = loop.time()
                for _ in range(deltas):
                    writer.write(_chunked(_DELTA))
                    if per_second:
                        # By the clock: pauses of that length alone would make it fewer a second.
                        due += 1 / per_second
                        await asyncio.sleep(due - loop.time())
                    else:
                        await writer.drain()
                writer.write(_chunked(_LAST) + b"0\r\n\r\n")
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
        Path(path).write_text(str(server.sockets[0].getsockname()[1]))  # noqa: ASYNC240  # no client waits yet
        ready()
        await server.serve_forever()

    asyncio.run(listen())


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNK = b'data: {"id":"c-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,%s}]}\n\n'
_DELTA = _CHUNK % b'"delta":{"content":"word "},"finish_reason":null'
_LAST = _CHUNK % b'"delta":{},"finish_reason":"stop"' + b"data: [DONE]\n\n"


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


KINDS = {"model": model, "raw": raw, "uvloop": uvloop, "json": json_streams, "rpc": rpc}


def main() -> None:
    _, kind, path, descriptor, answer = sys.argv

    def ready() -> None:
        os.write(int(descriptor), b"ready\n")
        os.close(int(descriptor))

    # A peer has nothing to put in order when it is told to end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    KINDS[kind](path, ready, answer.encode() + b"\n")


if __name__ == "__main__":
    main()
