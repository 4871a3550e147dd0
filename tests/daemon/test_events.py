"""Who hears what: gap-free from any seq, nothing twice, and nobody waits for a reader that is slow."""

from __future__ import annotations

import asyncio

import pytest
from peers.parts import Played, RecordingPeer, answers, played

from port42_daemon import events
from port42_daemon.backends.base import Done, Text
from port42_daemon.events import QUEUED_EVENTS
from port42_protocol.errors import InvalidParams, SessionNotFound, WrongAgent
from port42_protocol.messages.events import MessageEvent
from port42_protocol.messages.records import UserMessage
from port42_protocol.messages.sessions import AppendMessage, CreateSession
from port42_protocol.messages.turns import Subscribe, Subscribed, Unsubscribe


async def session_of(parts, agent="agent", messages=0):
    session = await parts.sessions.create_session(CreateSession(agent))
    for number in range(messages):
        await say(parts, session.session_id, f"{number + 1}", agent)
    return session.session_id


async def say(parts, session_id, text, agent="agent"):
    await parts.sessions.append_message(AppendMessage(agent, session_id, "user", text))


def seqs(peer):
    return [event["message"]["seq"] for event in peer.of("message")]


def run(tmp_path, work, **backends):
    return played(tmp_path / "home", work, **backends)


@pytest.mark.parametrize(
    "topic",
    [{}, {"agent": "agent"}, {"session_id": True}, {"agent": "agent", "session_id": True}],
)
def test_whom_it_concerns_hears_it_once(tmp_path, topic):
    async def work(parts):
        session_id = await session_of(parts)
        other = await session_of(parts, "other")
        about = topic | ({"session_id": session_id} if "session_id" in topic else {})
        peer = RecordingPeer()
        assert await parts.events.subscribe(Subscribe(**about), peer) == Subscribed(1)
        # A second topic of the same peer brings nothing twice.
        assert await parts.events.subscribe(Subscribe(agent="agent", session_id=session_id), peer)
        await say(parts, session_id, "one")
        await say(parts, other, "elsewhere", "other")
        return peer

    peer = run(tmp_path, work)
    heard = [event["message"]["content"] for event in peer.of("message")]
    assert heard == (["one", "elsewhere"] if not topic else ["one"])


def test_who_unsubscribes_or_hangs_up_hears_no_more(tmp_path):
    async def work(parts):
        session_id = await session_of(parts)
        one, other = RecordingPeer(), RecordingPeer()
        for peer in (one, other):
            await parts.events.subscribe(Subscribe(session_id=session_id), peer)
        await say(parts, session_id, "heard")
        assert await parts.events.unsubscribe(Unsubscribe(session_id=session_id), one) == Subscribed(0)
        assert await parts.events.unsubscribe(Unsubscribe(session_id=session_id), one) == Subscribed(0)
        other.hang_up()
        await say(parts, session_id, "unheard")
        assert not parts.events._topics
        return seqs(one), seqs(other)

    assert run(tmp_path, work) == ([1], [1])


def test_a_peer_that_is_gone_already_is_not_kept(tmp_path):
    async def work(parts):
        session_id = await session_of(parts, messages=3)
        peer = RecordingPeer()
        peer.hang_up()
        await parts.events.subscribe(Subscribe(session_id=session_id, since_seq=0), peer)
        assert not parts.events._topics

    run(tmp_path, work)


def test_what_cannot_be_subscribed_to(tmp_path):
    async def work(parts):
        session_id = await session_of(parts)
        with pytest.raises(SessionNotFound):
            await parts.events.subscribe(Subscribe(session_id="none"), RecordingPeer())
        with pytest.raises(WrongAgent):
            await parts.events.subscribe(Subscribe(agent="other", session_id=session_id), RecordingPeer())
        with pytest.raises(InvalidParams) as refused:
            await parts.events.subscribe(Subscribe(agent="agent", since_seq=3), RecordingPeer())
        assert refused.value.data["field"] == "session_id"
        assert not parts.events._topics

    run(tmp_path, work)


