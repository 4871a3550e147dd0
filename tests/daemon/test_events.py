"""Who hears what: gap-free from any seq, nothing twice, and nobody waits for a reader that is slow."""

from __future__ import annotations

import asyncio

import pytest
from peers.house import Ear, Played, answers, played

from port42_daemon.backends.base import Done, Text
from port42_daemon.events import QUEUED_EVENTS, recorded
from port42_protocol.errors import InvalidParams, SessionNotFound, WrongAgent
from port42_protocol.messages.records import Message
from port42_protocol.messages.sessions import AppendMessage, CreateSession
from port42_protocol.messages.turns import Subscribe, Subscribed, Unsubscribe


async def session_of(house, agent="agent", messages=0):
    session = await house.sessions.create_session(CreateSession(agent))
    for number in range(messages):
        await say(house, session.session_id, f"{number + 1}", agent)
    return session.session_id


async def say(house, session_id, text, agent="agent"):
    await house.sessions.append_message(AppendMessage(agent, session_id, "user", text))


def seqs(ear):
    return [event["message"]["seq"] for event in ear.of("message")]


def run(tmp_path, work, **backends):
    return played(tmp_path / "home", work, **backends)


@pytest.mark.parametrize(
    "topic",
    [{}, {"agent": "agent"}, {"session_id": True}, {"agent": "agent", "session_id": True}],
)
def test_whom_it_concerns_hears_it_once(tmp_path, topic):
    async def work(house):
        session_id = await session_of(house)
        other = await session_of(house, "other")
        about = topic | ({"session_id": session_id} if "session_id" in topic else {})
        ear = Ear()
        assert await house.events.subscribe(Subscribe(**about), ear) == Subscribed(1)
        # A second topic of the same peer brings nothing twice.
        assert await house.events.subscribe(Subscribe(agent="agent", session_id=session_id), ear)
        await say(house, session_id, "one")
        await say(house, other, "elsewhere", "other")
        return ear

    ear = run(tmp_path, work)
    heard = [event["message"]["content"] for event in ear.of("message")]
    assert heard == (["one", "elsewhere"] if not topic else ["one"])


def test_who_unsubscribes_or_hangs_up_hears_no_more(tmp_path):
    async def work(house):
        session_id = await session_of(house)
        one, other = Ear(), Ear()
        for ear in (one, other):
            await house.events.subscribe(Subscribe(session_id=session_id), ear)
        await say(house, session_id, "heard")
        assert await house.events.unsubscribe(Unsubscribe(session_id=session_id), one) == Subscribed(0)
        assert await house.events.unsubscribe(Unsubscribe(session_id=session_id), one) == Subscribed(0)
        other.hang_up()
        await say(house, session_id, "unheard")
        assert not house.events._heard
        return seqs(one), seqs(other)

    assert run(tmp_path, work) == ([1], [1])


def test_a_peer_that_is_gone_already_is_not_kept(tmp_path):
    async def work(house):
        session_id = await session_of(house, messages=3)
        ear = Ear()
        ear.hang_up()
        await house.events.subscribe(Subscribe(session_id=session_id, since_seq=0), ear)
        assert not house.events._heard

    run(tmp_path, work)


def test_what_cannot_be_subscribed_to(tmp_path):
    async def work(house):
        session_id = await session_of(house)
        with pytest.raises(SessionNotFound):
            await house.events.subscribe(Subscribe(session_id="none"), Ear())
        with pytest.raises(WrongAgent):
            await house.events.subscribe(Subscribe(agent="other", session_id=session_id), Ear())
        with pytest.raises(InvalidParams) as refused:
            await house.events.subscribe(Subscribe(agent="agent", since_seq=3), Ear())
        assert refused.value.data["field"] == "session_id"
        assert not house.events._heard

    run(tmp_path, work)


@pytest.mark.parametrize("since", [0, 1, 399, 400, 500])
def test_from_any_seq_without_gap_or_duplicate_while_others_write(tmp_path, since):
    async def work(house):
        session_id = await session_of(house, messages=400)
        ears = [Ear() for _ in range(4)]

        async def write():
            for number in range(60):
                await say(house, session_id, f"new {number}")

        async def listen(ear, before):
            for _ in range(before):
                await asyncio.sleep(0)
            await house.events.subscribe(Subscribe(session_id=session_id, since_seq=since), ear)

        await asyncio.gather(write(), write(), *(listen(ear, 40 * n) for n, ear in enumerate(ears)))
        return [seqs(ear) for ear in ears]

    for heard in run(tmp_path, work):
        assert heard == list(range(heard[0], 521))
        assert heard[0] == since + 1 or (since == 500 and heard[0] <= 501)


