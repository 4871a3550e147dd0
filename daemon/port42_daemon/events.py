"""Who hears what: subscriptions to sessions, and the notifications that reach them.

A subscriber that does not keep up is told `overflow` and dropped from its subscription: what happens in
a session never waits for somebody who listens, and never piles up behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from port42_daemon.executors import Threads
from port42_daemon.store.interface import Store
from port42_protocol import codec
from port42_protocol.errors import InvalidParams, WrongAgent
from port42_protocol.messages.records import Message, Summary
from port42_protocol.messages.turns import SessionEvent, Subscribe, Subscribed, Unsubscribe

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


class Stream:
    """A peer that asked for a turn and hears it being answered, whether it subscribed or not."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._lagging = False

    def hear(self, event: SessionEvent, line: bytes) -> None:
        """Pass it on. A reader too slow is told so once, and then hears what it must answer only.

        It loses nothing: the result has all of the reply.
        """
        if event.kind == "permission":
            self.peer.emit(line, at_any_rate=True)
        elif not self._lagging and not self.peer.emit(line):
            self._lagging = True
            self.peer.emit(notification(_overflow(event.session_id, event.agent)), at_any_rate=True)


class _Subscription:
    """One peer's ear for one topic; while older records are replayed it keeps what is new."""

    def __init__(self, peer: Peer, topic: _Topic) -> None:
        self.peer = peer
        self.topic = topic
        self.over = False
        self.take_back: Callable[[], None] = lambda: None
        self._said: list[SessionEvent] = []
        self._kept: list[tuple[SessionEvent, bytes]] = []
        self._replayed = 0
        self.holding = False

    def hear(self, event: SessionEvent, line: bytes) -> bool:
        """Pass it on, or keep it. False when the peer does not keep up."""
        if _seq(event) <= self._replayed:
            # It was read from the disk before it was told: an append is durable first.
            return True
        if not self.holding:
            # Somebody has to answer a permission, and a turn waits for it.
            return self.peer.emit(line, at_any_rate=event.kind == "permission")
        self._kept.append((event, line))
        return len(self._kept) <= QUEUED_EVENTS and sum(len(one) for _, one in self._kept) <= QUEUED_BYTES

    def hold(self, said: list[SessionEvent]) -> None:
        """Keep what is new until `release`; `said` is what has been said of replies under way."""
        self.holding, self._said = True, said

    def release(self, replayed: int) -> None:
        """Send what was kept, without the records up to `replayed` and without the pieces of a reply
        that is one of them."""
        events = [(event, notification(event)) for event in self._said] + self._kept
        self.holding, self._replayed, self._said, self._kept = False, replayed, [], []
        whole = [place for place, (event, _) in enumerate(events) if _is_outcome(event, replayed)]
        for event, line in events[whole[-1] + 1 if whole else 0 :]:
            if not self.over and _seq(event) > replayed:
                self.peer.emit(line, at_any_rate=True)