@pytest.mark.parametrize("since", [0, 1, 399, 400, 500])
def test_from_any_seq_without_gap_or_duplicate_while_others_write(tmp_path, since):
    async def work(parts):
        session_id = await session_of(parts, messages=400)
        ears = [RecordingPeer() for _ in range(4)]

        async def write():
            for number in range(60):
                await say(parts, session_id, f"new {number}")

        async def listen(peer, before):
            for _ in range(before):
                await asyncio.sleep(0)
            await parts.events.subscribe(Subscribe(session_id=session_id, since_seq=since), peer)

        await asyncio.gather(write(), write(), *(listen(peer, 40 * n) for n, peer in enumerate(ears)))
        return [seqs(peer) for peer in ears]

    for heard in run(tmp_path, work):
        assert heard == list(range(heard[0], 521))
        assert heard[0] == since + 1 or (since == 500 and heard[0] <= 501)


def test_two_subscriptions_to_one_topic_at_once(tmp_path):
    """The later one begins anew; the earlier one ends where it is."""

    async def work(parts):
        session_id = await session_of(parts, messages=450)
        peer = RecordingPeer()
        asked = Subscribe(session_id=session_id, since_seq=440)
        everything = Subscribe(session_id=session_id, since_seq=0)
        await asyncio.gather(parts.events.subscribe(everything, peer), parts.events.subscribe(asked, peer))
        await say(parts, session_id, "new")
        return seqs(peer)

    heard = run(tmp_path, work)
    assert heard.count(451) == 1
    assert heard[-11:] == list(range(441, 452))


def test_a_replay_is_not_overtaken_by_another_subscription(tmp_path):
    async def work(parts):
        session_id = await session_of(parts, messages=300)
        peer = RecordingPeer()
        await parts.events.subscribe(Subscribe(), peer)
        peer.stop_reading()
        asked = Subscribe(session_id=session_id, since_seq=0)
        replay = asyncio.create_task(parts.events.subscribe(asked, peer))
        await peer.heard("message", 200)
        await say(parts, session_id, "new")
        peer.read_on()
        await replay
        return seqs(peer)

    assert run(tmp_path, work) == list(range(1, 302))


def test_a_connection_has_so_many_subscriptions_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "SUBSCRIPTIONS", 3)

    async def work(parts):
        peer, other = RecordingPeer(), RecordingPeer()
        for agent in "abc":
            await parts.events.subscribe(Subscribe(agent=agent), peer)
        with pytest.raises(InvalidParams, match="at most 3 subscriptions"):
            await parts.events.subscribe(Subscribe(agent="d"), peer)
        assert await parts.events.subscribe(Subscribe(agent="c"), peer) == Subscribed(3)
        assert await parts.events.subscribe(Subscribe(agent="d"), other) == Subscribed(1)
        await parts.events.unsubscribe(Unsubscribe(agent="a"), peer)
        assert await parts.events.subscribe(Subscribe(agent="d"), peer) == Subscribed(3)
        assert parts.events.subscriptions == 4
        peer.hang_up()
        assert parts.events.subscriptions == 1

    run(tmp_path, work)


def gated():
    """A back end that says "one ", waits for `go`, says "two" and is done."""
    go = asyncio.Event()

    async def play(turn, ask):
        yield Text("one ")
        await go.wait()
        yield Text("two")
        yield Done()

    return Played(play), go


