"""Subscriptions to sessions, and the notifications that are sent to them.

A subscriber that does not keep up is sent `overflow` and loses its subscription, so that sessions never wait
for a client and the queue of events is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from port42_daemon.executors import Threads
from port42_daemon.store.interface import SessionStore
from port42_protocol import codec
from port42_protocol.errors import InvalidParams, WrongAgent
from port42_protocol.messages.events import (
    EndedEvent,
    MessageEvent,
    NoticeEvent,
    OverflowEvent,
    PermissionEvent,
    SessionEvent,
    StartedEvent,
    TextEvent,
    ThoughtEvent,
    ToolEvent,
    UsageEvent,
    WaitingEvent,
)
from port42_protocol.messages.records import AssistantMessage, ErrorMessage, Summary, ThoughtRecord
from port42_protocol.messages.turns import Subscribe, Subscribed, Unsubscribe

QUEUED_EVENTS, QUEUED_BYTES = 256, 1024 * 1024  # the most that may be unsent to one subscriber
SUBSCRIPTIONS = 1000  # the most of one connection
_PAGE = 200
_PAGE_BYTES = 256 * 1024


class Peer(Protocol):
    """The connection of a request, as handlers see it. Without `notifications` none is sent."""

    notifications: bool

    def emit(self, line: bytes, *, at_any_rate: bool = False) -> bool:
        """Send a line. False, and nothing sent, when the peer is gone or too much waits for it."""

    async def drained(self) -> None:
        """Wait until the peer has read what was sent, or is gone."""

    def when_lost(self, act: Callable[[], None]) -> Callable[[], None]:
        """Have `act` called once the peer is gone (now, if it is). Returns an unsubscribe callable."""


class Stream:
    """A peer that asked for a turn and is sent its events, whether it subscribed or not."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._lagging = False

    def deliver(self, event: SessionEvent, line: bytes) -> None:
        """Send it. A reader that is too slow gets `overflow`, and then only what it must answer.

        The result has all of the reply.
        """
        if isinstance(event, PermissionEvent):
            self.peer.emit(line, at_any_rate=True)
        elif not self._lagging and not self.peer.emit(line):
            self._lagging = True
            overflow = OverflowEvent(event.session_id, event.agent)
            self.peer.emit(notification(overflow), at_any_rate=True)


_Topic = tuple[str | None, str | None]  # the topic of a subscription: an agent and a session id, None for any


class _Subscription:
    """One peer's, to one topic. While older records are replayed it keeps what is new."""

    def __init__(self, peer: Peer, topic: _Topic) -> None:
        self.peer = peer
        self.topic = topic
        self.over = False
        self.replaying = False
        self._kept: list[tuple[SessionEvent, bytes]] = []
        self._kept_bytes = 0
        self._replayed = 0

    def deliver(self, event: SessionEvent, line: bytes) -> bool:
        """Send it, or keep it. False when the peer does not keep up."""
        if _seq(event) <= self._replayed:
            # It was read from the disk before it was published: an append is durable first.
            return True
        if not self.replaying:
            # The turn waits until a client answers a permission request.
            return self.peer.emit(line, at_any_rate=isinstance(event, PermissionEvent))
        self.keep(event, line)
        return len(self._kept) <= QUEUED_EVENTS and self._kept_bytes <= QUEUED_BYTES

    def keep(self, event: SessionEvent, line: bytes) -> None:
        self._kept.append((event, line))
        self._kept_bytes += len(line)

    def end_replay(self, replayed: int) -> None:
        """Send what was kept, but for the records up to `replayed` and the pieces of them."""
        kept, self._kept = self._kept, []
        self.replaying, self._replayed = False, replayed
        rest: list[tuple[SessionEvent, bytes]] = []
        recorded: tuple[type[SessionEvent], ...] = ()  # what later records say
        for event, line in reversed(kept):
            recorded += _contained(event, replayed)
            if _seq(event) > replayed and not isinstance(event, recorded):
                rest.append((event, line))
        for _, line in reversed(rest):
            if not self.over:
                self.peer.emit(line, at_any_rate=True)


