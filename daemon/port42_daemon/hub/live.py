"""The text of a turn while it comes, for those who follow its session on other machines.

Pieces go by NOTIFY, several at a time, and are kept nowhere: what a machine misses of them is in the record
that follows. See docs/decisions for what else was measured.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from port42_daemon.events import Events
from port42_daemon.hub.database import Database
from port42_protocol.errors import HubUnavailable
from port42_protocol.messages.events import EndedEvent, MessageEvent, SessionEvent, TextEvent
from port42_protocol.messages.records import AssistantMessage, ErrorMessage, Record

SEND_EVERY = 0.1
"""Seconds in which pieces are collected before they are sent."""
_PAYLOAD = 7000
"""Bytes of one notification's text as JSON; PostgreSQL takes less than 8000 of all of it."""
_MOST_HELD = 256
"""Pieces of a session that wait for the records before them; of more the first ones are dropped."""

_MOST_SESSIONS = 4096
"""Whose last record is remembered."""

Ask = Callable[..., Awaitable[Any]]


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Text of a reply that comes after the record `after`.

    `number` tells apart two that are alike otherwise: PostgreSQL would deliver one of them.
    """

    machine: str
    number: int
    session_id: str
    agent: str
    after: int
    text: str


_decode = msgspec.json.Decoder(Piece).decode


def channel(owner: str) -> str:
    """The name on which pieces are sent."""
    return f"port42_live_{hashlib.md5(owner.encode(), usedforsecurity=False).hexdigest()}"


@dataclass(eq=False)
class LiveText:
    """Sends the text of turns that run here, and publishes that of others. On the event loop.

    `ask` runs a function of a `Database` in the hub's thread and raises `HubUnavailable`. `may_leave` tells
    whether a session's text may leave this machine, `end` the seq of its last record here; both block, as
    `in_thread` allows.
    """

    events: Events
    machine: str
    ask: Ask
    in_thread: Ask
    may_leave: Callable[[str], bool]
    end: Callable[[str], int]

    def __post_init__(self) -> None:
        self._numbers = 0
        self._seqs: dict[str, int] = {}
        """The last record that was published of each session, or was here when text of it came."""
        self._collected: dict[str, Piece] = {}
        self._wake = asyncio.Event()
        self._held: dict[str, deque[Piece]] = {}
        self._publishing = False
        self._received: set[str] = set()
        """Sessions of which text of another machine's turn was published, and not its end."""

    # --- from here --------------------------------------------------------------------------------

    def observe(self, event: SessionEvent) -> None:
        """Told of everything that is published here."""
        if isinstance(event, MessageEvent):
            self._note_record(event.session_id, event.message.seq)
            if event.session_id in self._received and _ends_turn(event.message):
                self._received.discard(event.session_id)
                self.events.publish(EndedEvent(event.session_id, event.agent))
        elif isinstance(event, TextEvent) and not self._publishing:
            self._collect(event)

    def _collect(self, event: TextEvent) -> None:
        after = self._seqs.get(event.session_id)
        if after is None:
            return  # its question was recorded before this was connected: the record will have it all
        before = self._collected.get(event.session_id)
        text = event.text
        if before is not None and before.after == after:
            text = before.text + text
        self._collected[event.session_id] = Piece(self.machine, 0, event.session_id, event.agent, after, text)
        self._wake.set()

    async def send(self) -> None:
        """Send what is collected, until it is cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(SEND_EVERY)
            self._wake.clear()
            collected, self._collected = self._collected, {}
            payloads = [
                payload
                for piece in collected.values()
                if await self.in_thread(self.may_leave, piece.session_id)
                for payload in self._payloads(piece)
            ]
            if payloads:
                with suppress(HubUnavailable):  # the record will have it
                    await self.ask(notify, payloads)

    def _payloads(self, piece: Piece) -> list[str]:
        payloads, rest = [], piece.text
        while rest:
            length = min(len(rest), _PAYLOAD)
            while len(msgspec.json.encode(rest[:length])) > _PAYLOAD:
                length = length * 3 // 4
            self._numbers += 1
            part = msgspec.structs.replace(piece, number=self._numbers, text=rest[:length])
            payloads.append(msgspec.json.encode(part).decode())
            rest = rest[length:]
        return payloads

    # --- from other machines ----------------------------------------------------------------------

    async def receive(self, payload: str) -> None:
        """Publish a piece, once the records before it are here; one whose record is here is dropped."""
        try:
            piece = _decode(payload)
        except msgspec.DecodeError:
            return  # of a version that sends others
        if piece.machine == self.machine:
            return
        session_id = piece.session_id
        if session_id not in self._seqs:
            end = await self.in_thread(self.end, session_id)
            self._seqs.setdefault(session_id, end)
        if piece.after > self._seqs[session_id]:
            self._held.setdefault(session_id, deque(maxlen=_MOST_HELD)).append(piece)
        elif piece.after == self._seqs[session_id]:
            self._publish(piece)

    def _note_record(self, session_id: str, seq: int) -> None:
        self._seqs[session_id] = max(seq, self._seqs.pop(session_id, 0))  # the latest last
        if len(self._seqs) > _MOST_SESSIONS:
            del self._seqs[next(iter(self._seqs))]
        self._collected.pop(session_id, None)
        held = self._held.get(session_id)
        while held and held[0].after <= seq:
            piece = held.popleft()
            if piece.after == seq:
                self._publish(piece)
        if held is not None and not held:
            del self._held[session_id]

    def _publish(self, piece: Piece) -> None:
        self._received.add(piece.session_id)
        self._publishing = True
        try:
            self.events.publish(TextEvent(piece.session_id, piece.agent, text=piece.text))
        finally:
            self._publishing = False


def _ends_turn(record: Record) -> bool:
    return isinstance(record, ErrorMessage) or (isinstance(record, AssistantMessage) and bool(record.status))


def notify(database: Database, payloads: list[str]) -> None:
    """Send these to the owner's machines; blocks."""
    database.connection.execute(
        "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS p (payload)",
        (channel(database.owner), payloads),
    )
