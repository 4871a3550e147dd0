"""The text of a turn while it comes, for those who follow its session on other machines.

Pieces go by NOTIFY, several at a time, to machines on which somebody follows something, and are kept nowhere:
the record that comes after them has all of it (decision 0047).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from port42_daemon.events import Events
from port42_daemon.executors import Threads
from port42_daemon.hub.database import Database
from port42_protocol.encoding import encode
from port42_protocol.errors import HubUnavailable
from port42_protocol.messages.events import EndedEvent, MessageEvent, SessionEvent, TextEvent
from port42_protocol.messages.records import AssistantMessage, ErrorMessage, Record

SEND_EVERY = 0.1
"""Seconds in which text is collected before it is sent."""
WATCH_EVERY, WATCH_LASTS = 5.0, 15.0
"""Seconds after which a machine says again that somebody follows something there; for how long it counts."""
_PAYLOAD = 7000
"""Bytes of one notification's text as JSON; PostgreSQL takes less than 8000 of all of it."""
_MOST_HELD = 256
"""Pieces of a session that wait for the records before them; of more the first ones are dropped."""
_MOST_SESSIONS = 4096
"""Whose last record is remembered."""

Ask = Callable[..., Awaitable[Any]]


class Piece(msgspec.Struct, frozen=True, array_like=True, tag="text"):
    """Text of a reply that comes after the record `after`, behind `position` characters of it."""

    machine: str
    session_id: str
    agent: str
    after: int
    position: int
    text: str


class Watch(msgspec.Struct, frozen=True, array_like=True, tag="watch"):
    """Somebody follows something on that machine. `begins`: what was said so far is wanted, too."""

    machine: str
    begins: bool


_decode = msgspec.json.Decoder(Piece | Watch).decode


class _Reply(Struct):
    """What was said of a turn here since the record `after`; others have the first `sent` characters."""

    agent: str
    after: int
    pieces: list[str] = []
    sent: int = 0

    def text(self) -> str:
        self.pieces = ["".join(self.pieces)]
        return self.pieces[0]


def channel(owner: str) -> str:
    """The name on which pieces are sent."""
    return f"port42_live_{hashlib.md5(owner.encode(), usedforsecurity=False).hexdigest()}"