class Events:
    """The subscriptions of all peers. Everything here runs on the event loop."""

    def __init__(self, store: SessionStore, threads: Threads) -> None:
        self._store = store
        self._threads = threads
        self._topics: dict[_Topic, dict[Peer, _Subscription]] = {}
        self._subscriptions: dict[Peer, dict[_Topic, _Subscription]] = {}
        self._unrecorded: dict[str, tuple[str, list[str]]] = {}
        """By session: its agent, and the text that was published since its last record."""
        self.observer: Callable[[SessionEvent], None] | None = None
        """Called with each event, once it was delivered. May publish others."""
        self.subscribed = asyncio.Event()
        """Set at each subscription; whoever waits for one clears it."""

    def publish(self, event: SessionEvent, stream: Stream | None = None) -> None:
        """Send it to every peer that it concerns, once each, and to the one that asked for this turn."""
        self._note_text(event)
        self._deliver(event, stream)
        if self.observer is not None:
            self.observer(event)

    def _deliver(self, event: SessionEvent, stream: Stream | None) -> None:
        concerned = self._concerned(event) if self._topics else {}
        if not concerned and stream is None:
            return
        line = notification(event)
        for subscription in concerned.values():
            if not subscription.deliver(event, line):
                self._overflow(subscription)
        if stream is not None and stream.peer not in concerned:
            stream.deliver(event, line)

    def _note_text(self, event: SessionEvent) -> None:
        """Keep the text of a running turn for those who subscribe before it is recorded."""
        match event:
            case TextEvent():
                _, pieces = self._unrecorded.setdefault(event.session_id, (event.agent, []))
                pieces.append(event.text)
            case EndedEvent() | MessageEvent(message=AssistantMessage(question=int())):
                self._unrecorded.pop(event.session_id, None)

    async def subscribe(self, request: Subscribe, peer: Peer) -> Subscribed:
        """From now on, or without gaps from `since_seq`: returns once what is older has been sent.

        Replaces an earlier subscription to the same.
        """
        agent = request.agent or ""
        if request.session_id is not None:
            agent = (await self._owned(request.session_id, request.agent)).agent
        elif request.since_seq is not None:
            raise InvalidParams.missing("session_id", "the session of since_seq")
        topic = (request.agent, request.session_id)
        subscription = self._begin(topic, peer)
        replies = self._replies_about(topic)
        if request.session_id is not None and request.since_seq is not None:
            subscription.replaying = True
            for event in replies:
                subscription.keep(event, notification(event))
            await self._replay(subscription, request.session_id, agent, request.since_seq)
        else:
            for event in replies:
                peer.emit(notification(event), at_any_rate=True)
        return self._count(peer)

    async def unsubscribe(self, request: Unsubscribe, peer: Peer) -> Subscribed:
        topic = (request.agent, request.session_id)
        if subscription := self._subscriptions.get(peer, {}).get(topic):
            self._end(subscription)
        return self._count(peer)

    @property
    def subscriptions(self) -> int:
        return sum(map(len, self._topics.values()))

    # --- inside -------------------------------------------------------------------------------------

    def _concerned(self, event: SessionEvent) -> dict[Peer, _Subscription]:
        """One subscription of each peer: the one that is replaying, if any, so that nothing overtakes it."""
        concerned: dict[Peer, _Subscription] = {}
        for agent in (None, event.agent):
            for session_id in (event.session_id, None):
                for peer, subscription in self._topics.get((agent, session_id), {}).items():
                    if peer not in concerned or subscription.replaying:
                        concerned[peer] = subscription
        return concerned

    def _replies_about(self, topic: _Topic) -> list[SessionEvent]:
        about_agent, about_session = topic
        return [
            TextEvent(session_id, agent, text="".join(pieces))
            for session_id, (agent, pieces) in self._unrecorded.items()
            if about_session in {None, session_id} and about_agent in {None, agent} and pieces
        ]

    async def _owned(self, session_id: str, agent: str | None) -> Summary:
        summary = await self._threads.files(self._store.summary, session_id)
        if agent is not None and summary.agent != agent:
            raise WrongAgent(session_id, agent, summary.agent)
        return summary

    async def _replay(self, to: _Subscription, session_id: str, agent: str, after_seq: int) -> None:
        """Send the records after `after_seq` a page at a time; what happens meanwhile comes after them."""
        try:
            following: int | None = after_seq
            while following is not None and not to.over:
                after_seq, following = await self._replay_page(to, session_id, agent, after_seq)
                await to.peer.drained()
            async with self._threads.order(session_id):
                # Now all that is on the disk is published, too: of a text that was kept, its record is known.
                following = after_seq
                while following is not None and not to.over:
                    after_seq, following = await self._replay_page(to, session_id, agent, after_seq)
                to.end_replay(after_seq)
        except BaseException:
            self._end(to)
            raise

    async def _replay_page(
        self, to: _Subscription, session_id: str, agent: str, after_seq: int
    ) -> tuple[int, int | None]:
        """The seq of the last record that was sent, and the seq to continue after, None at the end."""
        page = await self._threads.files(
            self._store.read,
            session_id,
            after_seq=after_seq,
            limit=_PAGE,
            max_bytes=_PAGE_BYTES,
            events=True,
        )
        for record in page.records if not to.over else ():
            event = MessageEvent(session_id, agent, message=record)
            to.peer.emit(notification(event), at_any_rate=True)
            after_seq = record.seq
        return after_seq, page.onward

    def _begin(self, topic: _Topic, peer: Peer) -> _Subscription:
        known = peer in self._subscriptions
        of_peer = self._subscriptions.setdefault(peer, {})
        if earlier := of_peer.get(topic):
            self._end(earlier)
        elif len(of_peer) >= SUBSCRIPTIONS:
            expected = f"at most {SUBSCRIPTIONS} subscriptions of one connection"
            raise InvalidParams.expecting("session_id", expected)
        subscription = of_peer[topic] = _Subscription(peer, topic)
        self._topics.setdefault(topic, {})[peer] = subscription
        self.subscribed.set()
        if not known:
            peer.when_lost(partial(self._lost, peer))  # at once where the peer is gone already
        return subscription

    def _lost(self, peer: Peer) -> None:
        for subscription in list(self._subscriptions.get(peer, {}).values()):
            self._end(subscription)
        self._subscriptions.pop(peer, None)

    def _end(self, subscription: _Subscription) -> None:
        subscription.over = True
        peer, topic = subscription.peer, subscription.topic
        of_peer = self._subscriptions.get(peer, {})
        if of_peer.get(topic) is subscription:
            del of_peer[topic]
            del self._topics[topic][peer]
            if not self._topics[topic]:
                del self._topics[topic]

    def _overflow(self, subscription: _Subscription) -> None:
        self._end(subscription)
        agent, session_id = subscription.topic
        event = OverflowEvent(session_id or "", agent or "")
        subscription.peer.emit(notification(event), at_any_rate=True)

    def _count(self, peer: Peer) -> Subscribed:
        return Subscribed(len(self._subscriptions.get(peer, ())))


def notification(event: SessionEvent) -> bytes:
    """A `session_event` as it travels: encoded once, for all who are sent it."""
    return b'{"jsonrpc":"2.0","method":"session_event","params":%b}' % codec.encode(event)


def _seq(event: SessionEvent) -> float:
    """The seq of its record; infinity where it has none."""
    return event.message.seq if isinstance(event, MessageEvent) else float("inf")


def _contained(event: SessionEvent, replayed: int) -> tuple[type[SessionEvent], ...]:
    """The kinds of earlier events that the records up to `replayed` make superfluous."""
    match event:
        case MessageEvent(message=record) if record.seq <= replayed:
            match record:
                case ErrorMessage(question=int()) | AssistantMessage(question=int(), status=str()):
                    return _OF_TURN
                case AssistantMessage(question=int()):
                    return (TextEvent,)
                case ThoughtRecord():
                    return (ThoughtEvent,)
    return ()


_OF_TURN = (
    StartedEvent,
    TextEvent,
    ThoughtEvent,
    ToolEvent,
    UsageEvent,
    NoticeEvent,
    PermissionEvent,
    WaitingEvent,
)
