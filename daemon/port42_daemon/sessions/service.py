"""The rules of sessions: whose they are, which one was last, what may be added, what a ref means.

A handler takes its request dataclass and returns its result, or an awaitable of it where it has to
wait for a disk. What is returned is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from msgspec import UNSET

from port42_daemon import events
from port42_daemon.events import Events, Stream
from port42_daemon.executors import Threads
from port42_daemon.settings import METADATA_BYTES, PAGE_BYTES
from port42_daemon.store.interface import Store
from port42_daemon.store.session_file.document import ENDED, RESUMED, Header, place
from port42_protocol import codec
from port42_protocol.errors import (
    AmbiguousSession,
    InvalidParams,
    NoSessions,
    SessionDamaged,
    SessionNotFound,
    StorageFailed,
    WrongAgent,
)
from port42_protocol.messages.records import (
    MESSAGES,
    EventRecord,
    Message,
    Record,
    Summary,
    UserMessage,
    replace,
)
from port42_protocol.messages.sessions import (
    Appended,
    AppendMessage,
    CreateSession,
    EndSession,
    FindSession,
    GetLastSession,
    GetSession,
    Transcript,
    UpdateLastSession,
)
from port42_protocol.messages.types import Role

log = logging.getLogger(__name__)

_SHORTEST_PREFIX = 4
_CANDIDATES = 10


def now(ago: timedelta = timedelta()) -> str:
    """The time, or that of a while `ago`, as it is kept: RFC 3339, UTC, milliseconds."""
    return (datetime.now(UTC) - ago).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


class Sessions:
    """Every session method, over a store."""

    def __init__(self, store: Store, threads: Threads, hub: Events) -> None:
        self._store = store
        self._threads = threads
        self._events = hub
        self._orders: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()
        self._latest_id = 0

    def order(self, *about: str) -> asyncio.Lock:
        """A lock that is fair: whoever asks first about the same thing goes first.

        The store's own locks keep threads apart but let any of them go next; messages that one
        client sends in a row must be recorded in that order.
        """
        return self._orders.setdefault(about, asyncio.Lock())

    # --- the last one -----------------------------------------------------------------------------

    def get_last_session(self, request: GetLastSession) -> Summary | Awaitable[Summary]:
        """From memory at once where the file has not changed since; this is what everybody asks."""
        if request.cwd is not None:
            return self._last_in(request.agent, request.cwd)
        session_id = self._store.last(request.agent)
        if session_id is None:
            raise NoSessions(request.agent)
        summary = self._store.remembered(session_id)
        if summary is not None and summary.agent == request.agent:
            return summary
        return self._last_from_disk(request.agent, session_id)

    async def update_last_session(self, request: UpdateLastSession) -> Summary:
        """Resuming is a use: it is recorded in the session, so that the mapping can be rebuilt."""

        def resume(session: Summary) -> Sequence[Record]:
            require_owner(session, request.agent)
            if self._store.last(request.agent) == request.session_id:
                return ()
            return (_event(RESUMED),)

        async with self.order(request.session_id):
            return (await self._use(request.agent, request.session_id, resume))[0]

    async def _last_in(self, agent: str, cwd: str) -> Summary:
        found = await self._threads.index(self._store.page, agent=agent, cwd=cwd, limit=1)
        if not found:
            raise NoSessions(agent, cwd)
        return await self._last_from_disk(agent, found[0].session_id)

    async def _last_from_disk(self, agent: str, session_id: str) -> Summary:
        try:
            summary = await self._threads.files(self._store.summary, session_id)
        except SessionNotFound:
            if not await self._threads.files(self._store.taken, session_id):
                raise SessionNotFound(session_id, vanished=True) from None
            # It is in the trash: a crash came between its deletion and the mapping.
            await self._threads.files(self._store.change_last, agent, session_id, None)
        else:
            if summary.agent == agent:
                return summary
            # Only a hand can have written that into agent_sessions.json: the session's own header wins.
            log.warning("⚠ %s was mapped to %s, a session of %s", agent, session_id, summary.agent)
        own = await self._threads.index(self._store.page, agent=agent, limit=1)
        if not own:
            raise NoSessions(agent)
        await self._threads.files(self._store.set_last, agent, own[0].session_id)
        return await self._threads.files(self._store.summary, own[0].session_id)

    # --- beginning, adding, ending ----------------------------------------------------------------

    async def create_session(self, request: CreateSession) -> Summary:
        """Begin an empty session; it is the agent's last one from then on."""
        metadata = request.metadata or {}
        if len(codec.encode(metadata)) > METADATA_BYTES:
            raise InvalidParams.expecting("metadata", f"an object of at most {METADATA_BYTES:,} bytes")
        if request.session_id == "last":
            expected = "another id than last, which means an agent's last session"
            raise InvalidParams.expecting("session_id", expected)
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
        """Create the session of `header`, with its first message if any, in one durable write.

        A header without an id gets ``<client>-<unix milliseconds>``, the next free one.
        """
        records = () if message is None else (message,)
        if not header.id:
            header = dataclasses.replace(header, id=await self.free_id(header.client))
        summary, problem = await self._threads.files(self._create, header, records)
        self._publish(summary, records, len(records), streaming)
        if problem is not None:
            raise problem
        return summary

    def new_id(self, client: str) -> str:
        """``<client>-<unix milliseconds>``, never the same twice in this daemon."""
        self._latest_id = max(self._latest_id + 1, time.time_ns() // 1_000_000)
        return f"{client}-{self._latest_id}"

    async def free_id(self, client: str) -> str:
        """A new id that no session has, not even one from before the clock was set back."""
        while await self._threads.files(self._store.taken, named := self.new_id(client)):
            pass
        return named

    def _create(self, header: Header, records: Sequence[Record]) -> tuple[Summary, StorageFailed | None]:
        summary = self._store.create(header, records)
        return summary, self.set_last(summary, len(records))

    async def append_message(self, request: AppendMessage) -> Appended:
        """Record a message, once for each idempotency key."""

        record = unplaced(request.role, request.content, request.idempotency_key)
        async with self.order(request.session_id):
            if request.idempotency_key is not None:
                earlier = await self.recorded(request.agent, request.idempotency_key, request.session_id)
                if earlier is not None:
                    return earlier
            return Appended(request.session_id, await self._add(request.agent, request.session_id, record))

    async def record(
        self, agent: str, session_id: str, *records: Record, streaming: Stream | None = None
    ) -> int:
        """Add records to `agent`'s own session, in one durable write; gives the last one's seq.

        `streaming` hears of them whether it subscribed or not.
        """
        async with self.order(session_id):
            return await self._add(agent, session_id, *records, streaming=streaming)

    async def make_up(self, session_id: str, record: Record) -> None:
        """Add what is missing from an earlier time: not a use, the agent's last session stays."""
        async with self.order(session_id):
            await self._append(session_id, lambda _: (record,), use=False)

    async def grow(self, session_id: str, records: Sequence[Record]) -> Summary:
        """Add what happened elsewhere: not a use. Whoever compared what is here holds its `order`."""
        return (await self._append(session_id, lambda _: records, use=False))[0]

    async def _add(
        self, agent: str, session_id: str, *records: Record, streaming: Stream | None = None
    ) -> int:
        def add(session: Summary) -> Sequence[Record]:
            require_owner(session, agent)
            # The time is that of its place: who waited for others is later than they are.
            return [replace(record, timestamp=now()) for record in records]

        return (await self._use(agent, session_id, add, streaming))[1]

    async def recorded(self, agent: str, key: str, session_id: str | None) -> Appended | None:
        """What `agent` recorded under `key` already, in that session or in any."""
        # Across sessions nothing but a whole index can tell, and a new one takes its time.
        pool = self._threads.patient if session_id is None else self._threads.index
        found = await pool(self._store.with_key, agent, key, session_id)
        if found is None:
            return None
        await self._threads.files(self.mend_last, agent, *found)
        return Appended(*found)

    def mend_last(self, agent: str, session_id: str, seq: int) -> None:
        """A crash between a message and the mapping leaves the mapping behind: whoever asks again mends it.

        A late repetition changes nothing: the session used since has the later activity.
        """
        last = self._store.last(agent)
        with contextlib.suppress(SessionNotFound, SessionDamaged):
            used = self._store.summary(session_id)
            if last is None or (
                last != session_id and self._store.summary(last).last_activity <= used.last_activity
            ):
                self.set_last(used, seq)

    async def end_session(self, request: EndSession) -> Summary:
        """Mark as ended; a session that is ended already stays as it is."""
        return await self.mark(
            request.session_id,
            request.agent,
            lambda session: () if session.state == "ended" else (_event(ENDED),),
        )

    async def mark(
        self, session_id: str, agent: str | None, decide: Callable[[Summary], Sequence[Record]]
    ) -> Summary:
        """Record what `decide` makes of the session, `agent`'s where one is named. It is no use of it."""

        def owned(session: Summary) -> Sequence[Record]:
            if agent is not None:
                require_owner(session, agent)
            return decide(session)

        async with self.order(session_id):
            return (await self._append(session_id, owned, use=False))[0]

    async def _use(
        self,
        agent: str,
        session_id: str,
        decide: Callable[[Summary], Sequence[Record]],
        streaming: Stream | None = None,
    ) -> tuple[Summary, int]:
        """Append, and make the session its agent's last one."""
        try:
            return await self._append(session_id, decide, use=True, streaming=streaming)
        except SessionNotFound:
            gone = self._store.last(agent) == session_id
            raise SessionNotFound(session_id, vanished=gone) from None

    async def _append(
        self,
        session_id: str,
        decide: Callable[[Summary], Sequence[Record]],
        *,
        use: bool,
        streaming: Stream | None = None,
    ) -> tuple[Summary, int]:
        """One trip to a thread, then say what was recorded: also when the mapping then failed."""
        added: list[Record] = []

        def append() -> tuple[Summary, int, StorageFailed | None]:
            def note(session: Summary) -> Sequence[Record]:
                added.extend(decide(session))
                return added

            summary, seq = self._store.append(session_id, note)
            return summary, seq, self.set_last(summary, seq) if use else None

        summary, seq, problem = await self._threads.files(append)
        self._publish(summary, added, seq, streaming)
        if problem is not None:
            raise problem
        return summary, seq

    def _publish(
        self, summary: Summary, added: Sequence[Record], last_seq: int, streaming: Stream | None
    ) -> None:
        for seq, record in enumerate(added, last_seq - len(added) + 1):
            event = events.recorded(summary.session_id, summary.agent, place(record, seq))
            self._events.publish(event, streaming)

    def set_last(self, summary: Summary, seq: int) -> StorageFailed | None:
        """Make it its agent's last one. Gives what went wrong, naming the message recorded all the same."""
        before = self._store.last(summary.agent)
        try:
            self._store.set_last(summary.agent, summary.session_id)
        except StorageFailed as error:
            error.data |= {"session_id": summary.session_id, "seq": seq}
            return error
        if before != summary.session_id:
            log.info("📌 %s → %s", summary.agent, summary.session_id)
        return None

    # --- looking ----------------------------------------------------------------------------------

    async def get_session(self, request: GetSession) -> Transcript:
        """A page of at most `limit` messages and 4 MiB of them."""

        def read() -> Transcript:
            summary = self._store.summary(request.session_id)
            if request.agent is not None:
                require_owner(summary, request.agent)
            header = self._store.header(request.session_id)
            messages, onward = self._store.read(
                request.session_id,
                after_seq=request.after_seq,
                limit=request.limit,
                max_bytes=PAGE_BYTES,
                events=request.events,
            )
            return Transcript(summary, header.client, header.metadata, tuple(messages), onward)

        return await self._threads.files(read)

    async def find_session(self, request: FindSession) -> Summary:
        """``last``, then an id, then a prefix of 4 or more, then a title. Another agent's: `WrongAgent`."""
        if request.ref == "last":
            if request.agent is None:
                raise InvalidParams.missing("agent", "whose last session")
            last = self.get_last_session(GetLastSession(request.agent))
            return last if isinstance(last, Summary) else await last
        if await self._threads.files(self._store.exists, request.ref):
            return await self.owned(request.ref, request.agent)
        found = await self._candidates(request.ref, request.agent)
        if not found and request.agent is not None:
            found = await self._candidates(request.ref, None)
        if not found:
            raise SessionNotFound(request.ref)
        if len(found) > 1:
            shown = [codec.to_plain(one) for one in found[:_CANDIDATES]]
            raise AmbiguousSession(request.ref, shown)
        return await self.owned(found[0].session_id, request.agent)

    async def owned(self, session_id: str, agent: str | None) -> Summary:
        """The session, which must be `agent`'s where one is named."""
        summary = await self._threads.files(self._store.summary, session_id)
        if agent is not None:
            require_owner(summary, agent)
        return summary

    async def _candidates(self, ref: str, agent: str | None) -> list[Summary]:
        found: list[Summary] = []
        if len(ref) >= _SHORTEST_PREFIX:
            found = await self._threads.index(self._store.with_prefix, ref, agent, _CANDIDATES + 1)
        return found or await self._threads.index(self._store.with_title, ref, agent, _CANDIDATES + 1)


def unplaced(role: Role, content: str, key: str | None) -> Message:
    """A message of now that has no seq yet."""
    return MESSAGES[role](seq=0, content=content, timestamp=now(), key=UNSET if key is None else key)


def require_owner(session: Summary, agent: str) -> None:
    """Raises `WrongAgent` unless the session is `agent`'s."""
    if session.agent != agent:
        raise WrongAgent(session.session_id, agent, session.agent)


def _event(name: str) -> EventRecord:
    return EventRecord(seq=0, event=name, timestamp=now())