@pytest.mark.parametrize("since", [None, 0])
@pytest.mark.parametrize("about", ["session", "agent", "all"])
def test_who_comes_late_hears_the_reply_from_its_beginning(tmp_path, since, about):
    backend, go = gated()

    async def work(parts):
        asker, late = RecordingPeer(), RecordingPeer()
        turn = asyncio.create_task(parts.possess("agent", "hello", asker, stream=True))
        await asker.heard("text")
        session_id = asker.events[0]["session_id"]
        topic = {"session": {"session_id": session_id, "since_seq": since}, "agent": {"agent": "agent"}}
        await parts.events.subscribe(Subscribe(**topic.get(about, {})), late)
        go.set()
        await turn
        return late

    late = run(tmp_path, work, agent=backend)
    assert late.text == "one two"
    assert late.kinds[-2:] == ["message", "ended"]
    assert seqs(late) == ([1, 2] if about == "session" and since == 0 else [2])


def test_a_reply_that_was_replayed_is_not_heard_again_in_pieces(tmp_path):
    backend, go = gated()

    async def work(parts):
        session_id = await session_of(parts, messages=250)
        asker, late = RecordingPeer(), RecordingPeer()
        asked = {"session_id": session_id, "stream": True}
        turn = asyncio.create_task(parts.possess("agent", "hello", asker, **asked))
        await asker.heard("text")
        late.stop_reading()
        replay = asyncio.create_task(
            parts.events.subscribe(Subscribe(session_id=session_id, since_seq=0), late)
        )
        await late.heard("message", 200)
        go.set()
        await turn
        late.read_on()
        await replay
        return late

    late = run(tmp_path, work, agent=backend)
    assert seqs(late) == list(range(1, 253))
    assert late.text == ""
    assert late.kinds[-1] == "ended"


def test_a_slow_subscriber_is_told_and_dropped_and_nobody_else_notices(tmp_path):
    async def work(parts):
        session_id = await session_of(parts)
        slow, well = RecordingPeer(), RecordingPeer()
        for peer in (slow, well):
            await parts.events.subscribe(Subscribe(session_id=session_id), peer)
        slow.slow = True
        for number in range(3):
            await say(parts, session_id, f"{number}")
        slow.slow = False
        await say(parts, session_id, "later")
        return slow, well, session_id

    slow, well, session_id = run(tmp_path, work)
    assert [(event["kind"], event["session_id"]) for event in slow.events] == [("overflow", session_id)]
    assert seqs(well) == [1, 2, 3, 4]


def test_a_replay_that_is_not_read_is_bounded_too(tmp_path):
    async def work(parts):
        session_id = await session_of(parts, messages=300)
        slow = RecordingPeer()
        slow.stop_reading()
        replay = asyncio.create_task(
            parts.events.subscribe(Subscribe(session_id=session_id, since_seq=0), slow)
        )
        await slow.heard("message", 200)
        for number in range(QUEUED_EVENTS + 2):
            await say(parts, session_id, f"{number}")
        slow.read_on()
        assert await replay == Subscribed(0)
        return slow

    slow = run(tmp_path, work)
    assert slow.kinds == ["message"] * 200 + ["overflow"]


def test_a_turn_never_waits_for_a_reader(tmp_path):
    async def work(parts):
        peer = RecordingPeer()
        peer.slow = True
        peer.stop_reading()
        result = await parts.possess("agent", "hello", peer, stream=True)
        return result, peer.kinds

    result, kinds = run(tmp_path, work, agent=answers(*"many pieces"))
    assert result.reply == "many pieces"
    assert kinds == ["overflow"]


def test_a_record_that_was_read_before_it_was_told_is_heard_once(tmp_path):
    """A record is on the disk before it is told: a replay in between has it already."""

    async def work(parts):
        session_id = await session_of(parts, messages=3)
        peer = RecordingPeer()
        await parts.events.subscribe(Subscribe(session_id=session_id, since_seq=0), peer)
        late = UserMessage(seq=3, content="again", timestamp="2026-01-01T00:00:00.000Z")
        parts.events.publish(MessageEvent(session_id, "agent", message=late))
        await say(parts, session_id, "new")
        return seqs(peer)

    assert run(tmp_path, work) == [1, 2, 3, 4]