class Events:
    """The subscriptions of all peers. Everything here runs on the event loop."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store = store
        self._threads = threads
        self._heard: dict[_Topic, dict[Peer, _Subscription]] = {}
        self._speaking: dict[str, tuple[str, list[str]]] = {}

    def publish(self, event: SessionEvent, streaming: Stream | None = None) -> None:
        """Tell everybody whom it concerns, once each, and the one who is `streaming` this turn."""
        ears = self._ears(event)
        if not ears and streaming is None:
            return
        line = notification(event)
        for subscription in ears.values():
            if not subscription.hear(event, line):
                self._overflow(subscription)
        if streaming is not None and streaming.peer not in ears:
            streaming.hear(event, line)

    def tell(self, stream: Stream, event: SessionEvent) -> None:
        """Tell one who streams only."""
        stream.hear(event, notification(event))

    def speaking(self, session_id: str, agent: str, pieces: list[str] | None) -> None:
        """`pieces` grow as a reply is given; whoever subscribes meanwhile is told them first."""
        if pieces is None:
            self._speaking.pop(session_id, None)
        else:
            self._speaking[session_id] = (agent, pieces)

    async def subscribe(self, request: Subscribe, peer: Peer) -> Subscribed:
        """From now on, or gap-free from `since_seq`. Answers once what is older has been sent.

        Who subscribes to the same once more begins anew.
        """
        agent = request.agent or ""
        if request.session_id is not None:
            agent = (await self._owned(request.session_id, request.agent)).agent
        elif request.since_seq is not None:
            raise InvalidParams(
                "session_id parameter required", field="session_id", expected="the session of since_seq"
            )
        topic = _Topic(request.agent, request.session_id)
        subscription = self._begin(topic, peer)
        said = self._said(topic)
        if request.session_id is not None and request.since_seq is not None:
            subscription.hold(said)
            await self._replay(subscription, request.session_id, agent, request.since_seq)
        else:
            for event in said:
                peer.emit(notification(event), at_any_rate=True)
        return self._count(peer)

    async def unsubscribe(self, request: Unsubscribe, peer: Peer) -> Subscribed:
        """Take one subscription back; one that is not there is no error."""
        if found := self._heard.get(_Topic(request.agent, request.session_id), {}).get(peer):
            self._end(found)
        return self._count(peer)

    @property
    def subscriptions(self) -> int:
        """How many there are, of all peers."""
        return sum(map(len, self._heard.values()))

    # --- inside -------------------------------------------------------------------------------------

    def _ears(self, event: SessionEvent) -> dict[Peer, _Subscription]:
        """One subscription of each peer that this concerns: the one that is replaying, if one is, so
        that nothing overtakes what it still has to send."""
        ears: dict[Peer, _Subscription] = {}
        for topic in (
            _Topic(None, event.session_id),
            _Topic(event.agent, event.session_id),
            _Topic(event.agent, None),
            _Topic(None, None),
        ):
            for peer, subscription in self._heard.get(topic, {}).items():
                if peer not in ears or subscription.holding:
                    ears[peer] = subscription
        return ears

    def _said(self, topic: _Topic) -> list[SessionEvent]:
        """What has been said so far of each reply that is under way and concerns `topic`."""
        return [
            SessionEvent(kind="text", session_id=session_id, agent=agent, text="".join(pieces))
            for session_id, (agent, pieces) in self._speaking.items()
            if topic.session_id in {None, session_id} and topic.agent in {None, agent} and pieces
        ]

    async def _owned(self, session_id: str, agent: str | None) -> Summary:
        summary = await self._threads.files(self._store.summary, session_id)
        if agent is not None and summary.agent != agent:
            raise WrongAgent(session_id, agent, summary.agent)
        return summary

    async def _replay(self, to: _Subscription, session_id: str, agent: str, after_seq: int) -> None:
        """Send the records after `after_seq` a page at a time; what happens meanwhile comes after them."""
        following: int | None = after_seq
        try:
            while following is not None and not to.over:
                page, following = await self._threads.files(
                    self._store.read,
                    session_id,
                    after_seq=following,
                    limit=_PAGE,
                    max_bytes=_PAGE_BYTES,
                    events=True,
                )
                for record in page if not to.over else ():
                    to.peer.emit(notification(recorded(session_id, agent, record)), at_any_rate=True)
                    after_seq = record.seq
                await to.peer.drained()
        except BaseException:
            self._end(to)
            raise
        to.release(after_seq)

    def _begin(self, topic: _Topic, peer: Peer) -> _Subscription:
        if earlier := self._heard.get(topic, {}).get(peer):
            self._end(earlier)
        subscription = _Subscription(peer, topic)
        self._heard.setdefault(topic, {})[peer] = subscription
        subscription.take_back = peer.when_lost(lambda: self._end(subscription))
        return subscription

    def _end(self, subscription: _Subscription) -> None:
        subscription.over = True
        subscription.take_back()
        peers = self._heard.get(subscription.topic, {})
        if peers.get(subscription.peer) is subscription:
            del peers[subscription.peer]
        if not peers:
            self._heard.pop(subscription.topic, None)

    def _overflow(self, subscription: _Subscription) -> None:
        self._end(subscription)
        topic = subscription.topic
        event = _overflow(topic.session_id or "", topic.agent or "")
        subscription.peer.emit(notification(event), at_any_rate=True)

    def _count(self, peer: Peer) -> Subscribed:
        return Subscribed(sum(peer in peers for peers in self._heard.values()))


def notification(event: SessionEvent) -> bytes:
    """A `session_event` as it travels."""
    return codec.encode({"jsonrpc": "2.0", "method": "session_event", "params": event})


def recorded(session_id: str, agent: str, record: Message) -> SessionEvent:
    """That `record` is on the disk."""
    return SessionEvent(kind="message", session_id=session_id, agent=agent, message=record)


def _seq(event: SessionEvent) -> float:
    """The place of the record that it tells of; what is no record is behind all of them."""
    return event.message.seq if isinstance(event.message, Message) else float("inf")


def _is_outcome(event: SessionEvent, replayed: int) -> bool:
    """Whether it is the reply or the failure of a turn, among the records up to `replayed`."""
    message = event.message
    return isinstance(message, Message) and isinstance(message.question, int) and message.seq <= replayed


def _overflow(session_id: str, agent: str) -> SessionEvent:
    return SessionEvent(kind="overflow", session_id=session_id, agent=agent)
