"""`$/cancel`: what is under way ends at once or after what it writes, and is answered; nothing else is."""

from __future__ import annotations

import asyncio
import json

import pytest
from peers.parts import RecordingPeer
from peers.talk import Talk, Tap, configure, outline

from port42_daemon.rpc.cancellation import Cancellation
from port42_daemon.rpc.dispatch import Dispatcher, Pending
from port42_daemon.rpc.metrics import Traffic
from port42_protocol.codec import decode_json
from port42_protocol.errors import RequestCancelled
from port42_protocol.methods import METHODS

CANCELLED = {
    "code": -32800,
    "message": "the request was cancelled",
    "data": {"kind": "request_cancelled", "retryable": False},
}


class Waiting:
    """Handlers of every method; each waits until it is told to go on."""

    def __init__(self) -> None:
        self.go_on, self.two_wait = asyncio.Event(), asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []

    def __getattr__(self, name: str):
        if name not in {row.handler for row in METHODS.values()} - {"cancel_request"}:
            raise AttributeError(name)

        async def wait(_request):
            self.begun.append(name)
            if len(self.begun) == 2:
                self.two_wait.set()
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.ended.append(name)
                raise
            return name

        return wait


def line(method, request_id=None, **params):
    request = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(request if request_id is None else request | {"id": request_id}).encode()


def test_what_reads_ends_where_it_waits_and_what_writes_is_completed():
    async def work():
        handlers, peer, other = Waiting(), RecordingPeer(), RecordingPeer()
        dispatcher = Dispatcher(Traffic(), handlers)
        methods = [("search_sessions", {"query": "x"}), ("rename_session", {"session_id": "s", "title": "t"})]
        answers = []
        for request_id, (method, params) in zip(("a", 2), methods, strict=True):
            pending = dispatcher.answer(line(method, request_id, **params), peer)
            assert isinstance(pending, Pending)
            answers.append(asyncio.create_task(pending.answer))
        await handlers.two_wait.wait()
        for unknown, whose in (("b", peer), ("2", peer), ("a", other)):
            answer = dispatcher.answer(line("$/cancel", 9, id=unknown), whose)
            assert decode_json(answer)["result"] == {"cancelled": False}
        assert dispatcher.answer(line("$/cancel", id="a"), peer) is None
        assert decode_json(await answers[0])["error"] == CANCELLED
        assert decode_json(dispatcher.answer(line("$/cancel", 9, id=2), peer))["result"] == {
            "cancelled": False
        }
        handlers.go_on.set()
        assert decode_json(await answers[1])["result"] == "rename_session"
        assert handlers.ended == ["search_sessions"]
        assert decode_json(dispatcher.answer(line("$/cancel", 9, id="a"), peer))["result"] == {
            "cancelled": False
        }

    asyncio.run(work())


def test_one_of_a_batch_can_be_cancelled():
    async def work():
        handlers, peer = Waiting(), RecordingPeer()
        dispatcher = Dispatcher(Traffic(), handlers)
        batch = [json.loads(line("find_session", n, ref="s")) for n in (1, 2)]
        pending = dispatcher.answer(json.dumps(batch).encode(), peer)
        answering = asyncio.create_task(pending.answer)
        await handlers.two_wait.wait()
        assert decode_json(dispatcher.answer(line("$/cancel", 3, id=2), peer))["result"] == {
            "cancelled": True
        }
        handlers.go_on.set()
        first, second = decode_json(await answering)
        assert (first["result"], second["error"]) == ("find_session", CANCELLED)

    asyncio.run(work())


def test_who_ends_the_daemon_ends_a_request_that_nobody_cancelled():
    async def work():
        cancellation = Cancellation()
        task = asyncio.create_task(cancellation.wait(asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancellation.request()
        with pytest.raises(RequestCancelled):
            await cancellation.wait(asyncio.Event().wait())

    asyncio.run(work())


@pytest.fixture
def tap(home, daemon, tmp_path):
    tap = Tap(tmp_path)
    configure(home, tap=tap.command)
    daemon.call("reload_config")
    return tap


@pytest.mark.parametrize("more", [{}, {"idempotency_key": "k"}, {"detach": True}])
def test_a_turn_that_runs_is_interrupted_and_keeps_what_came(daemon, tap, more):
    with Talk(daemon) as talk:
        turn = talk.send("possess", agent="tap", message="hello", stream=True, **more)
        with tap.open() as say:
            say("half of it")
            session_id = talk.event("text")["session_id"]
            assert talk.call("$/cancel", id=turn) == {"cancelled": True}
            result = talk.result(turn)
        assert (result["status"], result["reply"]) == ("interrupted", "half of it")
        assert outline(daemon, session_id) == [("user", "hello"), ("assistant", "half of it")]
        assert talk.call("$/cancel", id=turn) == {"cancelled": False}


def test_a_turn_that_waits_is_taken_out_of_the_queue_and_records_nothing(daemon, tap):
    with Talk(daemon) as talk:
        first = talk.send("possess", agent="tap", message="one", stream=True)
        with tap.open() as say:
            session_id = talk.event("started")["session_id"]
            waits = talk.send("possess", agent="tap", message="two", session_id=session_id, stream=True)
            talk.event("waiting")
            talk.call("$/cancel", id=waits)
            assert talk.answer(waits)["error"] == CANCELLED
            say("done")
        assert talk.result(first)["reply"] == "done"
        assert outline(daemon, session_id) == [("user", "one"), ("assistant", "done")]


def test_who_repeats_a_key_can_cancel_the_turn(daemon, tap):
    with Talk(daemon) as talk, Talk(daemon) as again:
        turn = talk.send("possess", agent="tap", message="one", stream=True, idempotency_key="k")
        with tap.open():
            talk.event("started")
            repeated = again.send("possess", agent="tap", message="one", idempotency_key="k")
            assert again.call("$/cancel", id=repeated) == {"cancelled": True}
            results = [talk.result(turn), again.result(repeated)]
        assert [result["status"] for result in results] == ["interrupted"] * 2
