"""One turn: records the question, runs the back end, publishes its events, records the reply and activities.

A record is written as soon as it is complete. The text that is not complete yet is saved at least every
second, and recorded however the turn ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET, structs

from port42_daemon.agents import ResolvedBackend
from port42_daemon.backends import base as b
from port42_daemon.backends.decoding import SurrogateJoiner, whole
from port42_daemon.backends.errors import one_line
from port42_daemon.events import Stream
from port42_daemon.sessions.service import Sessions
from port42_daemon.store.interface import Header, UnfinishedTurn
from port42_daemon.turns.backend_input import BackendInput
from port42_daemon.turns.outbox import Outbox
from port42_daemon.turns.partial_reply import PartialReply, ReplyKeeper
from port42_daemon.turns.permissions import Permissions
from port42_daemon.turns.transcript import LIMIT, Call, Transcript
from port42_protocol.activity import call_line
from port42_protocol.errors import BackendFailed, RpcError, StorageFailed
from port42_protocol.messages.events import (
    EndedEvent,
    NoticeEvent,
    Possessed,
    SessionEvent,
    StartedEvent,
    TextEvent,
    ThoughtEvent,
    ToolEvent,
    UsageEvent,
)
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    ErrorMessage,
    EventRecord,
    Record,
    ToolRecord,
    TurnRecord,
    UserMessage,
)
from port42_protocol.messages.types import TurnStatus
from port42_protocol.times import now

log = logging.getLogger(__name__)

_YIELD_EVERY = 32
_MOST_WAITING = 256  # records and events that wait for the disk before the back end has to
_MOST_TOKENS = 2**53 - 1  # the most that every reader of JSON takes for a whole number
_USUAL = frozenset(("end_turn", "stop_sequence"))


@dataclass(eq=False)
class RunningTurn:
    """From the message to the reply; `run` may be called once.

    With a `header` the message is the first of a new session; `cwd` and `depth` are the client's.
    `question_seq` is the message's once it is on the disk, `permissions` has the requests that wait for an
    answer.
    """

    sessions: Sessions
    keeper: ReplyKeeper
    session_id: str
    agent: str
    message: UserMessage
    header: Header | None
    resolved: ResolvedBackend
    stream: Stream | None
    client: str
    cwd: str | None = None
    depth: int = 0

    def __post_init__(self) -> None:
        self.question_seq: int | None = None
        self.permissions = Permissions(self.stream, self._tell, self._begin_permission, self._end_permission)
        self._answering: asyncio.Task[None] | None = None
        self._cancelled = False
        self._done: b.Done | None = None
        self._record = TurnRecord(
            backend=self.resolved.name,
            model=self.resolved.model,
            asked_model=self.resolved.model,
            persona=_fingerprint(self.resolved.system),
        )
        self._started_at = 0.0
        self._thought = SurrogateJoiner()
        self._transcript = Transcript(0, self.resolved.limits)
        self._reply: PartialReply | None = None
        self._outbox = Outbox(self.sessions, self.agent, self.session_id, self.stream, self._stop)

    def cancel(self) -> None:
        """Stop the back end; `run` then records the partial reply."""
        self._cancelled = True
        self._stop()

    def _stop(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    async def run(self) -> Possessed:
        """Ask and answer. Raises `BackendFailed`, with everything recorded, and what storing raises."""
        session_id, backend = self.session_id, self.resolved.backend
        seq = self.question_seq = await self._record_question()
        if backend is None:
            return Possessed(session_id, seq, "recorded")
        self._started_at = time.monotonic()
        try:
            reply, reply_seq = await self._ask(backend, seq)
        except StorageFailed as error:
            error.data = {"session_id": session_id, "seq": seq} | error.data
            raise
        if self._failure is not None:
            raise BackendFailed(self._failure.kind, self._failure.message, session_id, seq)
        status: TurnStatus = "interrupted" if self._interrupted else "answered"
        return Possessed(session_id, seq, status, reply, reply_seq, self._record)

    # --- in the order in which it happens -------------------------------------------------------------

    async def _record_question(self) -> int:
        if self.header is not None:
            await self.sessions.begin(self.header, self.message, self.stream)
            return 1
        return await self.sessions.record(self.agent, self.session_id, self.message, streaming=self.stream)

    async def _ask(self, backend: b.Backend, seq: int) -> tuple[str, int]:
        """The reply as far as there is one, and the last seq that was recorded of it."""
        sessions = self.sessions
        unfinished = UnfinishedTurn(self.session_id, self.agent, seq, self._record)
        checkpoint = await sessions.threads.files(sessions.store.checkpoint, unfinished)
        transcript = self._transcript = Transcript(seq, self.resolved.limits)
        reply = self._reply = PartialReply(checkpoint, transcript)
        recorded = False
        try:
            await self._run_backend(backend, seq)
            last_seq = await self._record_outcome(seq)
            recorded = True
        finally:
            for record in self._outbox.take_unwritten():
                if isinstance(record, Activity | EventRecord):  # the text is kept already
                    reply.add(record)
            self._tell(EndedEvent)
            await self.keeper.close(reply, recorded=recorded)
        return transcript.reply, last_seq

    async def _run_backend(self, backend: b.Backend, seq: int) -> None:
        """In a task of its own, so that a cancel ends that and not the recording."""
        if not self._cancelled:
            self._answering = asyncio.create_task(self._listen(backend, seq))
            try:
                await asyncio.wait([self._answering])
            finally:
                self._answering.cancel()  # if the daemon itself has no time left
            if not self._answering.cancelled() and (error := self._answering.exception()) is not None:
                self._failed_with(error)

    async def _listen(self, backend: b.Backend, seq: int) -> None:
        transcript = self._transcript
        given = BackendInput(
            self.sessions,
            self.session_id,
            self.message,
            self.resolved,
            self._record,
            self.cwd,
            self.depth,
        )
        turn = await given.turn(seq)
        self._record = structs.replace(self._record, left_out=given.left_out)
        for notice in given.notices:
            self._notice(notice)
        async with contextlib.aclosing(backend.run(turn, self.permissions.ask)) as events:  # type: ignore[type-var]  # an async generator, as every back end's is
            taken = 0
            async for event in events:
                self._take(event)
                if self._done is not None or transcript.overlong:
                    break
                taken += 1
                if len(self._outbox) > _MOST_WAITING:
                    await self._outbox.drained()
                elif taken % _YIELD_EVERY == 0:
                    # Sent before more is taken: a reader cannot keep up with what does not reach it.
                    await asyncio.sleep(0)
        self._show(*transcript.finish_text())
        if transcript.overlong:
            self._done = b.Done(b.Failure("refused", f"the reply is longer than {LIMIT:,} characters"))
        elif self._done is None:
            log.error("back end %s broke its contract: it ended without Done", self._record.backend)
            failure = b.Failure("crashed", f"the back end {self._record.backend} stopped without an end")
            self._done = b.Done(failure)

    def _take(self, event: b.Event) -> None:  # noqa: C901  # a case for each kind of event
        """Publish an event, and collect what the records need."""
        transcript = self._transcript
        match event:
            case b.Text():
                if not transcript.texts and not transcript.text:
                    self._record = structs.replace(self._record, first_ms=self._elapsed_ms())
                self._show(*transcript.add_text(event.text))
            case b.Thought():
                text = self._thought.feed(event.text)
                self._outbox.record(transcript.add_thought(text))
                self._tell(ThoughtEvent, text=text)
            case b.Tool():
                self._take_tool(event)
            case b.Plan():
                self._outbox.record(transcript.change_plan(event.entries))
            case b.Compacted():
                self._outbox.record(transcript.compact(event.summary))
            case b.Decided():
                self._end_permission(event.permission, event.chosen, "config")
            case b.Usage(sent, received):
                sent, received = min(sent, _MOST_TOKENS), min(received, _MOST_TOKENS)
                self._record = structs.replace(self._record, input_tokens=sent, output_tokens=received)
                self._tell(UsageEvent, input_tokens=sent, output_tokens=received)
            case b.Notice():
                self._notice(event.text)
            case b.Started():
                known = self._record
                model = whole(event.model or "") or known.model
                self._record = structs.replace(
                    known, native_id=event.native_id or known.native_id, model=model
                )
                self._tell(StartedEvent, backend=known.backend, model=self._record.model or UNSET)
            case b.ModeTaken():
                self._record = structs.replace(self._record, mode=event.mode)
            case b.Done():
                self._done = self._checked(event)

    def _show(self, text: str, records: list[Record]) -> None:
        """Publish a piece of the reply, after `records`."""
        self._outbox.record(records)
        if text:
            self._keep(text)
            self._tell(TextEvent, text=text)

    def _take_tool(self, event: b.Tool) -> None:
        event = structs.replace(event, id=whole(event.id), title=whole(event.title))
        call, records = self._transcript.change_tool(event)
        ended = event.state != "running"
        self._outbox.record(records[:-1] if ended else records)
        if not ended:
            self._keep(call)
        self._tell(
            ToolEvent,
            tool_id=event.id,
            text=call_line(call.tool.name, call.tool.title),
            state=event.state,
            tool_kind=call.tool.kind or UNSET,
        )
        self._outbox.record(records[-1:] if ended else [])

    def _keep(self, line: str | Call) -> None:
        if self._reply is not None:
            self._reply.add(line)
            self.keeper.grown(self._reply)

    def _begin_permission(self, tool_id: str) -> ToolRecord | None:
        self._outbox.record(self._transcript.request_permission())
        call = self._transcript.calls.get(tool_id)
        return None if call is None else self._transcript.interrupted(call)

    def _end_permission(self, permission: b.Permission, chosen: str | None, by: str) -> None:
        self._outbox.record(self._transcript.answer_permission(permission, chosen, by))

    def _checked(self, done: b.Done) -> b.Done:
        """An end without a failure and without text counts as a failure."""
        if done.failure is not None:
            return structs.replace(done, failure=b.Failure(done.failure.kind, whole(done.failure.message)))
        if self._transcript.has_text:
            return done
        name = self._record.backend
        reason = done.stop_reason or "end_turn"
        why = "" if reason in _USUAL else f" (it stopped with {one_line(reason)})"
        if self._transcript.used_tools:
            self._notice(f"{name} used its tools and said nothing{why}")
            return done
        return b.Done(b.Failure("crashed", f"{name} ended without an answer{why}"), done.stop_reason)

    def _failed_with(self, error: BaseException) -> None:
        """The back end raised, or its input could not be read."""
        if isinstance(error, RpcError):
            self._done = b.Done(b.Failure("crashed", error.message))
            return
        name = self._record.backend
        log.error("back end %s broke its contract", name, exc_info=error)
        if not self._cancelled and self._done is None:
            self._done = b.Done(b.Failure("crashed", f"the back end {name} broke; the log says more"))

    async def _record_outcome(self, seq: int) -> int:
        """Record what is left, in one write. The seq of the last record."""
        failure, transcript = self._failure, self._transcript
        self._record = structs.replace(self._record, total_ms=self._elapsed_ms())
        records = transcript.end()
        if failure is None or transcript.reply:
            complete = failure is None and not self._interrupted
            text = "".join(transcript.text)
            records.append(reply_record(text, self._record, seq, complete=complete))
        if failure is not None:
            records.append(failure_record(failure.kind, failure.message, seq))
        return await self._outbox.end(records)

    # --- what is used on the way ----------------------------------------------------------------------

    @property
    def _interrupted(self) -> bool:
        return self._cancelled and self._done is None

    @property
    def _failure(self) -> b.Failure | None:
        return None if self._done is None else self._done.failure

    def _notice(self, text: str) -> None:
        self._tell(NoticeEvent, text=whole(text))

    def _tell(self, kind: Callable[..., SessionEvent], **fields: object) -> None:
        self._outbox.publish(kind(self.session_id, self.agent, **fields))

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._started_at) * 1000)


def reply_record(text: str, turn: TurnRecord, question: int, *, complete: bool) -> AssistantMessage:
    return AssistantMessage(
        seq=0,
        content=text,
        timestamp=now(),
        status="complete" if complete else "interrupted",
        question=question,
        turn=turn,
    )


def failure_record(kind: str, message: str, question: int) -> ErrorMessage:
    return ErrorMessage(seq=0, content=message, timestamp=now(), kind=kind, question=question)


def _fingerprint(system: str | None) -> str | None:
    return None if system is None else hashlib.sha256(system.encode()).hexdigest()[:12]
