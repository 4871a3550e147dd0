"""One turn: the question durable, the back end asked, its events told, the reply durable. Nothing is lost
on the way: what was said so far is kept at least every second, and recorded however the turn ends."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec import UNSET, structs

from port42_daemon.agents import Answering
from port42_daemon.backends import base as b
from port42_daemon.events import Events, Stream
from port42_daemon.executors import Threads
from port42_daemon.sessions.service import Sessions, now
from port42_daemon.store.interface import Recent, Store
from port42_daemon.store.session_file.checkpoint import Unfinished
from port42_daemon.turns import context
from port42_daemon.turns.partial_reply import LIMIT, Reply
from port42_daemon.turns.permissions import Permissions
from port42_protocol.errors import BackendFailed, RpcError, StorageFailed
from port42_protocol.messages.records import Message, TurnRecord
from port42_protocol.messages.turns import Possessed, SessionEvent
from port42_protocol.messages.types import TurnStatus

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class House:
    """What every turn works with."""

    store: Store
    threads: Threads
    sessions: Sessions
    events: Events


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom, of what. `record` puts it on the disk and gives its seq."""

    session_id: str
    agent: str
    message: Message
    answering: Answering
    record: Callable[[], Awaitable[int]]
    streaming: Stream | None


class RunningTurn:
    """From the question to the reply. `run` may be called once."""

    def __init__(self, house: House, question: Question) -> None:
        self._house = house
        self._question = question
        self._answer: asyncio.Task[None] | None = None
        self._cancelled = False
        self._done: b.Done | None = None
        self._turn = TurnRecord(
            backend=question.answering.name,
            model=question.answering.model,
            asked_model=question.answering.model,
            persona=persona_mark(question.answering.system),
        )
        self._before: TurnRecord | None = None
        self.asked: int | None = None
        """The seq of the question, once it is on the disk."""
        self._began = 0.0
        self.permissions = Permissions(question.streaming, self._tell)

    # --- from outside -------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the back end; `run` then records what was said so far."""
        self._cancelled = True
        if self._answer is not None:
            self._answer.cancel()

    async def run(self) -> Possessed:
        """Ask and answer. Raises `BackendFailed`, with everything recorded, and what storing raises."""
        question = self._question
        seq = self.asked = await question.record()
        if question.answering.backend is None:
            return Possessed(question.session_id, seq, "recorded")
        self._began = time.monotonic()
        try:
            return await self._answered(question.answering.backend, seq)
        except StorageFailed as error:
            error.data = {"session_id": question.session_id, "seq": seq} | error.data
            raise

    # --- asking -------------------------------------------------------------------------------------

    async def _answered(self, backend: b.Backend, seq: int) -> Possessed:
        house, question = self._house, self._question
        unfinished = Unfinished(question.session_id, question.agent, seq, self._turn)
        reply = Reply(await house.threads.files(house.store.checkpoint, unfinished), house.threads)
        house.events.speaking(question.session_id, question.agent, reply.pieces)
        recorded = False
        try:
            await self._run(backend, seq, reply)
            last = await self._record(seq, str(reply))
            recorded = True
        finally:
            house.events.speaking(question.session_id, question.agent, None)
            self._tell(kind="ended")
            await reply.close(recorded=recorded)
        failure = self._failure
        if failure is not None:
            raise BackendFailed(failure.kind, failure.message, question.session_id, seq)
        status: TurnStatus = "interrupted" if self._interrupted else "answered"
        return Possessed(question.session_id, seq, status, str(reply), last, self._turn)

    async def _run(self, backend: b.Backend, seq: int, reply: Reply) -> None:
        """The back end works in a task of its own: that is what a cancel ends, not the recording."""
        if not self._cancelled:
            self._answer = asyncio.create_task(self._listen(backend, seq, reply))
            try:
                await asyncio.wait([self._answer])
            finally:
                self._answer.cancel()  # if the daemon itself has no time left
            if not self._answer.cancelled() and (error := self._answer.exception()) is not None:
                self._broke(error)
        await reply.settle()

    def _broke(self, error: BaseException) -> None:
        """The back end raised, or what it is told of could not be read."""
        name = self._turn.backend
        if isinstance(error, RpcError):
            self._done = b.Done(b.Failure("crashed", error.message))
            return
        log.error("back end %s broke its contract", name, exc_info=error)
        if not self._cancelled and self._done is None:
            self._done = b.Done(b.Failure("crashed", f"the back end {name} broke; the log says more"))

    async def _listen(self, backend: b.Backend, seq: int, reply: Reply) -> None:
        turn = await self._context(seq)
        async with contextlib.aclosing(backend.run(turn, self.permissions.ask)) as events:  # type: ignore[type-var]  # an async generator, as every back end's is
            async for event in events:
                self._hear(event, reply)
                if self._done is not None or reply.overlong:
                    break
        if reply.overlong:
            self._done = b.Done(b.Failure("refused", f"the reply is longer than {LIMIT:,} characters"))
        elif self._done is None:
            log.error("back end %s broke its contract: it ended without Done", self._turn.backend)
            failure = b.Failure("crashed", f"the back end {self._turn.backend} stopped without an end")
            self._done = b.Done(failure)

    async def _context(self, seq: int) -> b.Turn:
        """What the back end is told, and the notices that go with it."""
        question, answering = self._question, self._question.answering
        recent = await self._house.threads.files(
            self._house.store.recent,
            question.session_id,
            answering.context_chars * context.BYTES_PER_CHAR,
        )
        self._before = recent.turn
        before = [record for record in recent.records if record.seq < seq]
        message = context.spoken(question.message)
        chosen = context.select(before, answering.context_chars - len(message))
        native_id = self._resumable(before)
        left_out = chosen.left_out + _not_looked_at(recent)
        if left_out and native_id is None:
            self._turn = structs.replace(self._turn, left_out=left_out)
            self._notice(f"{left_out} earlier messages, the oldest, do not fit {answering.name}'s budget")
        for change in _changes(recent.turn, self._turn):
            self._notice(f"since the last turn {change}")
        return b.Turn(
            session_id=question.session_id,
            message=message,
            history=chosen.history,
            system=answering.system,
            model=answering.model,
            cwd=answering.cwd or recent.summary.cwd,
            native_id=native_id,
        )

    def _resumable(self, before: list[Message]) -> str | None:
        """The back end's own conversation, if it kept one and has heard everything."""
        last, name = self._before, self._turn.backend
        if last is None or last.backend != name or last.native_id is None:
            return None
        if context.unheard(before):
            self._notice(f"{name} has not heard all that was said since; it begins anew with the transcript")
            return None
        return last.native_id

    def _hear(self, event: b.Event, reply: Reply) -> None:
        """Pass an event on, and keep what the record will need."""
        match event:
            case b.Text(text):
                if not reply.pieces:
                    self._turn = structs.replace(self._turn, first_ms=self._elapsed())
                self._tell(kind="text", text=reply.add(text))
            case b.Thought(text):
                self._tell(kind="thought", text=text)
            case b.Tool(tool_id, title, state):
                self._tell(kind="tool", tool_id=tool_id, text=title, state=state)
            case b.Usage(sent, got):
                self._turn = structs.replace(self._turn, input_tokens=sent, output_tokens=got)
                self._tell(kind="usage", input_tokens=sent, output_tokens=got)
            case b.Notice(text):
                self._notice(text)
            case b.Started():
                self._started(event)
            case b.Done():
                self._done = event

    def _started(self, event: b.Started) -> None:
        known = self._turn
        self._turn = structs.replace(
            known, native_id=event.native_id or known.native_id, model=event.model or known.model
        )
        self._tell(kind="started", backend=known.backend, model=self._turn.model or UNSET)

    # --- recording ----------------------------------------------------------------------------------

    @property
    def _interrupted(self) -> bool:
        return self._cancelled and self._done is None

    @property
    def _failure(self) -> b.Failure | None:
        return None if self._done is None else self._done.failure

    async def _record(self, seq: int, reply: str) -> int:
        """Put the reply into the session, or the failure, or both; gives the last seq."""
        question, failure = self._question, self._failure
        self._turn = structs.replace(self._turn, total_ms=self._elapsed())
        records = []
        if failure is None or reply:
            whole = failure is None and not self._interrupted
            records.append(answered(reply, self._turn, seq, whole=whole))
        if failure is not None:
            records.append(failed(failure.kind, failure.message, seq))
        return await self._house.sessions.record(
            question.agent, question.session_id, *records, streaming=question.streaming
        )

    def _notice(self, text: str) -> None:
        self._tell(kind="notice", text=text)

    def _tell(self, **fields: object) -> None:
        question = self._question
        event = SessionEvent(session_id=question.session_id, agent=question.agent, **fields)  # type: ignore[arg-type]  # by kind
        self._house.events.publish(event, question.streaming)

    def _elapsed(self) -> int:
        return round((time.monotonic() - self._began) * 1000)


