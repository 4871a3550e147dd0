"""The rules of sessions: ownership, last sessions, appends, references.

A handler takes its request dataclass and returns its result, or an awaitable of it where it has to
wait for a disk. What is returned is durable.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import UNSET, Struct, structs

from port42_daemon.events import Events, Stream
from port42_daemon.executors import Threads
from port42_daemon.sessions import labels
from port42_daemon.settings import METADATA_BYTES, PAGE_BYTES
from port42_daemon.store.interface import (
    RESUMED,
    Catalogue,
    Header,
    SessionFilter,
    SessionStore,
    SessionWriter,
)
from port42_protocol import codec
from port42_protocol.errors import (
    AmbiguousSession,
    InvalidParams,
    NoSessions,
    SessionDamaged,
    SessionExists,
    SessionNotFound,
    StorageFailed,
    WrongAgent,
)
from port42_protocol.messages.events import MessageEvent, SessionEvent
from port42_protocol.messages.records import (
    MESSAGES,
    Message,
    Record,
    Summary,
    UserMessage,
    replace,
)
from port42_protocol.messages.search import PinSession, RenameSession, TagSession
from port42_protocol.messages.sessions import (
    Appended,
    AppendMessage,
    CreateSession,
    EndSession,
    FindSession,
    GetLastSession,
    GetSession,
    ListedSession,
    Transcript,
    UpdateLastSession,
)
from port42_protocol.messages.types import Role
from port42_protocol.times import now

R = TypeVar("R", EndSession, RenameSession, TagSession, PinSession)
log = logging.getLogger(__name__)

_CANDIDATES = 10
_END_BYTES = 64 * 1024  # that are read of a session's end at first


class Written(Struct):
    """The result of an append: the session after it, the records, the last seq, and the error of a last
    session that could not be written though the records are."""

    summary: Summary
    added: Sequence[Record]
    seq: int
    problem: StorageFailed | None = None


class Sessions:
    """The methods about single sessions. Other rules reach the parts that it stands on through it."""

    def __init__(self, store: SessionStore, catalogue: Catalogue, threads: Threads, events: Events) -> None:
        self.store = store
        self.catalogue = catalogue
        self.threads = threads
        self.events = events
        self.order = threads.order
        self._latest_id = 0

    # --- the last one -----------------------------------------------------------------------------

    def get_last_session(self, request: GetLastSession) -> Summary | Awaitable[Summary]:
        """Answered from memory where the file has not changed: the most frequent request."""
        if request.cwd is not None:
            return self._last_in(request.agent, request.cwd)
        if not self.store.last_sessions_complete:
            return self._last_when_complete(request)
        session_id = self.store.last_sessions.get(request.agent)
        if session_id is None:
            raise NoSessions(request.agent)
        summary = self.store.remembered(session_id)
        if summary is not None and summary.agent == request.agent:
            return summary
        return self._last_from_disk(request.agent, session_id)

    async def update_last_session(self, request: UpdateLastSession) -> Summary:
        """Resuming is a use: it is recorded in the session, so that the last sessions can be rebuilt."""
        async with self.order(request.session_id):
            written = await self.threads.files(self._resume, request)
            self._publish(written)
        return written.summary

    def _resume(self, request: UpdateLastSession) -> Written:
        last = self.store.last_sessions.get(request.agent)
        try:
            with self.store.writing(request.session_id) as session:
                require_owner(session.summary, request.agent)
                if last != request.session_id:
                    session.append((labels.new_event(RESUMED),), use=True)
        except SessionNotFound:
            raise SessionNotFound(request.session_id, vanished=last == request.session_id) from None
        return self._used(session)

    async def recovered(self) -> None:
        """Wait until damaged sessions, which a start recovers in the background, are known to the index.

        Where one of them could be what is asked for, an answer without them would be the wrong session.
        """
        if not self.catalogue.is_recovered:
            await self.threads.patient(self.catalogue.wait_recovered)

    async def used_last(
        self, limit: int, agent: str | None = None, cwd: str | None = None
    ) -> list[ListedSession]:
        """The sessions used last of all, of an agent or in a folder, newest use first."""
        await self.recovered()
        sessions, *_ = await self.threads.index(
            self.catalogue.page, SessionFilter(agent=agent, cwd=cwd), None, limit
        )
        return sessions

    async def complete_last_sessions(self) -> None:
        """Rebuild `agent_sessions.json` after a start that found none."""
        try:
            await self.threads.patient(self.store.complete_last_sessions)
        except StorageFailed as error:
            log.warning("⚠ %s", error)  # asked for a last session, it is tried again

    async def _last_when_complete(self, request: GetLastSession) -> Summary:
        await self.threads.patient(self.store.complete_last_sessions)
        last = self.get_last_session(request)
        return last if isinstance(last, Summary) else await last

    async def _last_in(self, agent: str | None, cwd: str | None = None) -> Summary:
        sessions = await self.used_last(1, agent, cwd)
        if not sessions:
            raise NoSessions(agent, cwd)
        return await self._last_from_disk(sessions[0].agent, sessions[0].session_id)

    async def _last_from_disk(self, agent: str, session_id: str) -> Summary:
        try:
            summary = await self.threads.files(self.store.summary, session_id)
        except SessionNotFound:
            if not await self.threads.files(self.store.where, session_id):
                raise SessionNotFound(session_id, vanished=True) from None
            # It is in the trash: a crash came between its deletion and the change of the last session.
            await self.threads.files(self.store.set_last, agent, None, instead_of=session_id)
        else:
            if summary.agent == agent:
                return summary
            # agent_sessions.json was edited: the session's own header wins.
            log.warning("⚠ %s was mapped to %s, a session of %s", agent, session_id, summary.agent)
        own = await self.used_last(1, agent)
        if not own:
            raise NoSessions(agent)
        await self.threads.files(self.store.set_last, agent, own[0].session_id)
        return await self.threads.files(self.store.summary, own[0].session_id)

    # --- beginning, adding, ending ----------------------------------------------------------------

    async def create_session(self, request: CreateSession) -> Summary:
        """Begin an empty session; it is the agent's last one from then on."""
        metadata = request.metadata or {}
        if len(codec.encode(metadata)) > METADATA_BYTES:
            raise InvalidParams.expecting("metadata", f"an object of at most {METADATA_BYTES:,} bytes")
        if request.session_id == "last":
            expected = "another id than last, which means an agent's last session"
            raise InvalidParams.expecting("session_id", expected)
        labels.require_title(request.title)
        header = Header(
            id=request.session_id or "",
            agent=request.agent,
            created_at=now(),
            client=request.client,
            title=request.title,
            cwd=request.cwd,
            metadata=metadata,
        )
        return await self.begin(header)

    async def begin(
        self, header: Header, message: UserMessage | None = None, streaming: Stream | None = None
    ) -> Summary:
        """Create the session of `header`, under a new id where that has none, in one durable write."""
        records = () if message is None else (message,)
        while True:
            named = header if header.id else structs.replace(header, id=self.new_id(header.client))
            try:
                written = await self.threads.files(self._create, named, records)
            except SessionExists:
                if header.id:
                    raise
                continue  # an id from before the clock was set back
            self._publish(written, streaming)
            return written.summary

    def new_id(self, client: str) -> str:
        """``<client>-<unix milliseconds>``, never the same twice in this daemon."""
        self._latest_id = max(self._latest_id + 1, time.time_ns() // 1_000_000)
        return f"{client}-{self._latest_id}"

    async def free_id(self, client: str) -> str:
        """A new id that no session has, not even one from before the clock was set back."""
        while await self.threads.files(self.store.where, named := self.new_id(client)):
            pass
        return named

    def _create(self, header: Header, records: Sequence[Record]) -> Written:
        summary = self.store.create(header, records, use=True)
        added = [replace(record, seq=seq) for seq, record in enumerate(records, 1)]
        return Written(summary, added, len(added), self.set_last(summary, len(added)))

    async def append_message(self, request: AppendMessage) -> Appended:
        """Record a message, once for each idempotency key."""
        record = new_message(request.role, request.content, request.idempotency_key)
        async with self.order(request.session_id):
            if request.idempotency_key is not None:
                earlier = await self.recorded(request.agent, request.idempotency_key, request.session_id)
                if earlier is not None:
                    return earlier
            written = await self.threads.files(self._append, request.agent, request.session_id, (record,))
            self._publish(written)
        return Appended(request.session_id, written.seq)

    async def record(
        self,
        agent: str,
        session_id: str,
        *items: Record | SessionEvent,
        use: bool = True,
        streaming: Stream | None = None,
    ) -> int:
        """Add records to `agent`'s own session, in one durable write; gives the last one's seq.

        They and the events between them are published in their order, then, to `streaming` too. `use`: the
        session becomes its agent's last one.
        """
        records = [item for item in items if isinstance(item, Record)]
        async with self.order(session_id):
            written = await self.threads.files(self._append, agent, session_id, records, use=use)
            self._publish(written, streaming, items)
        return written.seq

    def _append(self, agent: str, session_id: str, records: Sequence[Record], *, use: bool = True) -> Written:
        """Add records to the session, which must be `agent`'s."""
        try:
            with self.store.writing(session_id) as session:
                require_owner(session.summary, agent)
                # The time is that of the record's position: who waited for others is later than they are.
                timestamp = now()
                session.append([replace(record, timestamp=timestamp) for record in records], use=use)
        except SessionNotFound:
            gone = self.store.last_sessions.get(agent) == session_id
            raise SessionNotFound(session_id, vanished=gone) from None
        if use:
            return self._used(session)
        return Written(session.summary, session.added, session.last_seq)

    async def add_later(self, session_id: str, records: Sequence[Record]) -> None:
        """Add what happened earlier. Whoever compared it with what is here already holds the `order`."""
        self._publish(await self.threads.files(self.write_later, session_id, records))

    async def write_all(self, session_ids: Iterable[str], steps: Iterator[Sequence[Written]]) -> None:
        """Take the `steps`, in threads, while nothing else writes these sessions; publish what each wrote."""
        async with contextlib.AsyncExitStack() as orders:
            # In one order, so that two who wait for several never wait for each other.
            for session_id in sorted(set(session_ids)):
                await orders.enter_async_context(self.order(session_id))
            while (step := await self.threads.files(next, steps, None)) is not None:
                for written in step if self.events.subscriptions else ():
                    self._publish(written)

    def write_later(self, session_id: str, records: Sequence[Record]) -> Written:
        """Add what happened earlier or elsewhere. Does not update the agent's last session."""
        with self.store.writing(session_id) as session:
            session.append(records, use=False)
        return Written(session.summary, session.added, session.last_seq)

    def write_captured(self, session_id: str, records: Sequence[Record]) -> Written:
        """Add what happened in another program, a use of the session at its time.

        `catch_up_last` then makes it its agent's last one.
        """
        with self.store.writing(session_id) as session:
            session.append(records, use=None)
        return Written(session.summary, session.added, session.last_seq)

    async def recorded(self, agent: str, key: str, session_id: str | None) -> Appended | None:
        """The message that `agent` recorded with `key`, in that session or in any."""
        # Across sessions nothing but a whole index can tell, and a new one takes its time.
        pool = self.threads.patient if session_id is None else self.threads.index
        recorded = await pool(self.catalogue.with_key, agent, key, session_id)
        if recorded is None:
            return None
        await self.threads.files(self.catch_up_last, agent, *recorded)
        return Appended(*recorded)

    def catch_up_last(self, agent: str, session_id: str, seq: int) -> None:
        """Repairs the mapping, which a crash after a message left outdated, when the request is repeated.

        A late repetition changes nothing: the session used since has the later use.
        """
        last = self.store.last_sessions.get(agent)
        with contextlib.suppress(SessionNotFound, SessionDamaged):
            use = self.store.ends(session_id)[1].use
            if last is None or (last != session_id and self.store.ends(last)[1].use < use):
                self.set_last(self.store.summary(session_id), seq)

    async def end_session(self, request: EndSession) -> Summary:
        """Mark as ended; a session that is ended already stays as it is."""
        return await self._change(labels.end, request)

    async def rename_session(self, request: RenameSession) -> Summary:
        labels.require_title(request.title)
        return await self._change(labels.rename, request)

    async def tag_session(self, request: TagSession) -> Summary:
        return await self._change(labels.tag, request)

    async def pin_session(self, request: PinSession) -> Summary:
        return await self._change(labels.pin, request)

    # --- inside -----------------------------------------------------------------------------------

    async def _change(self, rule: Callable[[SessionWriter, R], None], request: R) -> Summary:
        """Apply `rule` to the session, of the agent if one is given. Does not update the last session."""
        async with self.order(request.session_id):
            written = await self.threads.files(self._apply, rule, request)
            self._publish(written)
        return written.summary

    def _apply(self, rule: Callable[[SessionWriter, R], None], request: R) -> Written:
        with self.store.writing(request.session_id) as session:
            require_owner(session.summary, request.agent)
            rule(session, request)
        return Written(session.summary, session.added, session.last_seq)

    def _used(self, session: SessionWriter) -> Written:
        """Make it its agent's last session."""
        problem = self.set_last(session.summary, session.last_seq)
        return Written(session.summary, session.added, session.last_seq, problem)

    def _publish(
        self, written: Written, streaming: Stream | None = None, items: Sequence[Record | SessionEvent] = ()
    ) -> None:
        """Tell subscribers what was recorded, also where the last session then could not be written.

        Of `items` the events are published where they are between the records.
        """
        summary, added = written.summary, iter(written.added)
        for item in items or written.added:
            if isinstance(item, Record):
                event: SessionEvent = MessageEvent(summary.session_id, summary.agent, message=next(added))
            else:
                event = item
            self.events.publish(event, streaming)
        if written.problem is not None:
            raise written.problem

    def set_last(self, summary: Summary, seq: int) -> StorageFailed | None:
        """Make it its agent's last session, unless it is a sub-agent's.

        Returns the error if that failed; the message is recorded.
        """
        if summary.parent:
            return None
        before = self.store.last_sessions.get(summary.agent)
        try:
            self.store.set_last(summary.agent, summary.session_id)
        except StorageFailed as error:
            error.data |= {"session_id": summary.session_id, "seq": seq}
            return error
        if before != summary.session_id:
            log.info("📌 %s → %s", summary.agent, summary.session_id)
        return None

    # --- looking ----------------------------------------------------------------------------------

    async def get_session(self, request: GetSession) -> Transcript:
        """A page of at most `limit` messages and 4 MiB of them."""
        if request.last is not None:
            return await self.threads.files(self._end_of, request, request.last)
        page = await self.threads.files(
            self.store.read,
            request.session_id,
            after_seq=request.after_seq,
            limit=request.limit,
            max_bytes=PAGE_BYTES,
            events=request.events,
        )
        require_owner(page.summary, request.agent)
        header = page.header
        return Transcript(page.summary, header.client, header.metadata, tuple(page.records), page.onward)

    def _end_of(self, request: GetSession, number: int) -> Transcript:
        at_least = _END_BYTES
        while True:
            recent = self.store.recent(request.session_id, at_least)
            require_owner(recent.summary, request.agent)
            records = [record for record in recent.records if request.events or isinstance(record, Message)]
            if recent.all or len(records) >= number or at_least >= PAGE_BYTES:
                header = recent.header
                last = tuple(records[-number:])
                return Transcript(recent.summary, header.client, header.metadata, last, None)
            at_least *= 4

    async def find_session(self, request: FindSession) -> Summary:
        """``last``, ``@agent``, then an id, a prefix of 4 or more, a title. Another agent's: `WrongAgent`."""
        if (whose := _last_of(request)) is not None:
            last = self.get_last_session(GetLastSession(whose))
            last = last if isinstance(last, Summary) else await last
            require_owner(last, request.agent)
            return last
        if request.ref == "last":
            return await self._last_in(None)
        if await self.threads.files(self.store.where, request.ref) == "sessions":
            return await self.owned(request.ref, request.agent)
        await self.recovered()
        matches = await self.threads.index(
            self.catalogue.matching, request.ref, request.agent, _CANDIDATES + 1
        )
        if not matches and request.agent is not None:
            matches = await self.threads.index(self.catalogue.matching, request.ref, None, _CANDIDATES + 1)
        if not matches:
            raise SessionNotFound(request.ref)
        if len(matches) > 1:
            shown = [codec.to_plain(session) for session in matches[:_CANDIDATES]]
            raise AmbiguousSession(request.ref, shown)
        return await self.owned(matches[0].session_id, request.agent)

    async def owned(self, session_id: str, agent: str | None) -> Summary:
        summary = await self.threads.files(self.store.summary, session_id)
        require_owner(summary, agent)
        return summary


def _last_of(request: FindSession) -> str | None:
    """The agent whose last session is meant: that of ``@agent``, or of ``last`` where one is named."""
    if request.ref == "last":
        return request.agent
    return request.ref[1:] if labels.AGENT_REF.fullmatch(request.ref) else None


def new_message(role: Role, content: str, key: str | None) -> Message:
    """A message of now that has no seq yet."""
    return MESSAGES[role](seq=0, content=content, timestamp=now(), key=UNSET if key is None else key)


def require_owner(session: Summary, agent: str | None) -> None:
    """Raises `WrongAgent` unless the session is `agent`'s, where one is named."""
    if agent is not None and session.agent != agent:
        raise WrongAgent(session.session_id, agent, session.agent)
