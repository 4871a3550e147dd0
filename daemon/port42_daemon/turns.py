"""The rules of turns: who is next in a session, what a repeated key gives, what may be tried again.

One turn at a time in a session. The others wait in a queue, not at a lock: they can be counted, told
their place, and leave it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import UNSET

from port42_daemon import references
from port42_daemon.agents import Agents
from port42_daemon.events import Peer
from port42_daemon.sessions import now
from port42_daemon.store.checkpoint import Unfinished
from port42_daemon.store.document import Header
from port42_daemon.turn import House, Question, RunningTurn, failed
from port42_protocol import messages as m
from port42_protocol.errors import BackendFailed, InvalidParams, RpcError, SessionBusy

log = logging.getLogger(__name__)

_RETRY_LOOK = 1024 * 1024
"""Bytes of a session's end in which a failed turn is looked for."""


class _Place:
    """Somebody's place in a session's queue."""

    def __init__(self) -> None:
        self.turn: RunningTurn | None = None
        self.next: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def leave(self) -> None:
        """Give up waiting, or stop the turn under way."""
        if not self.next.done():
            self.next.set_result(False)
        if self.turn is not None:
            self.turn.cancel()


class Turns:
    """`possess`, `retry_turn`, `cancel_turn`, `answer_permission`."""

    def __init__(self, house: House, agents: Agents) -> None:
        self._house = house
        self._agents = agents
        self._queues: dict[str, deque[_Place]] = {}
        self._keyed: dict[tuple[str, str], asyncio.Task[m.Possessed]] = {}

    # --- what is asked ------------------------------------------------------------------------------

    async def possess(self, asked: m.Possess, peer: Peer) -> m.Possessed:
        """Record the message, and answer it where a back end is connected."""
        await self._agents.require(asked.agent)
        if asked.idempotency_key is None:
            return await self._possess(asked, peer)
        # Whoever repeats a key while its turn is under way waits for that very turn.
        slot = (asked.agent, asked.idempotency_key)
        if slot not in self._keyed:
            self._keyed[slot] = task = asyncio.create_task(self._once(asked, peer, asked.idempotency_key))
            task.add_done_callback(lambda _: self._keyed.pop(slot))
        return await asyncio.shield(self._keyed[slot])

    async def retry_turn(self, asked: m.RetryTurn, peer: Peer) -> m.Possessed:
        """Ask again what the session's last turn failed on."""
        await self._agents.require(asked.agent)
        recent = await self._house.threads.files(self._house.store.recent, asked.session_id, _RETRY_LOOK)
        said = [record for record in recent.records if record.role != "event"]
        if not said or said[-1].role != "error" or said[-1].question is UNSET:
            expected = "a session whose last turn failed"
            raise InvalidParams(f"session_id: expected {expected}", field="session_id", expected=expected)
        page, _ = await self._house.threads.files(
            self._house.store.read,
            asked.session_id,
            after_seq=int(str(said[-1].question)) - 1,
            limit=1,
            max_bytes=1,
            events=False,
        )
        again = m.Possess(
            asked.agent,
            str(page[0].content),
            asked.session_id,
            stream=asked.stream,
            detach=asked.detach,
        )
        kept = page[0].references if isinstance(page[0].references, tuple) else ()
        return await self._ask(again, kept, peer)

    async def cancel_turn(self, asked: m.CancelTurn) -> m.Cancelled:
        """Stop the turn under way, if there is one; those that wait stay."""
        queue = self._queues.get(asked.session_id)
        if not queue or queue[0].turn is None:
            return m.Cancelled(False)
        queue[0].turn.cancel()
        return m.Cancelled(True)

    async def answer_permission(self, asked: m.AnswerPermission) -> m.Taken:
        """Let the turn under way have its answer."""
        queue = self._queues.get(asked.session_id)
        turn = queue[0].turn if queue else None
        waiting = turn.permissions.get(asked.permission_id) if turn else None
        if waiting is None or waiting[1].done():
            return m.Taken(False)
        options, answer = waiting
        if asked.option_id is not None and asked.option_id not in options:
            expected = "one of " + ", ".join(sorted(options))
            raise InvalidParams(f"option_id: expected {expected}", field="option_id", expected=expected)
        answer.set_result(asked.option_id)
        return m.Taken(True)

    # --- the daemon's life --------------------------------------------------------------------------

    @property
    def under_way(self) -> int:
        """Turns that run or wait."""
        return sum(map(len, self._queues.values()))

    def cut_off(self) -> None:
        """Stop every turn, and send away who waits: what was said so far is recorded."""
        for queue in self._queues.values():
            for place in list(queue):
                place.leave()

    async def recover(self) -> None:
        """Record what a killed daemon left of its turns."""
        for unfinished, text in await self._house.threads.files(self._house.store.unfinished):
            try:
                await self._recover(unfinished, text)
            except RpcError as error:
                log.warning("⚠ an unfinished turn of %s was not recorded: %s", unfinished.session_id, error)

    async def _recover(self, unfinished: Unfinished, text: str) -> None:
        session_id, question = unfinished.session_id, unfinished.question
        page, _ = await self._house.threads.files(
            self._house.store.read,
            session_id,
            after_seq=question,
            limit=10,
            max_bytes=1,
            events=False,
        )
        if not any(record.role in {"assistant", "error"} for record in page):
            ended = failed("crashed", "the daemon was stopped during this turn", question)
            if text:
                ended = m.Message(
                    seq=0,
                    role="assistant",
                    content=text,
                    timestamp=now(),
                    status="interrupted",
                    turn=unfinished.turn,
                )
            await self._house.sessions.record(unfinished.agent, session_id, ended)
            log.warning("⚠ %s: a turn was cut off; %d characters of it are kept", session_id, len(text))
        await self._house.threads.files(self._house.store.forget_unfinished, session_id)

    # --- inside -------------------------------------------------------------------------------------

    async def _once(self, asked: m.Possess, peer: Peer, key: str) -> m.Possessed:
        earlier = await self._house.sessions.recorded(asked.agent, key, asked.session_id)
        if earlier is None:
            return await self._possess(asked, peer)
        return await self._as_it_went(earlier)

    async def _as_it_went(self, question: m.Appended) -> m.Possessed:
        """The first result of a question that was asked before."""
        page, _ = await self._house.threads.files(
            self._house.store.read,
            question.session_id,
            after_seq=question.seq,
            limit=2,
            max_bytes=2**32,
            events=False,
        )
        for record in page:
            if record.role == "error" and record.question == question.seq:
                raise BackendFailed(str(record.kind), str(record.content), question.session_id, question.seq)
        if page and page[0].role == "assistant" and page[0].turn is not UNSET:
            status: m.TurnStatus = "answered" if page[0].status == "complete" else "interrupted"
            turn = page[0].turn if isinstance(page[0].turn, m.TurnRecord) else None
            return m.Possessed(
                question.session_id, question.seq, status, str(page[0].content), page[0].seq, turn
            )
        return m.Possessed(question.session_id, question.seq, "recorded")

    async def _possess(self, asked: m.Possess, peer: Peer) -> m.Possessed:
        read = await references.read(asked.references or (), self._house.sessions, self._house.threads)
        return await self._ask(asked, read, peer)

    async def _ask(self, asked: m.Possess, read: tuple[m.Reference, ...], peer: Peer) -> m.Possessed:
        sessions = self._house.sessions
        session_id = asked.session_id or await sessions.free_id(asked.client)
        message = m.Message(
            seq=0,
            role="user",
            content=asked.message,
            timestamp=now(),
            references=read or UNSET,
            key=asked.idempotency_key or UNSET,
        )

        streaming = peer if asked.stream else None

        async def record() -> int:
            if asked.session_id is not None:
                return await sessions.record(asked.agent, session_id, message, streaming=streaming)
            header = Header(
                id=session_id, agent=asked.agent, created_at=now(), client=asked.client, cwd=asked.cwd
            )
            await sessions.begin(header, message, streaming)
            return 1

        if asked.session_id is not None:
            await sessions.owned(session_id, asked.agent)
        async with self._in_turn(asked, session_id, peer) as place:
            answering = await self._agents.answering(asked.agent)
            question = Question(session_id, asked.agent, message, answering, record, streaming)
            place.turn = RunningTurn(self._house, question)
            return await place.turn.run()

    @asynccontextmanager
    async def _in_turn(self, asked: m.Possess, session_id: str, peer: Peer) -> AsyncIterator[_Place]:
        """Wait for one's turn in the session, and let the next one have theirs."""
        queue = self._queues.setdefault(session_id, deque())
        if queue and asked.if_busy == "error":
            raise SessionBusy(session_id, len(queue) - 1)
        place = _Place()
        queue.append(place)
        take_back = None if asked.detach else peer.when_lost(place.leave)
        try:
            if queue[0] is not place:
                self._tell_place(asked, session_id, len(queue) - 1, peer)
                if not await place.next:
                    raise SessionBusy(session_id, len(queue) - 1)
            yield place
        finally:
            if take_back is not None:
                take_back()
            queue.remove(place)
            if not queue:
                self._queues.pop(session_id, None)
            elif not queue[0].next.done():
                queue[0].next.set_result(True)

    def _tell_place(self, asked: m.Possess, session_id: str, position: int, peer: Peer) -> None:
        if asked.stream:
            event = m.SessionEvent(
                kind="waiting", session_id=session_id, agent=asked.agent, position=position
            )
            self._house.events.tell(peer, event)
