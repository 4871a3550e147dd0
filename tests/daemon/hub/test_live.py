"""The text of a turn on one machine, as another one publishes it: in order, between the records."""

from __future__ import annotations

import asyncio
import functools

import msgspec
import psycopg
import pytest
from msgspec import UNSET
from peers.hub_homes import AGENT, HubHome
from peers.parts import RecordingPeer

from port42_daemon.hub import live
from port42_daemon.hub.live import LiveText, channel
from port42_protocol.messages.events import MessageEvent, TextEvent
from port42_protocol.messages.records import AssistantMessage
from port42_protocol.messages.turns import Subscribe


class Viewer(HubHome):
    """A home whose live text goes to and comes from the hub; `seen` is what it published, in order."""

    private: frozenset[str] = frozenset()

    async def begin(self):
        self.seen, self.changed = [], asyncio.Event()

        async def ask(function, *args):
            return await self.threads.hub(function, self.database, *args)

        def may_leave(session_id):
            return session_id not in self.private

        self.live = LiveText(self.events, self.database.machine, ask, self.threads, may_leave, self._last_seq)
        self.events.observer = self._observe
        self._listener = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
        await self._listener.execute(f"LISTEN {channel(self.database.owner)}")
        self._tasks = [asyncio.create_task(self.live.run()), asyncio.create_task(self._receive())]

    async def follow(self):
        """Have somebody follow all sessions, and the other machines know it."""
        await self.events.subscribe(Subscribe(), RecordingPeer())

    async def end(self):
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._listener.close()

    async def until(self, condition):
        while not condition(self.seen):
            self.changed.clear()
            await self.changed.wait()  # set for each piece that came, and each event

    def speak(self, text, session_id="cli-1"):
        """A piece of a reply, as a turn publishes it."""
        self.events.publish(TextEvent(session_id, AGENT, text=text))

    async def record(self, text, session_id="cli-1", status="complete"):
        """The record of a reply, as a turn appends and publishes it."""
        at = "2026-11-26T00:00:00.000Z"
        reply = AssistantMessage(seq=0, content=text, timestamp=at, question=1, status=status)
        await self.sessions.add_later(session_id, [reply])

    def _observe(self, event):
        if isinstance(event, TextEvent):
            self.seen.append(("text", event.text))
        elif isinstance(event, MessageEvent):
            self.seen.append((event.message.role, event.message.content))
        else:
            self.seen.append((event.__struct_config__.tag, ""))
        self.changed.set()
        self.live.observe(event)  # which may publish more

    def _last_seq(self, session_id):
        stored = self.stored(session_id)
        return 0 if stored is None else stored.footer.last_seq

    async def _receive(self):
        async for notice in self._listener.notifies():
            await self.live.receive(notice.payload)
            self.changed.set()


async def watched(work, laptop, server):
    await laptop.begin()
    await server.begin()
    await laptop.follow()
    await server.until(lambda _: server.live._watched_until > 0)
    try:
        await work(server, laptop)
    finally:
        await laptop.end()
        await server.end()


@pytest.fixture
def viewers(meet, monkeypatch):
    """Runs a coroutine function with two homes whose live text meets."""
    monkeypatch.setattr(live, "SEND_EVERY", 0.02)
    return lambda work: meet(functools.partial(watched, work), Viewer)


def text_of(seen):
    return "".join(text for kind, text in seen if kind == "text")


def test_pieces_come_between_the_records_and_the_end_is_told(viewers):
    async def work(server, laptop):
        await server.say("cli-1", "count")
        server.speak("one ")
        await server.step()
        await laptop.step()
        await laptop.until(lambda seen: text_of(seen) == "one ")
        server.speak("two")
        await laptop.until(lambda seen: text_of(seen) == "one two")
        await server.record("one two")
        await server.step()
        await laptop.step()
        pieces = [kind for kind, _ in laptop.seen]
        assert pieces[0] == "user"
        assert pieces[-2:] == ["assistant", "ended"]
        assert set(pieces[1:-2]) == {"text"}
        assert [kind for kind, _ in server.seen].count("text") == 2  # nothing comes back

    viewers(work)


def test_a_piece_waits_for_the_records_before_it_and_a_late_one_is_dropped(viewers):
    async def work(server, laptop):
        await server.say("cli-1", "count")
        await server.step()
        await laptop.step()
        await server.record("first", status=UNSET)
        server.speak("second")
        late = live.Piece("server", "cli-1", AGENT, 1, 0, "late")
        await laptop.until(lambda _: bool(laptop.live._held))
        assert text_of(laptop.seen) == ""
        await server.step()
        await laptop.step()
        assert laptop.seen[-2:] == [("assistant", "first"), ("text", "second")]
        gap = live.Piece("server", "cli-1", AGENT, 2, 99, "after a gap")
        overlapping = live.Piece("server", "cli-1", AGENT, 2, 3, "ond third")
        for piece in (late, gap, overlapping, overlapping):
            await laptop.live.receive(msgspec.json.encode(piece).decode())
        assert text_of(laptop.seen) == "second third"

    viewers(work)


def test_long_text_is_taken_apart_and_comes_whole(viewers):
    async def work(server, laptop):
        await server.say("cli-1", "count")
        await server.step()
        await laptop.step()
        text = "".join(f'{number} "ü🐢"\n\\' for number in range(3000)) + "same " * 5000
        server.speak(text)
        await laptop.until(lambda seen: len(text_of(seen)) >= len(text))
        assert text_of(laptop.seen) == text

    viewers(work)


def test_who_begins_to_follow_in_mid_turn_has_all_that_was_said_of_it(viewers):
    async def work(server, laptop):
        await laptop.live.receive(msgspec.json.encode(live.Watch("server", True)).decode())
        await laptop.say("cli-1", "count")
        await laptop.step()
        await server.step()
        laptop.speak("one ")
        await server.until(lambda seen: text_of(seen) == "one ")
        laptop.live._watched_until = 0.0  # nobody has followed for long
        laptop.speak("two ")
        await server.follow()
        await server.until(lambda seen: text_of(seen) == "one two ")

    viewers(work)


def test_text_of_a_session_that_stays_here_is_not_sent(viewers):
    async def work(server, laptop):
        server.private = frozenset({"cli-private"})
        for session_id in ("cli-private", "cli-1"):
            await server.say(session_id, "count")
            await server.step()
            await laptop.step()
            server.speak(session_id, session_id)
        await laptop.until(lambda seen: "cli-1" in text_of(seen))
        assert text_of(laptop.seen) == "cli-1"

    viewers(work)


@pytest.mark.parametrize("payload", ["", "[]", "{}", '["x"]', "\x00"])
def test_what_is_no_piece_is_ignored(viewers, payload):
    async def work(server, laptop):
        await laptop.live.receive(payload)
        assert laptop.seen == []

    viewers(work)
