"""Handles `possess`, `retry_turn`, `cancel_turn` and `answer_permission`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from msgspec import UNSET, Struct, UnsetType, structs

from port42_daemon.agents import Agents, ResolvedBackend
from port42_daemon.events import Peer, Stream, notification
from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.sessions.forks import Lineage
from port42_daemon.sessions.queue import QueueEntry, SessionQueues
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Header
from port42_daemon.turns import recovery, references
from port42_daemon.turns.elsewhere import Leases, kept_off
from port42_daemon.turns.partial_reply import ReplyKeeper
from port42_daemon.turns.turn import RunningTurn
from port42_protocol.errors import InvalidParams, Overloaded, SessionBusy, StorageFailed
from port42_protocol.messages.events import Possessed, WaitingEvent
from port42_protocol.messages.forks_and_trash import ForkSession
from port42_protocol.messages.records import Reference, UserMessage
from port42_protocol.messages.turns import AnswerPermission, Cancelled, CancelTurn, Possess, RetryTurn, Taken
from port42_protocol.times import now

_Ends = tuple[Callable[[Callable[[], None]], Callable[[], None]], ...]

ASKED_AT_ONCE = 8
"""Turns that run for other agents. Where agents ask one another in a circle, whichever way they found, each
turn waits for the next one, so that this ends the circle."""


class _KeyedTurn(Struct, frozen=True):
    """A turn with an idempotency key that is under way; whoever repeats the key can cancel it, too."""

    task: asyncio.Task[Possessed]
    cancellation: Cancellation


class _Arrival:
    """Entered in the order in which requests for turns of a session came, until their turns are queued.

    What is checked before may take one of them longer than the next one.
    """

    def __init__(self, order: asyncio.Lock | None) -> None:
        self._order = order

    async def __aenter__(self) -> _Arrival:
        if self._order is not None:
            await self._order.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_next_enter()

    def let_next_enter(self) -> None:
        order, self._order = self._order, None
        if order is not None:
            order.release()


class Turns:
    """The methods of turns. `queues` has each session's queue; `leases`, if any, those of other machines."""

    def __init__(
        self,
        sessions: Sessions,
        agents: Agents,
        lineage: Lineage,
        queues: SessionQueues,
        leases: Leases | None = None,
    ) -> None:
        self.queues = queues
        self._leases = leases
        self._sessions = sessions
        self._keeper = ReplyKeeper(sessions.threads)
        self._agents = agents
        self._lineage = lineage
        self._keyed: dict[tuple[str, str], _KeyedTurn] = {}
        self._running: dict[str, RunningTurn] = {}
        self._nested = 0  # turns of a depth, which run for another agent

    # --- methods --------------------------------------------------------------------------------------

    async def possess(self, request: Possess, peer: Peer, cancellation: Cancellation) -> Possessed:
        async with self._arrival(request) as arrival:
            await self._agents.require_for_turn(request.agent)
            if (key := request.idempotency_key) is None:
                with self._counted(request.depth):
                    return await self._possess(request, peer, cancellation, arrival)
            # Who repeats a key while its turn is under way waits for that very turn.
            slot = (request.agent, key)
            if (keyed := self._keyed.get(slot)) is None:
                task = asyncio.create_task(self._once(request, peer, cancellation, arrival, key))
                keyed = self._keyed[slot] = _KeyedTurn(task, cancellation)
                task.add_done_callback(lambda _: self._keyed.pop(slot))
            else:
                arrival.let_next_enter()
                if keyed.cancellation is not cancellation:
                    cancellation.when_requested(keyed.cancellation.request)
            return await asyncio.shield(keyed.task)

    async def retry_turn(self, request: RetryTurn, peer: Peer, cancellation: Cancellation) -> Possessed:
        await self._sessions.owned(request.session_id, request.agent)
        await recovery.failed_question(self._sessions, request.session_id)
        possess = Possess(
            request.agent,
            "",
            request.session_id,
            request.client,
            stream=request.stream,
            detach=request.detach,
            model=request.model,
            mode=request.mode,
        )
        stream = Stream(peer) if request.stream else None
        ends = self._ends(possess, peer, cancellation)
        async with self._queued(possess, request.session_id, stream, ends, _Arrival(None)) as entry:
            # Looked up again: the turn before this one may have been the same retry.
            failed = await recovery.failed_question(self._sessions, request.session_id)
            message = _message(failed.content, failed.references)
            return await self._answer(entry, possess, request.session_id, message, stream)

    async def cancel_turn(self, request: CancelTurn) -> Cancelled:
        return Cancelled(self.queues.cancel_head(request.session_id))

    async def answer_permission(self, request: AnswerPermission) -> Taken:
        turn = self._running.get(request.session_id)
        return Taken(
            turn is not None
            and turn.permissions.answer(request.permission_id, request.option_id, turn.client)
        )

    # --- the daemon's start and end -------------------------------------------------------------------

    async def recover(self, session_id: str | None = None) -> None:
        """Record what a killed daemon left of its turns: of all, or of one session in which no turn runs."""
        if session_id is None:
            await recovery.recover_interrupted_turns(self._sessions)
        elif not self.queues.busy(session_id):
            async with self.queues.exclusive(session_id):
                await recovery.recover_interrupted_turn(self._sessions, session_id)

    # --- the way of a message ---------------------------------------------------------------------------

    def _arrival(self, request: Possess) -> _Arrival:
        if request.session_id is None or request.if_busy != "wait":
            return _Arrival(None)
        return _Arrival(self._sessions.threads.order("turn", request.session_id))

    async def _once(
        self, request: Possess, peer: Peer, cancellation: Cancellation, arrival: _Arrival, key: str
    ) -> Possessed:
        # The key may have been used in a fork, whose id the one who repeats it does not know.
        session_id = None if request.if_busy == "fork" else request.session_id
        earlier = await self._sessions.recorded(request.agent, key, session_id)
        if earlier is None:
            with self._counted(request.depth):
                return await self._possess(request, peer, cancellation, arrival)
        return await recovery.earlier_result(self._sessions, earlier)

    async def _possess(
        self, request: Possess, peer: Peer, cancellation: Cancellation, arrival: _Arrival
    ) -> Possessed:
        sessions = self._sessions
        if request.session_id is not None:
            await sessions.owned(request.session_id, request.agent)
            if request.if_busy == "fork" and await self._is_busy(request.session_id):
                fork_id = await self._fork_before_turn(request.session_id, request)
                request = dataclasses.replace(request, session_id=fork_id)
        references_read = await references.read(request.references or (), request.agent, sessions)
        session_id = request.session_id or await sessions.free_id(request.client)
        stream = Stream(peer) if request.stream else None
        ends = self._ends(request, peer, cancellation)
        async with self._queued(request, session_id, stream, ends, arrival) as entry:
            message = _message(request.message, references_read or UNSET, request.idempotency_key or UNSET)
            return await self._answer(entry, request, session_id, message, stream)

    @contextmanager
    def _counted(self, depth: int) -> Iterator[None]:
        """Raises `Overloaded` where too many turns run for other agents."""
        if not depth:
            yield
            return
        if self._nested >= ASKED_AT_ONCE:
            raise Overloaded(f"{ASKED_AT_ONCE} agents are at work for other agents, the most there may be")
        self._nested += 1
        try:
            yield
        finally:
            self._nested -= 1

    async def _fork_before_turn(self, session_id: str, request: Possess) -> str:
        """A fork of what stood before the turn under way. Raises `SessionBusy` where that is nothing."""
        # No question is recorded while the order is held, and none was without its seq being known.
        async with self._sessions.order(session_id):
            turn = self._running.get(session_id)
            question_seq = turn.question_seq if turn is not None else None
            if not self.queues.has_turns(session_id):  # the turn is another machine's
                question_seq = await recovery.unanswered(self._sessions, session_id)
            if question_seq == 1:
                raise SessionBusy(session_id, self.queues.waiting(session_id))
            at_seq = None if question_seq is None else question_seq - 1
            fork = ForkSession(session_id, at_seq, client=request.client, cwd=request.cwd)
            return (await self._lineage.fork_session(fork)).session_id

    async def _is_busy(self, session_id: str) -> bool:
        if self.queues.has_turns(session_id) or self._leases is None:
            return self.queues.has_turns(session_id)
        return await self._leases.holder(session_id) is not None

    def _ends(self, request: Possess, peer: Peer, cancellation: Cancellation) -> _Ends:
        """What cancels the turn. Raises `RequestCancelled` where it was cancelled before."""
        cancellation.check()
        return (cancellation.when_requested, *(() if request.detach else (peer.when_lost,)))

    @asynccontextmanager
    async def _queued(
        self,
        request: Possess,
        session_id: str,
        stream: Stream | None,
        ends: _Ends,
        arrival: _Arrival,
    ) -> AsyncIterator[QueueEntry]:
        on_position = partial(self._tell_position, stream, session_id, request.agent) if stream else None
        refuse = request.if_busy == "error"
        async with self.queues.enter(
            session_id,
            request.agent,
            on_position,
            entered=arrival.let_next_enter,
            refuse_if_busy=refuse,
            cancelled_by=ends,
        ) as entry:
            if self._leases is None:
                yield entry
                return
            tell = partial(self._tell_machine, stream, session_id, request.agent)
            async with kept_off(self._leases, self.queues, entry, session_id, None if refuse else tell):
                yield entry

    def _tell_position(self, stream: Stream, session_id: str, agent: str, position: int) -> None:
        event = WaitingEvent(session_id, agent, position=position)
        stream.deliver(event, notification(event))

    def _tell_machine(self, stream: Stream | None, session_id: str, agent: str, machine: str) -> None:
        if stream is not None:
            event = WaitingEvent(session_id, agent, position=1, machine=machine)
            stream.deliver(event, notification(event))

    async def _answer(
        self,
        entry: QueueEntry,
        request: Possess,
        session_id: str,
        message: UserMessage,
        stream: Stream | None,
    ) -> Possessed:
        header = None
        if request.session_id is None:
            header = Header(
                id=session_id, agent=request.agent, created_at=now(), client=request.client, cwd=request.cwd
            )
        async with self._agents.resolve(request.agent) as configured:
            backend = _as_asked(configured, request)
            turn = RunningTurn(
                self._sessions,
                self._keeper,
                session_id,
                request.agent,
                message,
                header,
                backend,
                stream,
                request.client,
                request.cwd,
                request.depth,
            )
            self._running[session_id] = turn
            entry.on_cancel = turn.cancel
            if entry.cancelled:  # at the last moment: the question is recorded all the same
                turn.cancel()
            try:
                return await turn.run()
            except StorageFailed:
                # The next turn would overwrite what is kept of this one.
                self.queues.do_first(
                    session_id, partial(recovery.recover_interrupted_turn, self._sessions, session_id)
                )
                raise
            finally:
                del self._running[session_id]


def _as_asked(resolved: ResolvedBackend, request: Possess) -> ResolvedBackend:
    """With the model, mode and MCP servers of the request.

    Raises `InvalidParams` where nothing could use them.
    """
    for field, value in (("model", request.model), ("mode", request.mode)):
        if value is not None and resolved.backend is None:
            raise InvalidParams.expecting(field, f"none, as no back end answers {request.agent}", got=value)
    if request.mcp_servers and resolved.backend is None:
        raise InvalidParams.expecting("mcp_servers", f"none, as no back end answers {request.agent}")
    model, servers = request.model or resolved.model, tuple(request.mcp_servers or ())
    return structs.replace(resolved, model=model, mode=request.mode, mcp_servers=servers)


def _message(
    content: str, references: tuple[Reference, ...] | UnsetType, key: str | UnsetType = UNSET
) -> UserMessage:
    return UserMessage(seq=0, content=content, timestamp=now(), references=references, key=key)
