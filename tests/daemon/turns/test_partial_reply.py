"""What a running turn keeps in its checkpoint, however the disk is."""

from __future__ import annotations

import asyncio

import pytest

from port42_daemon.backends.base import Tool
from port42_daemon.config import SessionsConfig
from port42_daemon.executors import Threads
from port42_daemon.turns import partial_reply
from port42_daemon.turns.partial_reply import PartialReply, ReplyKeeper
from port42_daemon.turns.transcript import Transcript


class Checkpoint:
    """Keeps what it is given, unless it is `full`."""

    def __init__(self):
        self.lines, self.full, self.state = [], False, "open"

    def add(self, lines):
        assert self.state == "open"
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines += lines

    def close(self):
        self.state = "kept"

    def end(self):
        self.state = "removed"


def reply_to(checkpoint):
    return PartialReply(checkpoint, Transcript(1, SessionsConfig()))


def test_a_recorded_reply_leaves_nothing():
    checkpoint = Checkpoint()
    reply = reply_to(checkpoint)
    reply.add("x")
    reply.close(recorded=True)
    assert (checkpoint.lines, checkpoint.state) == ([], "removed")


def test_a_full_disk_is_said_once_and_tried_again(caplog):
    checkpoint = Checkpoint()
    reply = reply_to(checkpoint)
    checkpoint.full = True
    for piece in "ab":
        reply.add(piece)
        assert not reply.keep()
    assert caplog.text.count("could not be kept") == 1
    checkpoint.full = False
    assert reply.keep()
    assert reply.keep()
    assert checkpoint.lines == ["ab"]


def test_calls_that_run_are_kept_as_interrupted_in_their_latest_form():
    checkpoint, transcript = Checkpoint(), Transcript(1, SessionsConfig())
    reply = PartialReply(checkpoint, transcript)
    for event in (
        Tool("a", "ls", "running"),
        Tool("b", "cat", "running"),
        Tool("a", "ls -l", "running", input={"path": "/srv"}),
        Tool("b", "cat", "done"),
    ):
        reply.add(transcript.change_tool(event)[0])
    reply.add("text")
    reply.close(recorded=False)
    text, call = checkpoint.lines
    assert text == "text"
    assert (call.id, call.title, call.state, call.question) == ("a", "ls -l", "interrupted", 1)
    assert "/srv" in call.input


@pytest.mark.parametrize("refused", [False, True])
def test_replies_are_kept_together_and_closed_one_by_one(monkeypatch, refused):
    monkeypatch.setattr(partial_reply, "_KEEP_EVERY", 0.01)

    async def work():
        threads = Threads()
        keeper, checkpoints = ReplyKeeper(threads), [Checkpoint() for _ in range(3)]
        replies = [reply_to(checkpoint) for checkpoint in checkpoints]
        checkpoints[0].full = refused
        for reply in replies:
            reply.add("x")
            keeper.grown(reply)
        while not all(checkpoint.lines for checkpoint in checkpoints[1:]):  # noqa: ASYNC110  # nothing announces that
            await asyncio.sleep(0.01)
        for reply in replies:
            reply.add("y")
            keeper.grown(reply)
        checkpoints[0].full = False
        for reply, recorded in zip(replies, (False, True, False), strict=True):
            await keeper.close(reply, recorded=recorded)
        assert [checkpoint.state for checkpoint in checkpoints] == ["kept", "removed", "kept"]
        assert "".join(checkpoints[0].lines) == "".join(checkpoints[2].lines) == "xy"
        threads.close()

    asyncio.run(asyncio.wait_for(work(), 30))