def test_two_subscriptions_to_one_topic_at_once(tmp_path):
    """The later one begins anew; the earlier one ends where it is."""

    async def work(house):
        session_id = await session_of(house, messages=450)
        ear = Ear()
        asked = Subscribe(session_id=session_id, since_seq=440)
        everything = Subscribe(session_id=session_id, since_seq=0)
        await asyncio.gather(house.events.subscribe(everything, ear), house.events.subscribe(asked, ear))
        await say(house, session_id, "new")
        return seqs(ear)

    heard = run(tmp_path, work)
    assert heard.count(451) == 1
    assert heard[-11:] == list(range(441, 452))


def test_a_replay_is_not_overtaken_by_another_subscription(tmp_path):
    async def work(house):
        session_id = await session_of(house, messages=300)
        ear = Ear()
        await house.events.subscribe(Subscribe(), ear)
        ear.stop_reading()
        asked = Subscribe(session_id=session_id, since_seq=0)
        replay = asyncio.create_task(house.events.subscribe(asked, ear))
        await ear.heard("message", 200)
        await say(house, session_id, "new")
        ear.read_on()
        await replay
        return seqs(ear)

    assert run(tmp_path, work) == list(range(1, 302))


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

    async def work(house):
        asker, late = Ear(), Ear()
        turn = asyncio.create_task(house.possess("agent", "hello", asker, stream=True))
        await asker.heard("text")
        session_id = asker.events[0]["session_id"]
        topic = {"session": {"session_id": session_id, "since_seq": since}, "agent": {"agent": "agent"}}
        await house.events.subscribe(Subscribe(**topic.get(about, {})), late)
        go.set()
        await turn
        return late

    late = run(tmp_path, work, agent=backend)
    assert late.text == "one two"
    assert late.kinds[-2:] == ["message", "ended"]
    assert seqs(late) == ([1, 2] if about == "session" and since == 0 else [2])


def test_a_reply_that_was_replayed_is_not_heard_again_in_pieces(tmp_path):
    backend, go = gated()

    async def work(house):
        session_id = await session_of(house, messages=250)
        asker, late = Ear(), Ear()
        asked = {"session_id": session_id, "stream": True}
        turn = asyncio.create_task(house.possess("agent", "hello", asker, **asked))
        await asker.heard("text")
        late.stop_reading()
        replay = asyncio.create_task(
            house.events.subscribe(Subscribe(session_id=session_id, since_seq=0), late)
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
    async def work(house):
        session_id = await session_of(house)
        slow, well = Ear(), Ear()
        for ear in (slow, well):
            await house.events.subscribe(Subscribe(session_id=session_id), ear)
        slow.slow = True
        for number in range(3):
            await say(house, session_id, f"{number}")
        slow.slow = False
        await say(house, session_id, "later")
        return slow, well, session_id

    slow, well, session_id = run(tmp_path, work)
    assert [(one["kind"], one["session_id"]) for one in slow.events] == [("overflow", session_id)]
    assert seqs(well) == [1, 2, 3, 4]


def test_a_replay_that_is_not_read_is_bounded_too(tmp_path):
    async def work(house):
        session_id = await session_of(house, messages=300)
        slow = Ear()
        slow.stop_reading()
        replay = asyncio.create_task(
            house.events.subscribe(Subscribe(session_id=session_id, since_seq=0), slow)
        )
        await slow.heard("message", 200)
        for number in range(QUEUED_EVENTS + 2):
            await say(house, session_id, f"{number}")
        slow.read_on()
        assert await replay == Subscribed(0)
        return slow

    slow = run(tmp_path, work)
    assert slow.kinds == ["message"] * 200 + ["overflow"]


def test_a_turn_never_waits_for_a_reader(tmp_path):
    async def work(house):
        ear = Ear()
        ear.slow = True
        ear.stop_reading()
        result = await house.possess("agent", "hello", ear, stream=True)
        return result, ear.kinds

    result, kinds = run(tmp_path, work, agent=answers(*"many pieces"))
    assert result.reply == "many pieces"
    assert kinds == ["overflow"]


def test_a_record_that_was_read_before_it_was_told_is_heard_once(tmp_path):
    """A record is on the disk before it is told: a replay in between has it already."""

    async def work(house):
        session_id = await session_of(house, messages=3)
        ear = Ear()
        await house.events.subscribe(Subscribe(session_id=session_id, since_seq=0), ear)
        late = Message(seq=3, role="user", content="again", timestamp="2026-01-01T00:00:00.000Z")
        house.events.publish(recorded(session_id, "agent", late))
        await say(house, session_id, "new")
        return seqs(ear)

    assert run(tmp_path, work) == [1, 2, 3, 4]
