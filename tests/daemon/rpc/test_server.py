"""Who may connect, and how many: at a real socket, within one loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest

from port42_daemon.rpc.dispatch import Dispatcher
from port42_daemon.rpc.metrics import Traffic
from port42_daemon.rpc.server import Server
from port42_daemon.settings import Settings
from port42_protocol.methods import METHODS
from port42_protocol.request_framing import RequestFramer


class Slow:
    """Handlers that answer when they are let: every method of the table but the dispatcher's own."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.begun = asyncio.Event()

    def __getattr__(self, name: str):
        if name not in {row.handler for row in METHODS.values() if row.name != "$/cancel"}:
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
        server = Server(Settings(tmp_path, path, **limits), Dispatcher(traffic, slow), traffic)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            with listener.dup() as test.kept:
                await server.listen(listener)
                await test(server, slow, traffic, lambda: asyncio.open_unix_connection(str(path)))

    asyncio.run(run())


REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n'


async def until(met) -> None:
    while not met():  # noqa: ASYNC110 - a counter has no event
        await asyncio.sleep(0)


async def dial(tmp_path) -> socket.socket:
    """A peer whose writes are what the kernel says of them: nothing is kept back."""
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, str(tmp_path / "s"))
    return peer


async def answer(peer: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(peer, 4096), 10)


async def ask(peer: socket.socket) -> None:
    peer.send(REQUEST)
    assert b"late" in await answer(peer)


def test_what_is_answered_in_one_turn_of_the_loop_is_written_at_once(tmp_path):
    """A write costs more than an answer."""

    async def test(server, slow, traffic, _connect) -> None:
        with await dial(tmp_path) as peer:
            peer.send(REQUEST * 5)
            await until(lambda: traffic.requests == 5)
            (connection,) = server._connections
            written, write = [], connection._transport.write
            connection._transport.write = lambda data: written.append(data) or write(data)
            slow.let_go.set()
            await answer(peer)
        assert [data.count(b"late") for data in written] == [5]

    served(tmp_path, test)


def test_what_is_under_way_at_the_stop_is_answered_and_meanwhile_its_peer_may_ask(tmp_path):
    """A cancel, say. Its turn over, it is let go of."""

    async def test(server, slow, traffic, connect) -> None:
        reader, writer = await connect()
        writer.write(REQUEST)
        await slow.begun.wait()
        assert (traffic.connections, traffic.requests) == (1, 1)
        stopping = asyncio.create_task(server.stop(lambda: None))
        await asyncio.sleep(0)
        writer.write(REQUEST.replace(b'"id":1', b'"id":2'))
        await until(lambda: traffic.requests == 2)
        slow.let_go.set()
        assert {json.loads(await reader.readline())["id"] for _ in range(2)} == {1, 2}
        assert await reader.readline() == b""
        writer.close()
        await stopping
        assert (traffic.connections, traffic.requests) == (0, 0)

    served(tmp_path, test)


def test_what_was_sent_before_the_stop_is_answered_and_what_comes_after_is_never_taken(tmp_path):
    async def test(server, slow, _traffic, connect) -> None:
        slow.let_go.set()
        kept, late = await dial(tmp_path), await dial(tmp_path)
        for peer in (kept, late):
            await ask(peer)
        # In the kernel's buffer when the stop begins: sent, though nobody has read it yet.
        kept.send(REQUEST)
        stopping = asyncio.create_task(server.stop(lambda: None))
        assert b"late" in await answer(kept)
        assert await answer(late) == await answer(kept) == b""
        for peer in (kept, late):
            with pytest.raises(BrokenPipeError):
                peer.send(REQUEST)
            peer.close()
        await stopping

    served(tmp_path, test)


def test_who_has_just_come_may_say_what_for_and_who_says_nothing_is_not_waited_for(tmp_path):
    async def test(server, slow, traffic, connect) -> None:
        slow.let_go.set()
        silent, fresh = await dial(tmp_path), await dial(tmp_path)
        await until(lambda: traffic.connections == 2)
        began = asyncio.get_running_loop().time()
        stopping = asyncio.create_task(server.stop(lambda: None))
        await asyncio.sleep(0)
        await ask(fresh)
        assert await answer(fresh) == await answer(silent) == b""
        fresh.close()
        silent.close()
        await stopping
        assert asyncio.get_running_loop().time() - began < 5

    served(tmp_path, test)


def test_a_line_that_has_begun_may_be_ended(tmp_path):
    async def test(server, slow, _traffic, connect) -> None:
        slow.let_go.set()
        peer = await dial(tmp_path)
        await ask(peer)
        peer.send(REQUEST + REQUEST[:20])
        assert b"late" in await answer(peer)
        stopping = asyncio.create_task(server.stop(lambda: None))
        await asyncio.sleep(0)
        peer.send(REQUEST[20:])
        assert b"late" in await answer(peer)
        assert await answer(peer) == b""
        peer.close()
        await stopping

    served(tmp_path, test)


def test_nobody_is_accepted_while_it_stops_and_the_queue_is_the_next_ones(tmp_path):
    """With a socket that somebody else holds open too, as systemd does."""

    async def test(server, slow, _traffic, connect) -> None:
        slow.let_go.set()
        await server.stop(lambda: None)
        peer = await dial(tmp_path)
        peer.send(REQUEST)
        successor = Server(Settings(tmp_path, tmp_path / "s"), Dispatcher(Traffic(), slow), Traffic())
        await successor.listen(test.kept)
        assert b"late" in await answer(peer)
        peer.close()
        await successor.stop(lambda: None)

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


@pytest.mark.parametrize(
    ("owner", "name"), [(RequestFramer, "frame"), (asyncio.selector_events._SelectorSocketTransport, "write")]
)
def test_a_peer_whose_answer_cannot_be_sent_is_disconnected_instead_of_waiting(
    tmp_path, monkeypatch, owner, name
):
    def no_memory(*_):
        raise MemoryError

    async def test(server, slow, traffic, connect):
        with await dial(tmp_path) as peer:
            peer.send(REQUEST)
            await slow.begun.wait()
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, no_memory)
                slow.let_go.set()
                with contextlib.suppress(ConnectionResetError):
                    assert await answer(peer) == b""
        with await dial(tmp_path) as peer:
            await ask(peer)

    served(tmp_path, test)
