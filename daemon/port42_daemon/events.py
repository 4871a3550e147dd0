"""Who hears what: subscriptions to sessions, and the notifications that reach them.

A subscriber that does not keep up is told `overflow` and dropped from its subscription: what happens in
a session never waits for somebody who listens, and never piles up behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from port42_daemon.store.contract import Store
from port42_daemon.threads import Threads
from port42_protocol import codec
from port42_protocol import messages as m
from port42_protocol.errors import InvalidParams, WrongAgent

QUEUED_EVENTS, QUEUED_BYTES = 256, 1024 * 1024
"""What may wait for one subscriber (design, section 4)."""
_PAGE = 200
_PAGE_BYTES = 256 * 1024


class Peer(Protocol):
    """The connection at which a request came in, as far as handlers may know it."""

    def emit(self, line: bytes, *, at_any_rate: bool = False) -> bool:
        """Send a line. False, and nothing sent, when the peer is gone or too much waits for it."""

    async def drained(self) -> None:
        """Wait until the peer has read what was sent, or is gone."""

    def when_lost(self, act: Callable[[], None]) -> Callable[[], None]:
        """Have `act` called once the peer is gone (now, if it is); gives what takes that back."""


@dataclass(frozen=True, slots=True)
class _Topic:
    """What a subscription is about; None stands for any."""

    agent: str | None
    session_id: str | None


class _Subscription:
    """One peer's ear for one topic; while older records are replayed it keeps what is new."""

    def __init__(self, peer: Peer, topic: _Topic, forget: Callable[[], None]) -> None:
        self.peer = peer
        self.topic = topic
        self._kept: list[tuple[m.SessionEvent, bytes]] | None = None
        self.take_back = peer.when_lost(forget)

    def hear(self, event: m.SessionEvent, line: bytes) -> bool:
        """Pass it on, or keep it. False when the peer does not keep up."""
        if self._kept is None:
            return self.peer.emit(line)
        self._kept.append((event, line))
        return len(self._kept) <= QUEUED_EVENTS and sum(len(one) for _, one in self._kept) <= QUEUED_BYTES

    def hold(self) -> None:
        """Keep what is new until `release`."""
        self._kept = []

    def release(self, after_seq: int) -> None:
        """Send what was kept, without the records up to `after_seq`, which were replayed."""
        kept, self._kept = self._kept or [], None
        for event, line in kept:
            if not isinstance(event.message, m.Message) or event.message.seq > after_seq:
                self.peer.emit(line)


class Events:
    """The subscriptions of all peers. Everything here runs on the event loop."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads
        self._heard: dict[_Topic, dict[Peer, _Subscription]] = {}
        self._speaking: dict[str, list[str]] = {}

    def publish(self, event: m.SessionEvent, streaming: Peer | None = None) -> None:
        """Tell everybody whom it concerns, once each, and the one who is `streaming` this turn."""
        ears: dict[Peer, _Subscription] = {}
        for topic in (
            _Topic(None, event.session_id),
            _Topic(event.agent, event.session_id),
            _Topic(event.agent, None),
            _Topic(None, None),
        ):
            for peer, subscription in self._heard.get(topic, {}).items():
                ears.setdefault(peer, subscription)
        if not ears and streaming is None:
            return
        line = notification(event)
        for subscription in ears.values():
            if not subscription.hear(event, line):
                self._overflow(subscription)
        if streaming is not None and streaming not in ears:
            # Too slow a reader misses pieces, not the reply: the result has all of it.
            streaming.emit(line)

    def tell(self, peer: Peer, event: m.SessionEvent) -> None:
        """Tell one peer only."""
        peer.emit(notification(event))

    def speaking(self, session_id: str, pieces: list[str] | None) -> None:
        """`pieces` grow as a reply is given; whoever subscribes meanwhile is told them first."""
        if pieces is None:
            self._speaking.pop(session_id, None)
        else:
            self._speaking[session_id] = pieces

    async def subscribe(self, asked: m.Subscribe, peer: Peer) -> m.Subscribed:
        """From now on, or gap-free from `since_seq`. Answers once what is older has been sent."""
        agent = asked.agent or ""
        if asked.session_id is not None:
            agent = (await self._owned(asked.session_id, asked.agent)).agent
        elif asked.since_seq is not None:
            raise InvalidParams(
                "session_id parameter required", field="session_id", expected="the session of since_seq"
            )
        subscription = self._subscription(_Topic(asked.agent, asked.session_id), peer)
        if asked.session_id is not None:
            if asked.since_seq is not None:
                await self._replay(subscription, asked.session_id, agent, asked.since_seq)
            if said := "".join(self._speaking.get(asked.session_id, ())):
                peer.emit(notification(_text(asked.session_id, agent, said)))
        return self._count(peer)

    async def unsubscribe(self, asked: m.Unsubscribe, peer: Peer) -> m.Subscribed:
        """Take one subscription back; one that is not there is no error."""
        if found := self._heard.get(_Topic(asked.agent, asked.session_id), {}).get(peer):
            found.take_back()
            self._drop(found)
        return self._count(peer)

    async def _owned(self, session_id: str, agent: str | None) -> m.Summary:
        summary = await self._threads.files(self._store.summary, session_id)
        if agent is not None and summary.agent != agent:
            raise WrongAgent(session_id, agent, summary.agent)
        return summary

    def _subscription(self, topic: _Topic, peer: Peer) -> _Subscription:
        peers = self._heard.setdefault(topic, {})
        if peer not in peers:
            peers[peer] = _Subscription(peer, topic, lambda: self._drop(peers[peer]))
        return peers[peer]

    async def _replay(self, to: _Subscription, session_id: str, agent: str, after_seq: int) -> None:
        """Send the records after `after_seq` a page at a time; what happens meanwhile comes after them."""
        to.hold()
        following: int | None = after_seq
        try:
            while following is not None:
                page, following = await self._threads.files(
                    self._store.read,
                    session_id,
                    after_seq=following,
                    limit=_PAGE,
                    max_bytes=_PAGE_BYTES,
                    events=True,
                )
                for record in page:
                    to.peer.emit(notification(recorded(session_id, agent, record)), at_any_rate=True)
                    after_seq = record.seq
                await to.peer.drained()
        finally:
            to.release(after_seq)

    def _overflow(self, subscription: _Subscription) -> None:
        subscription.take_back()
        self._drop(subscription)
        topic = subscription.topic
        event = m.SessionEvent(kind="overflow", session_id=topic.session_id or "", agent=topic.agent or "")
        subscription.peer.emit(notification(event), at_any_rate=True)

    def _drop(self, subscription: _Subscription) -> None:
        peers = self._heard.get(subscription.topic, {})
        peers.pop(subscription.peer, None)
        if not peers:
            self._heard.pop(subscription.topic, None)

    def _count(self, peer: Peer) -> m.Subscribed:
        return m.Subscribed(sum(peer in peers for peers in self._heard.values()))


def notification(event: m.SessionEvent) -> bytes:
    """A `session_event` as it travels."""
    return codec.encode({"jsonrpc": "2.0", "method": "session_event", "params": event})


def recorded(session_id: str, agent: str, record: m.Message) -> m.SessionEvent:
    """That `record` is on the disk."""
    return m.SessionEvent(kind="message", session_id=session_id, agent=agent, message=record)


def _text(session_id: str, agent: str, text: str) -> m.SessionEvent:
    return m.SessionEvent(kind="text", session_id=session_id, agent=agent, text=text)
