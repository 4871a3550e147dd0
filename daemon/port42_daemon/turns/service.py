"""The rules of turns: who is next in a session, what a repeated key gives, what may be tried again.

One turn at a time in a session. The others wait in a queue, not at a lock: they can be counted, told
their place, and leave it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from msgspec import UNSET, UnsetType

from port42_daemon.agents import Agents
from port42_daemon.events import Peer, Stream
from port42_daemon.sessions.forks import Lineage
from port42_daemon.sessions.service import now
from port42_daemon.store.session_file.document import Header
from port42_daemon.turns import recovery, references
from port42_daemon.turns.turn import House, Question, RunningTurn
from port42_protocol.errors import SessionBusy, ShuttingDown, StorageFailed
from port42_protocol.messages.daemon import AgentTurns
from port42_protocol.messages.forks_and_trash import ForkSession
from port42_protocol.messages.records import Message, Reference
from port42_protocol.messages.turns import (
    AnswerPermission,
    Cancelled,
    CancelTurn,
    Possess,
    Possessed,
    RetryTurn,
    SessionEvent,
    Taken,
)


class _Place:
    """A turn of `agent`'s in a session's queue; `tell` says how many are before it.

    Without an agent it is no turn: somebody has the session to themselves.
    """

    def __init__(self, agent: str | None, tell: Callable[[int], None]) -> None:
        self.agent = agent
        self.left = False
        self.turn: RunningTurn | None = None
        self._tell = tell
        self._told = 0
        self._next: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        """Until it is at the head of the queue, or left it."""
        await self._next

    def move_to(self, position: int) -> None:
        """So many turns are before it now."""
        if position == 0:
            self._wake()
        elif position != self._told:
            self._told = position
            self._tell(position)

    def begin(self, turn: RunningTurn) -> None:
        """It is its turn. Who left at the last moment has the question recorded all the same."""
        self.turn = turn
        if self.left:
            turn.cancel()

    def leave(self) -> None:
        """Give up waiting, or stop the turn under way."""
        self.left = True
        self._wake()
        if self.turn is not None:
            self.turn.cancel()

    def _wake(self) -> None:
        if not self._next.done():
            self._next.set_result(None)


class Turns:
    """`possess`, `retry_turn`, `cancel_turn`, `answer_permission`.

    `changed` is called when a turn comes or is over.
    """

    def __init__(
        self, house: House, agents: Agents, lineage: Lineage, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._house = house
        self._agents = agents
        self._lineage = lineage
        self._changed = changed
        self._queues: dict[str, deque[_Place]] = {}
        self._keyed: dict[tuple[str, str], asyncio.Task[Possessed]] = {}
        self._unrecorded: set[str] = set()
        self._stopping = False

    # --- what is asked ------------------------------------------------------------------------------

    async def possess(self, request: Possess, peer: Peer) -> Possessed:
        """Record the message, and answer it where a back end is connected."""
        await self._agents.require(request.agent)
        if request.idempotency_key is None:
            return await self._possess(request, peer)
        # Whoever repeats a key while its turn is under way waits for that very turn.
        slot = (request.agent, request.idempotency_key)
        if slot not in self._keyed:
            self._keyed[slot] = task = asyncio.create_task(self._once(request, peer, request.idempotency_key))
            task.add_done_callback(lambda _: self._keyed.pop(slot))
        return await asyncio.shield(self._keyed[slot])

    async def retry_turn(self, request: RetryTurn, peer: Peer) -> Possessed:
        """Ask again what the session's last turn failed on."""
        await self._agents.require(request.agent)
        await self._house.sessions.owned(request.session_id, request.agent)

        async def again() -> Message:
            failed = await recovery.failed_question(self._house, request.session_id)
            return _message(str(failed.content), failed.references)

        # Once more with `again` when it is its turn: whoever is before it may have retried already.
        await again()
        possess = Possess(request.agent, "", request.session_id, stream=request.stream, detach=request.detach)
        return await self._ask(possess, again, peer)

    async def cancel_turn(self, request: CancelTurn) -> Cancelled:
        """Stop the turn under way, if there is one; those that wait stay."""
        queue = self._queues.get(request.session_id)
        if not queue:
            return Cancelled(False)
        queue[0].leave()
        return Cancelled(True)

    async def answer_permission(self, request: AnswerPermission) -> Taken:
        """Let the turn under way have its answer."""
        queue = self._queues.get(request.session_id)
        turn = queue[0].turn if queue else None
        return Taken(turn is not None and turn.permissions.answer(request.permission_id, request.option_id))

    # --- the daemon's life --------------------------------------------------------------------------

    @asynccontextmanager
    async def at_rest(self, session_id: str) -> AsyncIterator[None]:
        """Have a session to oneself: whoever speaks meanwhile waits. Raises `SessionBusy`.

        Where the disk refused an earlier reply, it is recorded first, if the disk takes it now.
        """
        if queue := self._queues.get(session_id):
            raise SessionBusy(session_id, len(queue) - 1)
        place = _Place(None, lambda _: None)
        self._queues[session_id] = deque([place])
        try:
            with contextlib.suppress(StorageFailed):
                await self._catch_up(session_id)
            yield
        finally:
            self._leave(session_id, place)

    def busy(self, session_id: str) -> bool:
        """Whether somebody is being answered there, or waits for it."""
        return session_id in self._queues

    @property
    def under_way(self) -> int:
        """Turns that run or wait."""
        return sum(map(len, self._queues.values()))

    def refuse(self) -> None:
        """Let no new turn begin; those that run or wait go on."""
        self._stopping = True

    @property
    def by_agent(self) -> tuple[AgentTurns, ...]:
        """The same, for each agent that has any: those that run, and those that wait."""
        running = Counter(queue[0].agent for queue in self._queues.values() if queue[0].agent)
        there = Counter(place.agent for queue in self._queues.values() for place in queue if place.agent)
        return tuple(
            AgentTurns(agent, running[agent], number - running[agent])
            for agent, number in sorted(there.items())
        )

    def cut_off(self) -> None:
        """Stop every turn, and send away who waits: what was said so far is recorded."""
        self.refuse()
        for queue in self._queues.values():
            for place in list(queue):
                place.leave()

    async def recover(self) -> None:
        """Record what a killed daemon left of its turns."""
        await recovery.make_up(self._house)

    def in_turn(self, session_id: str) -> bool:
        """Whether a turn of the session runs or waits."""
        return session_id in self._queues

    async def make_up(self, session_id: str) -> None:
        """Record what was left of a turn of the session, in a turn's place: nothing where one runs."""
        if self.in_turn(session_id):
            return
        nobody = Possess("", "", session_id, detach=True)
        async with self._in_turn(nobody, session_id, None, None):
            await recovery.make_up(self._house, session_id)

    # --- inside -------------------------------------------------------------------------------------

    async def _once(self, request: Possess, peer: Peer, key: str) -> Possessed:
        # A fork, of which whoever repeats a key knows no id yet, may be where it was said.
        session_id = None if request.if_busy == "fork" else request.session_id
        earlier = await self._house.sessions.recorded(request.agent, key, session_id)
        if earlier is None:
            return await self._possess(request, peer)
        return await recovery.as_it_went(self._house, earlier)

    async def _possess(self, request: Possess, peer: Peer) -> Possessed:
        sessions = self._house.sessions
        if request.session_id is not None:
            await sessions.owned(request.session_id, request.agent)
            if request.if_busy == "fork" and self.busy(request.session_id):
                fork = await self._beside(request.session_id, request)
                request = dataclasses.replace(request, session_id=fork)
        read = await references.read(request.references or (), request.agent, sessions, self._house.threads)

        async def said() -> Message:
            return _message(request.message, read or UNSET, request.idempotency_key or UNSET)

        return await self._ask(request, said, peer)

    async def _beside(self, session_id: str, request: Possess) -> str:
        """A fork of what was said before the turn under way. Raises `SessionBusy` where that is nothing."""
        # No question is recorded while the order is held, and none was without its seq being known.
        async with self._house.sessions.order(session_id):
            queue = self._queues.get(session_id)
            turn = queue[0].turn if queue else None
            asked_at = turn.asked if turn is not None else None
            if asked_at == 1:
                raise SessionBusy(session_id, len(queue or ()) - 1)
            at_seq = None if asked_at is None else asked_at - 1
            fork = ForkSession(session_id, at_seq, client=request.client, cwd=request.cwd)
            return (await self._lineage.fork_session(fork)).session_id

    async def _ask(self, request: Possess, say: Callable[[], Awaitable[Message]], peer: Peer) -> Possessed:
        """Wait for one's turn, `say` what there is to say, and have it answered."""
        session_id = request.session_id or await self._house.sessions.free_id(request.client)
        streaming = Stream(peer) if request.stream else None
        async with self._in_turn(request, session_id, peer, streaming) as place:
            await self._catch_up(session_id)
            async with self._agents.answering(request.agent) as answering:
                message = await say()
                question = Question(
                    session_id=session_id,
                    agent=request.agent,
                    message=message,
                    answering=answering,
                    record=lambda: self._record(request, session_id, message, streaming),
                    streaming=streaming,
                )
                turn = RunningTurn(self._house, question)
                place.begin(turn)
                try:
                    return await turn.run()
                except StorageFailed:
                    self._unrecorded.add(session_id)
                    raise

    async def _record(
        self, request: Possess, session_id: str, message: Message, streaming: Stream | None
    ) -> int:
        """Put the question on the disk, in its session or as the first of a new one."""
        sessions = self._house.sessions
        if request.session_id is not None:
            return await sessions.record(request.agent, session_id, message, streaming=streaming)
        header = Header(
            id=session_id, agent=request.agent, created_at=now(), client=request.client, cwd=request.cwd
        )
        await sessions.begin(header, message, streaming)
        return 1

    async def _catch_up(self, session_id: str) -> None:
        """Where the disk refused an earlier reply, that one first: the next turn would overwrite it."""
        if session_id in self._unrecorded:
            await recovery.make_up(self._house, session_id)
            self._unrecorded.discard(session_id)

    @asynccontextmanager
    async def _in_turn(
        self, request: Possess, session_id: str, peer: Peer | None, streaming: Stream | None
    ) -> AsyncIterator[_Place]:
        """Wait for one's turn in the session, and let the next one have theirs."""
        if self._stopping:
            raise ShuttingDown
        queue = self._queues.setdefault(session_id, deque())
        if queue and request.if_busy == "error":
            raise SessionBusy(session_id, len(queue) - 1)
        place = _Place(
            request.agent, lambda position: self._tell_place(request, session_id, position, streaming)
        )
        queue.append(place)
        self._changed()
        take_back = None if request.detach or peer is None else peer.when_lost(place.leave)
        try:
            place.move_to(len(queue) - 1)
            await place.wait()
            if place.left and queue[0] is not place:
                raise ShuttingDown if self._stopping else SessionBusy(session_id, len(queue) - 1)
            yield place
        finally:
            if take_back is not None:
                take_back()
            self._leave(session_id, place)

    def _leave(self, session_id: str, place: _Place) -> None:
        """Let the next one have their turn."""
        queue = self._queues[session_id]
        queue.remove(place)
        self._changed()
        if not queue:
            del self._queues[session_id]
        for position, one in enumerate(queue):
            one.move_to(position)

    def _tell_place(self, request: Possess, session_id: str, position: int, streaming: Stream | None) -> None:
        if streaming is not None:
            event = SessionEvent(
                kind="waiting", session_id=session_id, agent=request.agent, position=position
            )
            self._house.events.tell(streaming, event)


def _message(
    content: str, references: tuple[Reference, ...] | UnsetType, key: str | UnsetType = UNSET
) -> Message:
    return Message(seq=0, role="user", content=content, timestamp=now(), references=references, key=key)
