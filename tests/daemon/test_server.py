"""Who may connect, and how many: at a real socket, within one loop."""

from __future__ import annotations

import asyncio
import os
import socket

from port42_daemon.dispatch import Dispatcher
from port42_daemon.server import Server, peer_uid
from port42_daemon.settings import Settings
from port42_daemon.traffic import Traffic
from port42_protocol.methods import METHODS


class Slow:
    """Handlers that answer when they are let: every method of the table."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.begun = asyncio.Event()

    def __getattr__(self, name: str):
        if name not in {row.handler for row in METHODS.values()}:
            raise AttributeError(name)

        async def handle(_: object) -> str:
            self.begun.set()
            await self.let_go.wait()
            return "late"

        return handle


def served(tmp_path, test, **limits: object) -> None:
    """Run `test(server, slow, traffic, connect)` beside a server."""

    async def run() -> None:
        path = tmp_path / "s"
        slow, traffic = Slow(), Traffic()
        server = Server(Settings(tmp_path, path, **limits), dispatcher := Dispatcher(traffic, slow), traffic)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            await server.listen(listener)
            await test(server, slow, traffic, lambda: asyncio.open_unix_connection(str(path)))
            assert dispatcher.stopping

    asyncio.run(run())


REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n'


def test_the_kernel_says_who_a_peer_is():
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.geteuid()


def test_what_is_under_way_at_the_stop_is_answered_and_new_work_is_refused(tmp_path):
    async def test(server, slow, traffic, connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST)
        await slow.begun.wait()
        assert (traffic.connections, traffic.requests) == (1, 1)
        stopping = asyncio.create_task(server.stop(lambda: None))
        await asyncio.sleep(0)
        writer.write(REQUEST.replace(b"1}", b"2}").replace(b'"id":1', b'"id":2'))
        assert b"-32002" in await reader.readline()
        slow.let_go.set()
        assert b"late" in await reader.readline()
        assert await reader.readline() == b""
        writer.close()
        await stopping
        assert traffic.requests == 0

    served(tmp_path, test)


def test_what_outlasts_the_grace_is_cut_off(tmp_path):
    async def test(server, slow, traffic, connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST)
        await slow.begun.wait()
        await server.stop(lambda: None)
        assert await reader.read() == b""
        writer.close()
        assert traffic.requests == 0

    served(tmp_path, test, grace=0.05)


def test_one_connection_too_many_is_told_why(tmp_path):
    async def test(server, slow, traffic, connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST)
        await slow.begun.wait()
        refused, second = await connect()
        assert b"-32001" in await refused.readline()
        assert traffic.connections == 1
        slow.let_go.set()
        assert b"late" in await reader.readline()
        second.close()
        writer.close()
        await server.stop(lambda: None)
        assert traffic.connections == 0

    served(tmp_path, test, connections=1)


def test_one_peer_has_no_more_under_way_than_it_may(tmp_path):
    async def test(server, slow, traffic, connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST * 10)
        await slow.begun.wait()
        await asyncio.sleep(0)
        assert traffic.requests == 3
        slow.let_go.set()
        for _ in range(10):
            assert b"late" in await reader.readline()
        writer.close()
        await server.stop(lambda: None)

    served(tmp_path, test, requests_per_connection=3)
