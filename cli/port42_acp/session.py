"""A session that is open in the editor: what happens in it is shown there, whoever does it.

It has a connection of its own, on which it subscribes, and on which the editor's turns run. When that is
lost, another one goes on after the last record that was shown; a question is sent again with the same
idempotency key, so that it is asked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from uuid import uuid4

from msgspec import to_builtins

from port42_acp import prompts
from port42_acp.editor import Editor, Refused
from port42_acp.messages import Block
from port42_acp.updates import Updates
from port42_client.async_connection import Connection, Lost, encode
from port42_client.client import ATTEMPTS
from port42_client.daemon import LOOK_EVERY, Daemon
from port42_client.errors import DaemonError, NoDaemon
from port42_client.errors import Refused as NotDone
from port42_client.wire import Event, JsonObject
from port42_protocol.errors import InvalidParams, SessionExists, ShuttingDown
from port42_protocol.messages.records import ErrorMessage, Record, UserMessage, convert_record
from port42_protocol.messages.turns import McpServer

CLIENT = "acp"
"""This client's name in sessions and in their ids."""

_LOOK_AT_MOST_EVERY = 2.0
_CANCELLED: JsonObject = {"stopReason": "cancelled"}


class _Turn:
    """A prompt of the editor's. It has begun when its question is recorded."""

    def __init__(self) -> None:
        self.key = uuid4().hex
        self.begun = False
        self.cancelled = False
        self.asking: set[asyncio.Task[None]] = set()


