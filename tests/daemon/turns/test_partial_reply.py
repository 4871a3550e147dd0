"""A reply under way: its text, its limit, and its checkpoint, which keeps all of it however the disk is."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.backends.decoding import whole
from port42_daemon.executors import Threads
from port42_daemon.turns import partial_reply
from port42_daemon.turns.partial_reply import LIMIT, PartialReply, ReplyKeeper


class Checkpoint:
    """Keeps what it is given, unless it is `full`."""

    def __init__(self):
        self.pieces, self.full, self.state = [], False, "open"

    def add(self, text):
        assert self.state == "open"
        if self.full:
            raise OSError(28, "No space left on device")
        self.pieces.append(text)

    def close(self):
        self.state = "kept"

    def end(self):
        self.state = "removed"


@given(st.lists(st.text(), max_size=8))
def test_what_is_shown_is_what_is_kept(pieces):
    checkpoint = Checkpoint()
    reply = PartialReply(checkpoint)
    shown = "".join([*map(reply.add, pieces), reply.finish()])
    assert shown == str(reply) == whole("".join(pieces))
    reply.close(recorded=False)
    assert "".join(checkpoint.pieces) == shown
    assert checkpoint.state == "kept"


def test_a_recorded_reply_leaves_nothing():
    checkpoint = Checkpoint()
    reply = PartialReply(checkpoint)
    reply.add("x")
    reply.close(recorded=True)
    assert (checkpoint.pieces, checkpoint.state) == ([], "removed")


def test_a_reply_has_a_limit_in_characters():
    reply = PartialReply(Checkpoint())
    assert reply.add("é" * LIMIT) == "é" * LIMIT
    assert not reply.overlong
    assert reply.add("x") == reply.finish() == ""
    assert reply.overlong


def test_a_full_disk_is_said_once_and_tried_again(caplog):
    checkpoint = Checkpoint()
    reply = PartialReply(checkpoint)
    checkpoint.full = True
    for piece in "ab":
        reply.add(piece)
        assert not reply.keep()
    assert caplog.text.count("could not be kept") == 1
    checkpoint.full = False
    assert reply.keep()
    assert checkpoint.pieces == ["ab"]


@pytest.mark.parametrize("refused", [False, True])
def test_replies_are_kept_together_and_closed_one_by_one(monkeypatch, refused):
    monkeypatch.setattr(partial_reply, "_KEEP_EVERY", 0.01)

    async def work():
        threads = Threads()
        keeper, checkpoints = ReplyKeeper(threads), [Checkpoint() for _ in range(3)]
        replies = [PartialReply(checkpoint) for checkpoint in checkpoints]
        checkpoints[0].full = refused
        for reply in replies:
            reply.add("x")
            keeper.grown(reply)
        while not all(each.pieces for each in checkpoints[1:]):  # noqa: ASYNC110  # nothing announces that
            await asyncio.sleep(0.01)
        for reply in replies:
            reply.add("y")
            keeper.grown(reply)
        checkpoints[0].full = False
        for reply, recorded in zip(replies, (False, True, False), strict=True):
            await keeper.close(reply, recorded=recorded)
        assert [checkpoint.state for checkpoint in checkpoints] == ["kept", "removed", "kept"]
        assert "".join(checkpoints[0].pieces) == "".join(checkpoints[2].pieces) == "xy"
        threads.close()

    asyncio.run(asyncio.wait_for(work(), 30))
