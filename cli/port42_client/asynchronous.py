"""The client for programs on an event loop; it does what `port42_client.blocking` does.

    async with AsyncClient() as client:
        async for event in client.possess("ai-engineer", "build a parser"):
            print(event)

Calls may be made at the same time: they share a connection. A call whose task is cancelled, by
`asyncio.timeout` for example, is cancelled in the daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any, TypeVar, Unpack

from port42_client._shared import (
    ClientOptions,
    PossessOptions,
    RetryOptions,
    daemon_of,
    hello_is_known,
    last_record,
    last_seq,
    possess_params,
    retry_params,
)
from port42_client.async_connection import Connection, Lost
from port42_client.client import ATTEMPTS, decode, may_be_repeated, next_page, params_of, went_away
from port42_client.daemon import LOOK_EVERY, Daemon
from port42_client.daemon_errors import ShuttingDown
from port42_client.errors import CommandError, NoDaemon
from port42_client.following import Position, typed
from port42_client.silence import PATIENCE
from port42_client.wire import Event, JsonObject
from port42_protocol.messages.daemon import Hello, Welcome
from port42_protocol.messages.events import PermissionEvent, PermissionOption, Possessed, SessionEvent
from port42_protocol.messages.records import Summary
from port42_protocol.request import Request, method_of, result_of

R = TypeVar("R")

_LOOK_ELSEWHERE_EVERY = 4.0
"""Seconds between two attempts to reach another machine."""

_QUEUED = 256
"""Events that wait for who iterates; then nothing more is read, and the daemon notices."""


class AsyncTurn:
    """A turn of an agent: iterate over its events as they come, then await `result`.

    Its request is sent at once, on a connection of its own. `close`, which leaving ``async with`` calls, ends
    a turn that is not over, unless it is detached.
    """

    def __init__(self, daemon: Daemon, method: str, params: JsonObject) -> None:
        self._daemon = daemon
        self._method = method
        self._params = params
        self._queue: asyncio.Queue[SessionEvent | None] = asyncio.Queue(_QUEUED)
        self._connection: Connection | None = None
        self.session_id: str | None = params.get("session_id")
        """None in a new session, until the daemon says its id."""
        self._running = asyncio.create_task(self._run())

    def __aiter__(self) -> AsyncIterator[SessionEvent]:
        return self

    async def __anext__(self) -> SessionEvent:
        if self._running.done() and self._queue.empty():
            event = None
        else:
            event = await self._queue.get()
        if event is None:
            await self._running
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> AsyncTurn:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def result(self) -> Possessed:
        """The outcome, after the rest of the events, which are passed over. Raises what a call raises."""
        async for _ in self:
            pass
        return await self._running

    async def answer(self, permission: PermissionEvent, option: PermissionOption | None) -> None:
        """Choose an option of a permission request; with None, reject it."""
        params = {"session_id": permission.session_id, "permission_id": permission.permission_id}
        if self._connection is not None:
            chosen = {} if option is None else {"option_id": option.id}
            with suppress(Lost):
                await self._connection.call("answer_permission", params | chosen)

    def cancel(self) -> None:
        """End the turn: its `result` is ``interrupted``, with the reply so far.

        One that waits behind others raises `RequestCancelled`, and is not recorded.
        """
        if self._connection is not None:
            self._connection.cancel_all()

    async def close(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError, CommandError):
            await self._running

    async def _run(self) -> Possessed:
        try:
            result = await self._ask()
        except Exception:
            await self._queue.put(None)
            raise
        await self._queue.put(None)
        self.session_id = result.session_id
        return result

    async def _ask(self) -> Possessed:
        for attempt in range(1, ATTEMPTS + 1):
            connection = self._connection = await Connection.open(self._daemon, self._take)
            try:
                return decode(Possessed, await connection.call(self._method, self._params))
            except ShuttingDown:
                if attempt == ATTEMPTS:
                    raise
                await _its_end(connection)
            except Lost:
                if not may_be_repeated(self._method, self._params):
                    raise went_away(self._method) from None
            finally:
                await connection.close()
        raise went_away()

    async def _take(self, _connection: Connection, event: Event) -> None:
        if (known := typed(event)) is not None:
            self.session_id = known.session_id or self.session_id
            await self._queue.put(known)


class AsyncClient:
    """A client of one daemon, which `ClientOptions` name: without any, that of whoever runs the program.

    `notice` is called in a thread where a daemon is looked for or started.
    """

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        self._daemon = daemon_of(options)
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def call(self, request: Request[R]) -> R:
        result = await self.ask(method_of(type(request)), params_of(request))
        return decode(result_of(type(request)), result)

    async def ask(self, method: str, params: JsonObject) -> Any:
        """The result of `method` as plain values. Raises as `port42_client.client` says."""
        for attempt in range(1, ATTEMPTS + 1):
            connection = await self._connected()
            try:
                return await connection.call(method, params)
            except ShuttingDown:
                if attempt == ATTEMPTS:
                    raise
                await _its_end(connection)
            except Lost:
                if not may_be_repeated(method, params):
                    raise went_away(method) from None
        raise went_away()

    async def pages(self, request: Request[R]) -> AsyncIterator[R]:
        """Each page that answers `request`, from its cursor on to the last, asked for when it is wanted."""
        method = method_of(type(request))
        params: JsonObject | None = params_of(request)
        while params is not None:
            page = await self.ask(method, params)
            yield decode(result_of(type(request)), page)
            params = next_page(page, params)

    async def require(self, *needs: str, name: str = "python", version: str | None = None) -> Welcome:
        """What the daemon is and can do. Raises `MissingCapability`, as in the blocking client."""
        with hello_is_known(needs):
            return await self.call(Hello(name, version, list(needs)))

    def possess(self, agent: str, message: str, **options: Unpack[PossessOptions]) -> AsyncTurn:
        """Send `message` to `agent`, in the session that the options name, or in a new one."""
        params = possess_params(agent, message, options)
        return AsyncTurn(self._daemon, "possess", params)

    def retry(self, agent: str, session_id: str, **options: Unpack[RetryOptions]) -> AsyncTurn:
        """Ask again what the session's last turn failed on, perhaps another `model`, or in a `mode`."""
        params = retry_params(agent, session_id, options)
        return AsyncTurn(self._daemon, "retry_turn", params)

    async def subscribe(
        self, session_id: str | None = None, *, agent: str | None = None, since_seq: int | None = None
    ) -> AsyncGenerator[SessionEvent, None]:
        """What happens in a session, in an agent's sessions or in all, as in the blocking client."""
        target: Summary | str | None = agent
        if session_id is not None:
            session = await self.call(last_record(session_id, agent))
            target, since_seq = session.session, last_seq(session) if since_seq is None else since_seq
        position, may_start = Position(target, since_seq), True
        while True:
            overflow = False
            events = _subscription(self._daemon, position.params, may_start=may_start)
            try:
                async for event in events:
                    if position.is_new(event) and (known := typed(event)) is not None:
                        yield known
                    if overflow := event["kind"] == "overflow":
                        break  # what was missed is asked for again
            except (Lost, ShuttingDown):
                pass
            except NoDaemon:
                if may_start:
                    raise  # a later daemon was seen to listen, and went again
            finally:
                await events.aclose()
            if not overflow:
                await self._next_daemon()
            position.lost()
            may_start = False

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.ended.done():
                self._connection = await Connection.open(self._daemon, _ignore)
            return self._connection

    async def _next_daemon(self) -> None:
        self._daemon.notice("The daemon went away. Waiting for the next one.")
        while True:
            try:
                (await asyncio.to_thread(self._daemon.existing)).close()
            except NoDaemon:
                await asyncio.sleep(LOOK_EVERY if self._daemon.host is None else _LOOK_ELSEWHERE_EVERY)
            else:
                return


async def _subscription(
    daemon: Daemon, params: JsonObject, *, may_start: bool
) -> AsyncGenerator[Event, None]:
    """The events of a subscription until its connection ends. Raises `NoDaemon`, `DaemonError` and `Lost`."""
    queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUED)
    connection = await Connection.open(daemon, lambda _, event: queue.put(event), may_start=may_start)
    subscribing = asyncio.create_task(_subscribe(connection, params, queue))
    try:
        while (event := await queue.get()) is not None:
            yield event
        await subscribing
    finally:
        subscribing.cancel()
        await connection.close()


async def _subscribe(connection: Connection, params: JsonObject, queue: asyncio.Queue[Event | None]) -> None:
    """Puts None behind the last event."""
    try:
        await connection.call("subscribe", params)
        await asyncio.shield(connection.ended)
    except (Lost, CommandError):
        await queue.put(None)
        raise
    await queue.put(None)


async def _ignore(_connection: Connection, _event: Event) -> None:
    """Calls cause no events."""


async def _its_end(connection: Connection) -> None:
    """A daemon that stops closes its connections last."""
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.shield(connection.ended)
    except TimeoutError:
        raise NoDaemon(f"the daemon is still stopping after {PATIENCE:.0f} s") from None
