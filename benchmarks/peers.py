"""Servers to compare the daemon with, each a process of its own: ``peers.py KIND SOCKET READY_FD LENGTH``.

raw        a blocking loop that answers every line with as many bytes as the daemon's answer has
uvloop     the same on a uvloop Protocol: the least that an event loop in Python costs
json       asyncio streams and the json module: a server written in an afternoon
rpc        asyncio streams and jsonrpcserver as it comes
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
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


KINDS = {"raw": raw, "uvloop": uvloop, "json": json_streams, "rpc": rpc}


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
