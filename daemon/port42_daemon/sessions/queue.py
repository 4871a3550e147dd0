"""Each session's queue of turns, one of which runs. Unlike waiters for a lock, queued turns can be counted,
told their position, and cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from port42_protocol.errors import RequestCancelled, SessionBusy, ShuttingDown, StorageFailed
from port42_protocol.messages.daemon import AgentTurns


class QueueEntry:
    """A turn of `agent`, or, without an agent, exclusive access to the session.

    The entry at the head sets `on_cancel`, which is called at each `cancel` from then on.
    """

    def __init__(self, agent: str | None, on_position: Callable[[int], None] | None = None) -> None:
        self.agent = agent
        self.cancelled = False
        self.on_cancel: Callable[[], None] | None = None
        self._on_position = on_position
        self._position = 0
        self.gate: asyncio.Lock | None = None
        """While it is `paused`: held by whoever has exclusive access."""
        self.woken = asyncio.Event()

    def move_to(self, position: int) -> None:
        if position == 0:
            self.woken.set()
        elif position != self._position:
            self._position = position
            if self._on_position is not None:
                self._on_position(position)

    def cancel(self) -> None:
        self.cancelled = True
        self.woken.set()
        if self.on_cancel is not None:
            self.on_cancel()


class SessionQueues:
    """A queue for each session in which something runs. `changed` is called when one grows or shrinks."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._queues: dict[str, deque[QueueEntry]] = {}
        self._first: dict[str, Callable[[], Awaitable[None]]] = {}
        self._stopping = False

    def busy(self, session_id: str) -> bool:
        """Whether a turn of the session runs or waits, or somebody has exclusive access to it.

        Also asked from other threads.
        """
        return session_id in self._queues

    def has_turns(self, session_id: str) -> bool:
        """Whether a turn of the session runs or waits; exclusive access is over at once."""
        return any(entry.agent is not None for entry in self._queues.get(session_id, ()))

    def is_free(self, session_id: str) -> bool:
        """Whether `exclusive` access would be given."""
        return not self.busy(session_id) or self._open_gate(session_id) is not None

    def waiting(self, session_id: str) -> int:
        """The number of turns that wait behind the session's running one."""
        return max(0, len(self._queues.get(session_id, ())) - 1)

    @property
    def under_way(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def by_agent(self) -> tuple[AgentTurns, ...]:
        """The turns that run and those that wait, of each agent that has any."""
        running = Counter(queue[0].agent for queue in self._queues.values() if queue[0].agent)
        total = Counter(entry.agent for queue in self._queues.values() for entry in queue if entry.agent)
        return tuple(
            AgentTurns(agent, running[agent], number - running[agent])
            for agent, number in sorted(total.items())
        )

    @asynccontextmanager
    async def enter(  # noqa: PLR0913  # how one waits
        self,
        session_id: str,
        agent: str,
        on_position: Callable[[int], None] | None = None,
        *,
        entered: Callable[[], None] = lambda: None,
        refuse_if_busy: bool = False,
        cancelled_by: Sequence[Callable[[Callable[[], None]], Callable[[], None]]] = (),
    ) -> AsyncIterator[QueueEntry]:
        """Wait until the entry is at the head. Raises `SessionBusy`, `ShuttingDown`, `StorageFailed`.

        `entered` is called when the entry has its place, `on_position` with how many are before it. Each of
        `cancelled_by` is given what cancels it, and returns an unsubscribe callable. Cancelled while it
        waits, it raises `RequestCancelled`.
        """
        if self._stopping:
            raise ShuttingDown
        if refuse_if_busy and self.has_turns(session_id):
            raise SessionBusy(session_id, self.waiting(session_id))
        queue = self._queues.setdefault(session_id, deque())
        entry = QueueEntry(agent, on_position)
        queue.append(entry)
        entered()
        self._changed()
        unsubscribe = [subscribe(entry.cancel) for subscribe in cancelled_by]
        try:
            entry.move_to(len(queue) - 1)
            await entry.woken.wait()
            if entry.cancelled and queue[0] is not entry:
                raise ShuttingDown if self._stopping else RequestCancelled
            await self._do_first(session_id)
            yield entry
        finally:
            for end in unsubscribe:
                end()
            self._leave(session_id, entry)

    @asynccontextmanager
    async def exclusive(self, session_id: str) -> AsyncIterator[None]:
        """Exclusive access to a session: later turns wait. Raises `SessionBusy`."""
        if (gate := self._open_gate(session_id)) is not None:
            async with gate:
                yield
            return
        self._refuse_if_busy(session_id)
        entry = QueueEntry(None)
        self._queues[session_id] = deque([entry])
        try:
            with contextlib.suppress(StorageFailed):  # it is done before the next turn, or the next of these
                await self._do_first(session_id)
            yield
        finally:
            self._leave(session_id, entry)

    @asynccontextmanager
    async def paused(self, entry: QueueEntry) -> AsyncIterator[None]:
        """While it is entered, others may have exclusive access to the session at whose head `entry` is."""
        entry.gate = gate = asyncio.Lock()
        self._changed()
        try:
            yield
        finally:
            async with gate:  # whoever has access ends first
                entry.gate = None

    def do_first(self, session_id: str, action: Callable[[], Awaitable[None]]) -> None:
        """Run `action`, until it succeeds once, before the next entry of the session begins."""
        self._first[session_id] = action

    def cancel_head(self, session_id: str) -> bool:
        queue = self._queues.get(session_id)
        if queue:
            queue[0].cancel()
        return bool(queue)

    def refuse(self) -> None:
        self._stopping = True

    def cancel_all(self) -> None:
        self.refuse()
        for queue in self._queues.values():
            for entry in list(queue):
                entry.cancel()

    def _open_gate(self, session_id: str) -> asyncio.Lock | None:
        """That of a session's paused head, where nobody has it."""
        gate = self._queues[session_id][0].gate if self.busy(session_id) else None
        return None if gate is None or gate.locked() else gate

    async def _do_first(self, session_id: str) -> None:
        if action := self._first.get(session_id):
            await action()
            self._first.pop(session_id, None)

    def _refuse_if_busy(self, session_id: str) -> None:
        if self.busy(session_id):
            raise SessionBusy(session_id, self.waiting(session_id))

    def _leave(self, session_id: str, entry: QueueEntry) -> None:
        queue = self._queues[session_id]
        queue.remove(entry)
        if not queue:
            del self._queues[session_id]
        self._changed()
        for position, waiting in enumerate(queue):
            waiting.move_to(position)
