"""One turn: the question durable, the back end asked, its events told, the reply durable. Nothing is lost
on the way: what was said so far is kept at least every second, and recorded however the turn ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec import UNSET

from port42_daemon import context
from port42_daemon.agents import Answering
from port42_daemon.backends import interface as b
from port42_daemon.events import Events, Peer
from port42_daemon.sessions import Sessions, now
from port42_daemon.store.checkpoint import Checkpoint, Unfinished
from port42_daemon.store.contract import Recent, Store
from port42_daemon.threads import Threads
from port42_protocol import messages as m
from port42_protocol.errors import BackendFailed

log = logging.getLogger(__name__)

_CHECKPOINT_EVERY = 0.5
"""Seconds that a piece of a reply may be in memory only; a kill may cost at most a second of text."""
REPLY_LIMIT = 4 * 1024 * 1024
"""Characters of one reply: an agent that never ends must not fill the disk."""


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
    message: m.Message
    answering: Answering
    record: Callable[[], Awaitable[int]]
    streaming: Peer | None


class RunningTurn:
    """From the question to the reply. `run` may be called once."""

    def __init__(self, house: House, question: Question) -> None:
        self._house = house
        self._question = question
        self._answer: asyncio.Task[None] | None = None
        self._cancelled = False
        self._pieces: list[str] = []
        self._said = 0
        self._kept = 0
        self._keeping: asyncio.Task[None] | None = None
        self._done = b.Done()
        self._turn = m.TurnRecord(backend=question.answering.name)
        self._began = 0.0
        self.permissions: dict[str, tuple[frozenset[str], asyncio.Future[str | None]]] = {}

    # --- from outside -------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the back end; `run` then records what was said so far."""
        self._cancelled = True
        if self._answer is not None:
            self._answer.cancel()

    async def run(self) -> m.Possessed:
        """Ask and answer. Raises `BackendFailed`, with everything recorded, and what storing raises."""
        question = self._question
        seq = await question.record()
        if question.answering.backend is None:
            return m.Possessed(question.session_id, seq, "recorded")
        self._began = time.monotonic()
        checkpoint = await self._prepare(seq)
        self._house.events.speaking(question.session_id, self._pieces)
        try:
            await self._answered(question.answering.backend, seq, checkpoint)
            return await self._conclude(seq)
        finally:
            self._house.events.speaking(question.session_id, None)
            self._tell(kind="ended")
            with contextlib.suppress(OSError):
                await self._house.threads.files(checkpoint.end)

    # --- asking -------------------------------------------------------------------------------------

    async def _prepare(self, seq: int) -> Checkpoint:
        answering = self._question.answering
        self._turn = dataclasses.replace(
            self._turn, model=answering.model, persona=persona_mark(answering.system)
        )
        unfinished = Unfinished(self._question.session_id, self._question.agent, seq, self._turn)
        return await self._house.threads.files(self._house.store.checkpoint, unfinished)

    async def _answered(self, backend: b.Backend, seq: int, checkpoint: Checkpoint) -> None:
        """Run the back end in a task of its own: that is what a cancel ends, not the recording."""
        turn = await self._context(seq)
        if not self._cancelled:
            self._answer = asyncio.create_task(self._listen(backend, turn, checkpoint))
            await asyncio.wait([self._answer])
            if not self._answer.cancelled() and (error := self._answer.exception()) is not None:
                log.error("back end %s broke its contract", self._turn.backend, exc_info=error)
                self._done = b.Done(b.Failure("crashed", f"the back end {self._turn.backend} broke"))
        if self._keeping is not None:
            await asyncio.wait([self._keeping])

    async def _context(self, seq: int) -> b.Turn:
        """What the back end is told, and the notices that go with it."""
        question, answering = self._question, self._question.answering
        recent = await self._house.threads.files(
            self._house.store.recent,
            question.session_id,
            answering.context_chars * context.BYTES_PER_CHAR,
        )
        before = [record for record in recent.records if record.seq < seq]
        message = context.spoken(question.message)
        chosen = context.select(before, answering.context_chars - len(message))
        native_id = None
        if recent.turn is not None and recent.turn.backend == answering.name:
            native_id = recent.turn.native_id
        left_out = chosen.left_out + _not_looked_at(recent)
        if left_out and native_id is None:
            self._turn = dataclasses.replace(self._turn, left_out=left_out)
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

    async def _listen(self, backend: b.Backend, turn: b.Turn, checkpoint: Checkpoint) -> None:
        async with contextlib.aclosing(backend.run(turn, self._ask)) as events:  # type: ignore[type-var]  # an async generator, as every back end's is
            async for event in events:
                self._hear(event, checkpoint)
                if isinstance(event, b.Done) or self._said > REPLY_LIMIT:
                    break
        if self._said > REPLY_LIMIT:
            self._done = b.Done(b.Failure("refused", f"the reply is longer than {REPLY_LIMIT:,} characters"))

    def _hear(self, event: b.Event, checkpoint: Checkpoint) -> None:
        """Pass an event on, and keep what the record will need."""
        match event:
            case b.Text(text):
                if not self._pieces:
                    self._turn = dataclasses.replace(self._turn, first_ms=self._elapsed())
                self._pieces.append(text)
                self._said += len(text)
                self._tell(kind="text", text=text)
                if self._keeping is None:
                    self._keeping = asyncio.create_task(self._keep(checkpoint))
            case b.Thought(text):
                self._tell(kind="thought", text=text)
            case b.Tool(tool_id, title, state):
                self._tell(kind="tool", tool_id=tool_id, text=title, state=state)
            case b.Usage(sent, got):
                self._turn = dataclasses.replace(self._turn, input_tokens=sent, output_tokens=got)
                self._tell(kind="usage", input_tokens=sent, output_tokens=got)
            case b.Notice(text):
                self._notice(text)
            case b.Started(native_id, model):
                known = self._turn
                self._turn = dataclasses.replace(
                    known, native_id=native_id or known.native_id, model=model or known.model
                )
                self._tell(kind="started", backend=known.backend, model=self._turn.model or UNSET)
            case b.Done():
                self._done = event

    async def _keep(self, checkpoint: Checkpoint) -> None:
        """Write what has been said a moment from now: pieces that come meanwhile go along."""
        try:
            answer = self._answer
            if answer is not None:
                await asyncio.wait([answer], timeout=_CHECKPOINT_EVERY)
            text = "".join(self._pieces[self._kept :])
            self._kept = len(self._pieces)
            await self._house.threads.files(checkpoint.add, text)
        except OSError as error:
            # The reply itself will be recorded, or that will fail aloud.
            log.warning("⚠ a reply under way could not be kept: %s", error)
        finally:
            self._keeping = None

    async def _ask(self, permission: b.Permission) -> str | None:
        """Put it to whoever streams this turn; None when nobody does."""
        peer = self._question.streaming
        if peer is None:
            return None
        permission_id = secrets.token_hex(8)
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.permissions[permission_id] = (frozenset(one.id for one in permission.options), answer)
        take_back = peer.when_lost(lambda: None if answer.done() else answer.set_result(None))
        options = tuple(m.PermissionOption(one.id, one.name, one.kind) for one in permission.options)
        self._tell(kind="permission", permission_id=permission_id, text=permission.title, options=options)
        try:
            return await answer
        finally:
            take_back()
            del self.permissions[permission_id]

    # --- recording ----------------------------------------------------------------------------------

    async def _conclude(self, seq: int) -> m.Possessed:
        question, reply, failure = self._question, "".join(self._pieces), self._done.failure
        self._turn = dataclasses.replace(self._turn, total_ms=self._elapsed())
        interrupted = self._cancelled and not (self._answer and not self._answer.cancelled())
        records = []
        if failure is None or interrupted or reply:
            records.append(self._reply(reply, whole=failure is None and not interrupted))
        if failure is not None and not interrupted:
            records.append(failed(failure.kind, failure.message, seq))
        last = await self._house.sessions.record(
            question.agent, question.session_id, *records, streaming=question.streaming
        )
        if failure is not None and not interrupted:
            raise BackendFailed(failure.kind, failure.message, question.session_id, seq)
        status: m.TurnStatus = "interrupted" if interrupted else "answered"
        return m.Possessed(question.session_id, seq, status, reply, last, self._turn)

    def _reply(self, text: str, *, whole: bool) -> m.Message:
        return m.Message(
            seq=0,
            role="assistant",
            content=text,
            timestamp=now(),
            status="complete" if whole else "interrupted",
            turn=self._turn,
        )

    def _notice(self, text: str) -> None:
        self._tell(kind="notice", text=text)

    def _tell(self, **fields: object) -> None:
        question = self._question
        event = m.SessionEvent(session_id=question.session_id, agent=question.agent, **fields)  # type: ignore[arg-type]  # by kind
        self._house.events.publish(event, question.streaming)

    def _elapsed(self) -> int:
        return round((time.monotonic() - self._began) * 1000)


def failed(kind: str, message: str, question: int) -> m.Message:
    """The record of a failed turn."""
    return m.Message(seq=0, role="error", content=message, timestamp=now(), kind=kind, question=question)


def persona_mark(system: str | None) -> str | None:
    """What is recorded of a persona: enough to see that it changed."""
    return None if system is None else hashlib.sha256(system.encode()).hexdigest()[:12]


def _not_looked_at(recent: Recent) -> int:
    """How many messages stand before the records that were read."""
    if recent.all:
        return 0
    looked_at = sum(record.role in {"user", "assistant"} for record in recent.records)
    return recent.summary.message_count - looked_at


def _changes(before: m.TurnRecord | None, after: m.TurnRecord) -> list[str]:
    """What a person who resumes should know of what answers now."""
    if before is None:
        return []
    changes = []
    if before.backend != after.backend:
        changes.append(f"the back end changed from {before.backend} to {after.backend}")
    elif before.model and after.model and before.model != after.model:
        changes.append(f"the model changed from {before.model} to {after.model}")
    if before.persona != after.persona:
        changes.append("the persona changed")
    return changes