@dataclass(eq=False)
class LiveText:
    """Sends the text of turns that run here, and publishes that of others. On the event loop.

    `ask` runs a function of a `Database` in the hub's thread and raises `HubUnavailable`. `may_leave` tells
    whether a session's text may leave this machine, `end` the seq of its last record here; both block.
    """

    events: Events
    machine: str
    ask: Ask
    threads: Threads
    may_leave: Callable[[str], bool]
    end: Callable[[str], int]

    def __post_init__(self) -> None:
        self._seqs: dict[str, int] = {}
        """The last record that was published of each session, or was here when text of it came."""
        self._replies: dict[str, _Reply] = {}
        self._wake = asyncio.Event()
        self._watched_until = 0.0
        self._held: dict[str, deque[Piece]] = {}
        self._received: dict[str, int] = {}
        """Sessions of which text of another machine's turn was published: how much since the last record."""
        self._publishing = False

    async def run(self) -> None:
        """Send what there is to send, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            tasks.create_task(self._watch())

    def observe(self, event: SessionEvent) -> None:
        """Told of everything that is published here."""
        if isinstance(event, MessageEvent):
            self._note_record(event.session_id, event.agent, event.message)
        elif isinstance(event, TextEvent) and not self._publishing:
            self._collect(event)

    # --- from here --------------------------------------------------------------------------------

    def _collect(self, event: TextEvent) -> None:
        after = self._seqs.get(event.session_id)
        if after is None:
            return  # its question was recorded before this was connected: the record will have it all
        reply = self._replies.setdefault(event.session_id, _Reply(event.agent, after))
        reply.pieces.append(event.text)
        self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(SEND_EVERY)
            self._wake.clear()
            if time.monotonic() > self._watched_until:
                continue
            payloads = []
            for session_id, reply in list(self._replies.items()):
                text = reply.text()
                if reply.sent < len(text) and await self.threads.files(self.may_leave, session_id):
                    payloads += self._payloads(session_id, reply, text)
                    reply.sent = len(text)
            await self._notify(payloads)

    def _payloads(self, session_id: str, reply: _Reply, text: str) -> list[str]:
        payloads, position = [], reply.sent
        while position < len(text):
            part = text[position : position + _PAYLOAD]
            while len(encode(part)) > _PAYLOAD:
                part = part[: len(part) * 3 // 4]
            piece = Piece(self.machine, session_id, reply.agent, reply.after, position, part)
            payloads.append(encode(piece).decode())
            position += len(part)
        return payloads

    async def _watch(self) -> None:
        """Say that somebody follows something here, at once and again as long as it is so."""
        begins = True
        while True:
            if not self.events.subscriptions:
                self.events.subscribed.clear()
                await self.events.subscribed.wait()
                begins = True
            await self._notify([encode(Watch(self.machine, begins)).decode()])
            begins = False
            await asyncio.sleep(WATCH_EVERY)

    async def _notify(self, payloads: list[str]) -> None:
        if payloads:
            with suppress(HubUnavailable):  # the record will have it
                await self.ask(notify, payloads)

    # --- from other machines ----------------------------------------------------------------------

    async def receive(self, payload: str) -> None:
        """Take what another machine sent."""
        try:
            message = _decode(payload)
        except msgspec.DecodeError:
            return  # of a version that sends others
        if message.machine == self.machine:
            return
        if isinstance(message, Watch):
            self._watched_until = time.monotonic() + WATCH_LASTS
            if message.begins:
                for reply in self._replies.values():
                    reply.sent = 0
                self._wake.set()
            return
        if message.session_id not in self._seqs:
            # Under its order, so that what is on the disk is published, too.
            async with self.threads.order(message.session_id):
                end = await self.threads.files(self.end, message.session_id)
            self._seqs.setdefault(message.session_id, end)
        self._take(message)

    def _take(self, piece: Piece) -> None:
        """Publish what is new of a piece, once the records before it are here; nothing after a gap."""
        seq = self._seqs[piece.session_id]
        if piece.after > seq:
            self._held.setdefault(piece.session_id, deque(maxlen=_MOST_HELD)).append(piece)
        known = self._received.get(piece.session_id, 0)
        if piece.after == seq and piece.position <= known < piece.position + len(piece.text):
            self._received[piece.session_id] = piece.position + len(piece.text)
            text = piece.text[known - piece.position :]
            self._publishing = True
            try:
                self.events.publish(TextEvent(piece.session_id, piece.agent, text=text))
            finally:
                self._publishing = False

    # --- between them -----------------------------------------------------------------------------

    def _note_record(self, session_id: str, agent: str, record: Record) -> None:
        """What was said before it is in it, what is held may follow it."""
        if record.seq <= self._seqs.get(session_id, 0):
            return
        self._seqs.pop(session_id, None)
        self._seqs[session_id] = record.seq  # the latest last
        if len(self._seqs) > _MOST_SESSIONS:
            del self._seqs[next(iter(self._seqs))]
        self._replies.pop(session_id, None)
        if self._received.pop(session_id, None) is not None:
            if _ends_turn(record):
                self.events.publish(EndedEvent(session_id, agent))
            else:
                self._received[session_id] = 0
        for piece in self._held.pop(session_id, ()):
            self._take(piece)


def _ends_turn(record: Record) -> bool:
    return isinstance(record, ErrorMessage) or (isinstance(record, AssistantMessage) and bool(record.status))


def notify(database: Database, payloads: list[str]) -> None:
    """Send these to the owner's machines; blocks."""
    database.connection.execute(
        "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS p (payload)",
        (channel(database.owner), payloads),
    )