def answered(text: str, turn: TurnRecord, question: int, *, whole: bool) -> Message:
    """The record of a reply, whole or as far as it went."""
    return Message(
        seq=0,
        role="assistant",
        content=text,
        timestamp=now(),
        status="complete" if whole else "interrupted",
        question=question,
        turn=turn,
    )


def failed(kind: str, message: str, question: int) -> Message:
    """The record of a failed turn."""
    message = message.encode(errors="replace").decode()  # half a surrogate pair cannot be written
    return Message(seq=0, role="error", content=message, timestamp=now(), kind=kind, question=question)


def persona_mark(system: str | None) -> str | None:
    """What is recorded of a persona: enough to see that it changed."""
    return None if system is None else hashlib.sha256(system.encode()).hexdigest()[:12]


def _not_looked_at(recent: Recent) -> int:
    """How many messages stand before the records that were read."""
    if recent.all:
        return 0
    looked_at = sum(record.role in {"user", "assistant"} for record in recent.records)
    return recent.summary.message_count - looked_at


def _changes(before: TurnRecord | None, after: TurnRecord) -> list[str]:
    """What a person who resumes should know of what answers now."""
    if before is None:
        return []
    changes = []
    if before.backend != after.backend:
        changes.append(f"the back end changed from {before.backend} to {after.backend}")
    elif before.asked_model != after.asked_model:
        models = [one.asked_model or "the back end's own" for one in (before, after)]
        changes.append(f"the model changed from {models[0]} to {models[1]}")
    if before.persona != after.persona:
        changes.append("the persona changed")
    return changes