class Session:
    """`exists` is false before the first prompt of a new one: the daemon keeps no empty sessions.

    `seen` is the seq of the last record that the editor has; `cwd` its folder; `model` and `mode` those to
    ask for instead of the agent's own; `mcp_servers` those of the editor that go with each prompt.
    """

    def __init__(self, editor: Editor, daemon: Daemon, session_id: str, agent: str, cwd: str) -> None:
        self.id = session_id
        self.agent = agent
        self.exists = True
        self.seen = 0
        self.model: str | None = None
        self.mode: str | None = None
        self.mcp_servers: list[McpServer] = []
        self._editor = editor
        self._daemon = daemon
        self._cwd = cwd if daemon.host is None else None  # another machine may have no such folder
        self._updates = Updates()
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._one_at_a_time = asyncio.Lock()
        self._current: _Turn | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns: dict[str, _Turn] = {}
        self._keys: set[str] = set()
        self._running: _Turn | None = None
        self._is_behind = False
        self._catching_up: asyncio.Task[None] | None = None
        self._is_reloading = False
        self._awaits_first_record = False

    @property
    def is_busy(self) -> bool:
        """Whether prompts of the editor are under way."""
        return bool(self._turns)

    async def follow(self) -> None:
        """Show what is after the record `seen`, and from then on. Raises `DaemonError`, `NoDaemon`."""
        await self._connected()
        await self._caught_up()

    async def show_again(self) -> None:
        """Show all from the first record on, while the editor's turns go on. Raises as `follow` does."""
        connection, seen = await self._connected(), self.seen
        self.seen, self._updates = 0, Updates()
        # The new subscription has what still comes of the earlier one; it begins at the first record.
        self._awaits_first_record = self._is_reloading = True
        self._keys = {turn.key for turn in self._turns.values() if not turn.begun}
        try:
            await connection.call("subscribe", {"session_id": self.id, "since_seq": 0})
        except Lost:
            await self._connected()
        except DaemonError:  # the earlier subscription goes on
            self.seen, self._awaits_first_record = seen, False
            raise
        finally:
            self._is_reloading = False
        await self._caught_up()

    def leave_out_mcp_servers(self, why: str) -> None:
        """Do not send them, and say so once."""
        names = ", ".join(server.name for server in self.mcp_servers)
        self._editor.update(self.id, self._updates.notice(f"The MCP servers {names} are not used: {why}"))
        self.mcp_servers = []

    async def prompt(self, blocks: list[Block]) -> JsonObject:
        """Run a turn; the result of ``session/prompt``. Raises what says why there is no whole reply."""
        turn = _Turn()
        self._turns[turn.key] = turn
        try:
            async with self._one_at_a_time:  # an older daemon takes turns that are sent at once in any order
                self._current = turn
                try:
                    return await self._ask(turn, blocks)
                finally:
                    self._current = None
        finally:
            del self._turns[turn.key]

    async def cancel(self) -> None:
        """Stop the editor's turns; that of another client in the same session goes on."""
        for turn in self._turns.values():
            turn.cancelled = True
        connection = self._connection
        if self._current is None or connection is None:
            return
        if not self._current.begun:
            await connection.close()  # a turn that waits in the queue leaves it with its connection
        elif self._running is not None:
            with suppress(DaemonError, Lost):
                await connection.call("cancel_turn", {"session_id": self.id})

    async def close(self) -> None:
        await self.cancel()
        connection, self._connection = self._connection, None
        for task in self._tasks:
            task.cancel()
        if connection is not None:
            await connection.close()

    # --- a turn ---------------------------------------------------------------------------------------

    async def _ask(self, turn: _Turn, blocks: list[Block]) -> JsonObject:
        try:
            params = await self._params(turn, blocks)
            try:
                result = await self._possess(turn, params)
            except DaemonError as error:
                if not (pages := _pages(params, error)):
                    raise
                # Its address stands in the message, so an agent can still look for itself.
                self._editor.update(self.id, self._updates.notice(f"Not attached: {error.message}"))
                params["references"] = [kept for kept in params["references"] if kept not in pages]
                result = await self._possess(turn, params)
        except (DaemonError, NoDaemon):
            if turn.cancelled:
                return _CANCELLED
            raise
        finally:
            await self._caught_up()
            for asking in turn.asking:
                asking.cancel()
        return _CANCELLED if turn.cancelled else self._ended(result)

    async def _params(self, turn: _Turn, blocks: list[Block]) -> JsonObject:
        """What the daemon is asked. Raises `InvalidParams`, and `DaemonError` where it is too long."""
        message, references = await asyncio.to_thread(
            prompts.read, blocks, elsewhere=self._daemon.host is not None
        )
        params: JsonObject = {
            "agent": self.agent,
            "session_id": self.id,
            "message": message,
            "client": CLIENT,
            "cwd": self._cwd,
            "stream": True,
            "idempotency_key": turn.key,
        }
        if references:
            params["references"] = references
        if self.model is not None:
            params["model"] = self.model
        if self.mode is not None:
            params["mode"] = self.mode
        if self.mcp_servers:
            params["mcp_servers"] = to_builtins(self.mcp_servers)
        encode(0, "possess", params)  # what is too long begins no session
        self._keys.add(turn.key)
        return params

    async def _possess(self, turn: _Turn, params: JsonObject) -> JsonObject:
        """The daemon's result, of the next daemon where one stops. Raises `DaemonError`, `NoDaemon`."""
        for _ in range(ATTEMPTS):
            if turn.cancelled:
                break
            connection = await self._connected()
            if turn.cancelled:
                break
            try:
                result: JsonObject = await connection.call("possess", params)
            except Lost:
                if turn.cancelled:
                    break
            except DaemonError as error:
                if error.code != ShuttingDown.code:
                    raise
                await asyncio.wait([connection.ended])
            else:
                return result
        if turn.cancelled:
            return {}
        raise NoDaemon(f"the daemon went away {ATTEMPTS} times before it answered")

    def _ended(self, result: JsonObject) -> JsonObject:
        if result["status"] == "recorded":
            connect = f"`port42 agents connect @{self.agent} NAME` connects one, `port42 agents` lists them"
            raise NotDone(f"the message is recorded, and @{self.agent} has no back end: {connect}")
        if result["status"] == "interrupted":
            raise NotDone("the turn was stopped, by another client or with the daemon; what came is kept")
        ended: JsonObject = {"stopReason": "end_turn"}
        turn = result.get("turn") or {}
        sent, received = turn.get("input_tokens"), turn.get("output_tokens")
        if sent is not None and received is not None:
            counted = {"inputTokens": sent, "outputTokens": received, "totalTokens": sent + received}
            ended["usage"] = counted
        return ended

    async def _ask_permission(self, event: Event, connection: Connection) -> None:
        request = {"sessionId": self.id, **self._updates.permission(event)}
        outcome: JsonObject = {}
        with suppress(Refused):
            result = await self._editor.request("session/request_permission", request)
            outcome = result["outcome"] if isinstance(result.get("outcome"), dict) else {}
        answer = {"session_id": self.id, "permission_id": event["permission_id"]}
        options = [option["id"] for option in event["options"]]
        if outcome.get("outcome") == "selected" and outcome.get("optionId") in options:
            answer["option_id"] = outcome["optionId"]
        with suppress(DaemonError, Lost):  # its turn has ended
            await connection.call("answer_permission", answer)

    # --- the connection -------------------------------------------------------------------------------

    async def _connected(self, *, may_start: bool = True) -> Connection:
        """A connection on which this session is followed. Raises `DaemonError`, `NoDaemon`."""
        async with self._connecting:
            for _ in range(ATTEMPTS):
                if self._connection is not None and not self._connection.ended.done():
                    return self._connection
                with suppress(Lost):
                    self._connection = await self._connect(may_start=may_start)
        raise NoDaemon(f"the daemon went away {ATTEMPTS} times before it answered")

    async def _connect(self, *, may_start: bool) -> Connection:
        connection = await Connection.open(self._daemon, self._on_event, may_start=may_start)
        try:
            if not self.exists:
                await self._create(connection)
            self._updates.rejoin()
            self._running = None
            await connection.call("subscribe", {"session_id": self.id, "since_seq": self.seen})
        except BaseException:
            await connection.close()
            raise
        self._start(self._watch(connection))
        return connection

    async def _create(self, connection: Connection) -> None:
        params = {"agent": self.agent, "session_id": self.id, "client": CLIENT, "cwd": self._cwd}
        try:
            await connection.call("create_session", params)
        except DaemonError as error:
            if error.code != SessionExists.code:  # of a try whose answer was lost
                raise
        self.exists = True

    async def _watch(self, connection: Connection) -> None:
        """After the daemon's end follow the session in the next one, which others may start."""
        await asyncio.wait([connection.ended])
        pause = LOOK_EVERY
        while self._connection is connection:
            try:
                await self._connected(may_start=False)
            except NoDaemon:
                await asyncio.sleep(pause)  # no system call tells when a daemon listens
                pause = min(2 * pause, _LOOK_AT_MOST_EVERY)
            except DaemonError:
                return  # the session was deleted: the next prompt says so

    async def _on_event(self, connection: Connection, event: Event) -> None:
        if event.get("session_id") != self.id or self._is_shown_again(event):
            return
        match event["kind"]:
            case "message":
                updates = self._record(convert_record(event["message"]))
            case "overflow":
                updates = []
                self._updates.skip_pieces()
                self._is_behind = True
                if self._catching_up is None or self._catching_up.done():
                    self._catching_up = self._start(self._catch_up(connection))
            case "permission":
                updates = []
                if self._running is not None:
                    asking = self._start(self._ask_permission(event, connection))
                    self._running.asking.add(asking)
            case _:
                updates = self._updates.event(event)
                if event["kind"] == "ended":
                    self._running = None
        for update in updates:
            self._editor.update(self.id, update)
        await self._editor.drained()

    def _is_shown_again(self, event: Event) -> bool:
        """Whether it is of the subscription before `show_again`, and to be shown with the next one."""
        first = event["kind"] == "message" and event["message"]["seq"] == 1
        self._awaits_first_record = self._awaits_first_record and not first
        if self._awaits_first_record and event["kind"] == "ended":
            self._running = None
        return self._awaits_first_record and event["kind"] not in {"permission", "overflow"}

    def _record(self, record: Record) -> list[JsonObject]:
        if record.seq <= self.seen:
            return []
        self.seen = record.seq
        if isinstance(record, UserMessage):
            turn = self._turns.get(record.key) if isinstance(record.key, str) else None
            if turn is not None:
                turn.begun = True
            if turn is not None or not self._is_reloading:  # an earlier question leaves the one that runs
                self._running = turn
            if record.key in self._keys:  # the editor shows what was typed in it
                self._updates.begin_turn()
                return []
        if isinstance(record, ErrorMessage) and self._running is not None and not self._is_reloading:
            return []  # the prompt's answer says it
        return self._updates.record(record)

    async def _catch_up(self, connection: Connection) -> None:
        """The daemon ended the subscription because the editor reads too slowly: subscribe again.

        One request at a time: of two the daemon may carry out the second first.
        """
        with suppress(DaemonError, Lost):
            while self._is_behind:
                self._is_behind = False
                await connection.call("subscribe", {"session_id": self.id, "since_seq": self.seen})

    async def _caught_up(self) -> None:
        """Wait until the editor was sent what it had been too slow for: an answer must not overtake that."""
        while self._catching_up is not None and not self._catching_up.done():
            await asyncio.wait([self._catching_up])

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _pages(params: JsonObject, error: DaemonError) -> list[JsonObject]:
    """The web pages among a message's references, where one of these was refused."""
    if error.code != InvalidParams.code or not str(error.data.get("field", "")).startswith("references"):
        return []
    return [reference for reference in params.get("references", ()) if reference["type"] == "url"]
