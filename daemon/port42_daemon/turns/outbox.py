"""A turn's records and events on their way to the disk and to those who listen, in one order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from port42_daemon.events import Stream
from port42_daemon.sessions.service import Sessions
from port42_protocol.errors import StorageFailed
from port42_protocol.messages.events import SessionEvent
from port42_protocol.messages.records import Record


class Outbox:
    """Writes records as they come, those of one pass of the event loop in one append.

    An event is published at once, unless records wait that came before it. `failed` is called when a record
    cannot be written; nothing is written from then on.
    """

    def __init__(
        self,
        sessions: Sessions,
        agent: str,
        session_id: str,
        stream: Stream | None,
        failed: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._agent = agent
        self._session_id = session_id
        self._stream = stream
        self._failed = failed
        self._items: list[Record | SessionEvent] = []
        self._writer: asyncio.Task[int] | None = None
        self._ending = False

    def __len__(self) -> int:
        return len(self._items)

    def publish(self, event: SessionEvent) -> None:
        if self._items:
            self._items.append(event)
        else:
            self._sessions.events.publish(event, self._stream)

    def record(self, records: list[Record]) -> None:
        self._items += records
        if records and self._writer is None:
            self._writer = asyncio.create_task(self._write())
            self._writer.add_done_callback(self._written)

    async def drained(self) -> None:
        """Wait until nothing waits, or a record could not be written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def end(self, records: list[Record]) -> int:
        """Write the turn's last records, which make the session its agent's last. The seq of the last one.

        Raises what storing raises, also what it raised before.
        """
        self._ending = True
        self.record(records)
        return await self._writer if self._writer is not None else 0

    def take_unwritten(self) -> list[Record]:
        """The records that could not be written; the events between them are published."""
        items, self._items = self._items, []
        records = []
        for item in items:
            if isinstance(item, Record):
                records.append(item)
            else:
                self._sessions.events.publish(item, self._stream)
        return records

    async def _write(self) -> int:
        seq = 0
        while self._items:
            await asyncio.sleep(0)  # what comes in one pass of the event loop is one append
            count = len(self._items)
            try:
                seq = await self._write_first(count) or seq
            except StorageFailed as error:
                if "seq" in error.data:  # they are recorded; the agent's last session is not
                    del self._items[:count]
                raise
            del self._items[:count]
        self._writer = None
        return seq

    async def _write_first(self, count: int) -> int:
        """The seq of the last record, 0 where there is none among the items."""
        items = self._items[:count]
        events = [item for item in items if not isinstance(item, Record)]
        if len(events) < count:
            # Only the end of a turn is a use of its session: meanwhile another one may be used.
            return await self._sessions.record(
                self._agent, self._session_id, *items, use=self._ending, streaming=self._stream
            )
        for event in events:
            self._sessions.events.publish(event, self._stream)
        return 0

    def _written(self, writer: asyncio.Task[int]) -> None:
        if writer.cancelled() or writer.exception() is not None:
            self._failed()
