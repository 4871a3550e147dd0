"""One turn with back ends that keep their contract and such that break it: nothing said is lost."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from peers.parts import Played, RecordingPeer, answers, played, says

from port42_daemon.backends.base import (
    Done,
    Failure,
    Notice,
    Permission,
    Started,
    Text,
    Thought,
    Tool,
    Usage,
)
from port42_daemon.store.session_file.checkpoint import Checkpoint
from port42_daemon.turns.transcript import LIMIT
from port42_protocol.errors import BackendFailed, StorageFailed
from port42_protocol.messages.daemon import ReloadConfig
from port42_protocol.messages.events import PermissionOption
from port42_protocol.messages.sessions import AppendMessage
from port42_protocol.messages.turns import AnswerPermission, CancelTurn, Taken


def outline(records):
    return [(record.role, record.content) for record in records]


def test_what_a_back_end_says_is_told_and_recorded(tmp_path):
    backend = says(
        Started("native-1", "model-2"),
        Thought("hm"),
        Tool("t", "Read a file", "running"),
        Tool("t", "Read a file", "done"),
        Text("he"),
        Text("llo"),
        Usage(7, 9),
        Notice("by the way"),
        Done(),
    )

    async def work(parts):
        peer = RecordingPeer()
        result = await parts.possess("agent", "hello", peer, stream=True)
        return peer, result, await parts.records(result.session_id)

    peer, result, records = played(tmp_path / "home", work, agent=backend)
    assert peer.kinds == [
        *("message", "started", "thought", "message", "tool", "tool", "message"),
        *("text", "text", "usage", "notice", "message", "ended"),
    ]
    assert peer.of("started")[0]["model"] == "model-2"
    assert (result.status, result.reply, result.reply_seq) == ("answered", "hello", 4)
    assert [record.role for record in records] == ["user", "thought", "tool", "assistant"]
    assert (records[1].content, records[2].title, records[2].state) == ("hm", "Read a file", "done")
    assert {record.question for record in records[1:]} == {1}
    assert records[3].content == "hello"
    turn = records[3].turn
    assert (turn.native_id, turn.model, turn.input_tokens, turn.output_tokens) == (
        "native-1",
        "model-2",
        7,
        9,
    )
    assert result.turn == turn


def failed_with(tmp_path, backend):
    """What `possess` raised, the session's records, and what the one who streamed heard."""

    async def work(parts):
        peer = RecordingPeer()
        with pytest.raises(BackendFailed) as caught:
            await parts.possess("agent", "hello", peer, stream=True)
        return caught.value, await parts.records(caught.value.data["session_id"]), peer

    return played(tmp_path / "home", work, agent=backend)


def raises_after(*events):
    async def play(turn, ask):
        for event in events:
            yield event
        raise KeyError("a secret of the back end")

    return Played(play)


def test_a_back_end_that_raises(tmp_path, caplog):
    error, records, peer = failed_with(tmp_path, raises_after(Text("half")))
    assert error.data["kind"] == "crashed"
    assert "secret" not in error.message
    assert outline(records) == [("user", "hello"), ("assistant", "half"), ("error", error.message)]
    assert [record.question for record in records[1:]] == [1, 1]
    assert records[1].status == "interrupted"
    assert peer.kinds[-1] == "ended"
    assert "broke its contract" in caplog.text


def test_a_back_end_that_raises_after_its_end_has_answered(tmp_path, caplog):
    async def play(turn, ask):
        try:
            yield Text("whole")
            yield Done()
        finally:
            raise KeyError("while it tidied up")

    async def work(parts):
        return await parts.possess("agent", "hello")

    result = played(tmp_path / "home", work, agent=Played(play))
    assert (result.status, result.reply) == ("answered", "whole")
    assert "broke its contract" in caplog.text


def test_a_back_end_that_never_says_done(tmp_path, caplog):
    error, records, _ = failed_with(tmp_path, says(Text("half")))
    assert error.data["kind"] == "crashed"
    assert [record.role for record in records] == ["user", "assistant", "error"]
    assert "broke its contract" in caplog.text


def test_what_comes_after_done_is_thrown_away(tmp_path):
    async def work(parts):
        return await parts.possess("agent", "hello")

    backend = says(Text("whole"), Done(), Text(", too late"), Done(Failure("crashed", "second thoughts")))
    assert played(tmp_path / "home", work, agent=backend).reply == "whole"


def test_a_reply_longer_than_may_be_is_cut_and_said_to_have_failed(tmp_path):
    error, records, peer = failed_with(tmp_path, says(Text("x" * (LIMIT - 3)), Text("y" * LIMIT), Done()))
    assert error.data["kind"] == "refused"
    assert f"{LIMIT:,}" in error.message
    assert records[1].content == "x" * (LIMIT - 3) + "yyy" == peer.text


def test_a_reply_as_long_as_may_be_is_whole(tmp_path):
    async def work(parts):
        return await parts.possess("agent", "hello")

    assert played(tmp_path / "home", work, agent=answers("x" * LIMIT)).status == "answered"


@pytest.mark.parametrize("pieces", [(), ("",), (" \n", "\t")])
def test_an_end_without_a_word_is_a_failure(tmp_path, pieces):
    error, records, _ = failed_with(
        tmp_path, says(Thought("hm"), *map(Text, pieces), Done(None, "max_tokens"))
    )
    assert error.data["kind"] == "crashed"
    assert "agent ended without an answer (it stopped with max_tokens)" in error.message
    assert (records[-1].role, records[-1].content) == ("error", error.message)


def test_an_agent_that_used_its_tools_and_said_nothing_is_noticed(tmp_path):
    async def work(parts):
        peer = RecordingPeer()
        result = await parts.possess("agent", "hello", peer, stream=True)
        return result.status, [event["text"] for event in peer.of("notice")]

    backend = says(Tool("t", "Write", "done"), Done(None, "end_turn"))
    assert played(tmp_path / "home", work, agent=backend) == (
        "answered",
        ["agent used its tools and said nothing"],
    )


def test_a_session_whose_folder_was_renamed_goes_on_where_the_client_stands(tmp_path):
    begun, now, gone = tmp_path / "begun", tmp_path / "now", tmp_path / "gone"
    for folder in (begun, now):
        folder.mkdir()
    backend = answers("x")

    async def work(parts):
        peer = RecordingPeer()
        first = await parts.possess("agent", "one", cwd=str(begun))
        await parts.possess("agent", "two", peer, session_id=first.session_id, cwd=str(now), stream=True)
        assert peer.of("notice") == []
        begun.rename(gone)
        await parts.possess("agent", "three", peer, session_id=first.session_id, cwd=str(now), stream=True)
        await parts.possess("agent", "four", session_id=first.session_id)
        return [event["text"] for event in peer.of("notice")]

    (notice,) = played(tmp_path / "home", work, agent=backend)
    assert str(begun) in notice
    assert str(now) in notice
    assert [turn.cwd for turn in backend.turns] == [*[str(begun)] * 2, str(now), str(begun)]


def test_more_tokens_than_a_number_can_say_are_as_many_as_it_can(tmp_path):
    async def work(parts):
        result = await parts.possess("agent", "hello")
        return (await parts.records(result.session_id))[1].turn

    turn = played(tmp_path / "home", work, agent=says(Text("x"), Usage(2**70, 2**63), Done()))
    assert (turn.input_tokens, turn.output_tokens) == (2**53 - 1, 2**53 - 1)


def test_a_file_that_went_wrong_under_the_daemon_is_noticed_and_the_last_one_answers(tmp_path):
    async def work(parts):
        await parts.possess("agent", "hello")
        (parts.home / "config.toml").write_text("[agents.agent\n")
        peer = RecordingPeer()
        result = await parts.possess("agent", "again", peer, stream=True)
        return result.status, [event["text"] for event in peer.of("notice")]

    status, (notice,) = played(tmp_path / "home", work, agent=answers("x"))
    assert status == "answered"
    assert notice.startswith("config.toml: not TOML")
    assert notice.endswith("its last valid version is still used")


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    async def work(parts):
        result = await parts.possess("agent", "hello", RecordingPeer(), stream=True)
        return result.reply, (await parts.records(result.session_id))[1].content

    assert played(tmp_path / "home", work, agent=answers("a\ud83d", "\udc22é")) == ("a🐢é",) * 2
    error, records, _ = failed_with(tmp_path, says(Done(Failure("crashed", "bad \ud83d"))))
    assert records[-1].content == "bad �"
    assert error.message


def test_cancelling_keeps_what_was_said_even_if_the_back_end_raises_on_its_way_out(tmp_path):
    spoke = asyncio.Event()

    async def play(turn, ask):
        yield Text("half")
        spoke.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise KeyError("while it tidied up")

    async def work(parts):
        asked = asyncio.create_task(parts.possess("agent", "hello", session_id=None))
        await spoke.wait()
        (session_id,) = parts.queues._queues
        await parts.turns.cancel_turn(CancelTurn(session_id))
        return await asked

    result = played(tmp_path / "home", work, agent=Played(play))
    assert (result.status, result.reply) == ("interrupted", "half")


# --- permissions ----------------------------------------------------------------------------------

OPTIONS = (PermissionOption("yes", "Allow", "allow_once"), PermissionOption("no", "Reject", "reject_once"))


async def careful(turn, ask):
    chosen = await ask(Permission("Write lexer.py", "edit", OPTIONS))
    yield Text(f"chosen: {chosen}")
    yield Done()


async def asked_for(parts, peer, **more):
    """A turn that waits for a permission, its session, and the permission's id."""
    turn = asyncio.create_task(parts.possess("agent", "hello", peer, stream=True, **more))
    await peer.heard("permission")
    event = peer.of("permission")[0]
    assert [option["id"] for option in event["options"]] == ["yes", "no"]
    return turn, event["session_id"], event["permission_id"]


@pytest.mark.parametrize("chosen", ["yes", "no", None])
def test_a_permission_is_put_to_who_streams(tmp_path, chosen):
    async def work(parts):
        turn, session_id, permission_id = await asked_for(parts, RecordingPeer())
        answer = AnswerPermission(session_id, permission_id, chosen)
        taken = [await parts.turns.answer_permission(answer) for _ in range(2)]
        return taken, (await turn).reply

    taken, reply = played(tmp_path / "home", work, agent=Played(careful))
    assert taken == [Taken(True), Taken(False)]
    assert reply == f"chosen: {chosen}"


def test_an_option_that_was_not_offered_is_refused_and_the_question_stands(tmp_path):
    async def work(parts):
        turn, session_id, permission_id = await asked_for(parts, RecordingPeer())
        with pytest.raises(Exception, match="option_id: expected one of no, yes"):
            await parts.turns.answer_permission(AnswerPermission(session_id, permission_id, "always"))
        assert not (await parts.turns.answer_permission(AnswerPermission(session_id, "x", "yes"))).taken
        await parts.turns.answer_permission(AnswerPermission(session_id, permission_id, "yes"))
        return (await turn).reply

    assert played(tmp_path / "home", work, agent=Played(careful)) == "chosen: yes"


def test_nobody_is_there_to_ask(tmp_path):
    async def work(parts):
        return (await parts.possess("agent", "hello")).reply

    assert played(tmp_path / "home", work, agent=Played(careful)) == "chosen: None"


def test_who_was_asked_goes_away(tmp_path):
    async def work(parts):
        peer = RecordingPeer()
        turn, _, _ = await asked_for(parts, peer, detach=True)
        peer.hang_up()
        return (await turn).reply

    assert played(tmp_path / "home", work, agent=Played(careful)) == "chosen: None"


def test_a_reader_too_slow_for_pieces_is_told_and_still_asked(tmp_path):
    async def play(turn, ask):
        yield Text("one ")
        yield Text("two ")
        yield Text(str(await ask(Permission("Write lexer.py", "edit", OPTIONS))))
        yield Done()

    async def work(parts):
        peer = RecordingPeer()
        peer.slow = True
        turn, session_id, permission_id = await asked_for(parts, peer)
        peer.slow = False
        await parts.turns.answer_permission(AnswerPermission(session_id, permission_id, "yes"))
        return peer, await turn

    peer, result = played(tmp_path / "home", work, agent=Played(play))
    assert peer.kinds == ["overflow", "permission"]
    assert result.reply == "one two \n\nyes"


# --- what is told of what answers -------------------------------------------------------------------


def notices(tmp_path, before, after, backends):
    """What is noticed in a second turn, after config.toml changed."""

    async def work(parts):
        first = await parts.possess("agent", "hello")
        (parts.home / "config.toml").write_text(config(after))
        await parts.agents.reload_config(ReloadConfig())
        peer = RecordingPeer()
        await parts.possess("agent", "again", peer, session_id=first.session_id, stream=True)
        return [event["text"] for event in peer.of("notice")]

    def config(agent):
        return f"[agents.agent]\n{agent}\n" + "".join(
            f'[backends.{name}]\ntype = "command"\ncommand = ["{name}"]\n' for name in backends
        )

    async def started(parts):
        (parts.home / "config.toml").write_text(config(before))
        return await work(parts)

    return played(tmp_path / "home", started, **backends)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('backend = "one"', 'backend = "one"', []),
        ('backend = "one"', 'backend = "two"', ["since the last turn the back end changed from one to two"]),
        (
            'backend = "one"\nmodel = "a"',
            'backend = "one"\nmodel = "b"',
            ["since the last turn the model changed from a to b"],
        ),
        (
            'backend = "one"\nmodel = "a"',
            'backend = "one"',
            ["since the last turn the model changed from a to the back end's own"],
        ),
        (
            'backend = "one"\nsystem = "calm"',
            'backend = "one"\nsystem = "loud"',
            ["since the last turn the persona changed"],
        ),
    ],
)
def test_what_changed_since_the_last_turn_is_told(tmp_path, before, after, told):
    """The model that a back end says it used has a date in its name: that is no change."""
    backends = {
        "one": says(Started(model="a-2025"), Text("x"), Done()),
        "two": answers("y"),
    }
    assert notices(tmp_path, before, after, backends) == told


def test_a_back_end_with_its_own_memory_goes_on_in_it(tmp_path):
    backend = says(Started("native-1"), Text("x"), Done())

    async def work(parts):
        first = await parts.possess("agent", "one")
        await parts.possess("agent", "two", session_id=first.session_id)
        appended = AppendMessage("agent", first.session_id, "user", "said by another tool")
        await parts.sessions.append_message(appended)
        peer = RecordingPeer()
        await parts.possess("agent", "three", peer, session_id=first.session_id, stream=True)
        return peer.of("notice")

    (notice,) = played(tmp_path / "home", work, agent=backend)
    assert [turn.native_id for turn in backend.turns] == [None, "native-1", None]
    assert "lacks messages" in notice["text"]
    assert backend.turns[2].history[-1].content == "said by another tool"


def test_what_does_not_fit_the_budget_is_left_out_with_a_notice(tmp_path):
    backend = answers("y" * 300)

    async def work(parts):
        first = await parts.possess("agent", "x" * 300)
        for _ in range(2):
            await parts.possess("agent", "x" * 300, session_id=first.session_id)
        peer = RecordingPeer()
        last = await parts.possess("agent", "x" * 300, peer, session_id=first.session_id, stream=True)
        return peer.of("notice"), last

    told, last = played(tmp_path / "home", work, more="context_chars = 1000\n", agent=backend)
    assert told[0]["text"] == "4 earlier messages left out, the oldest: agent's budget is full"
    assert [len(turn.history) for turn in backend.turns] == [0, 2, 2, 2]
    assert last.turn.left_out == 4


# --- the disk ---------------------------------------------------------------------------------------


def test_a_reply_that_cannot_be_recorded_is_recorded_before_the_next_turn(tmp_path, monkeypatch):
    full = False
    write = os.pwrite

    def pwrite(descriptor, data, offset):
        if full and b'"role":"assistant"' in bytes(data):
            raise OSError(errno.ENOSPC, "no space left on device")
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)

    async def work(parts):
        nonlocal full
        first = await parts.possess("agent", "one")
        full = True
        with pytest.raises(StorageFailed) as caught:
            await parts.possess("agent", "two", session_id=first.session_id)
        assert (caught.value.data["session_id"], caught.value.data["seq"]) == (first.session_id, 3)
        with pytest.raises(StorageFailed):
            await parts.possess("agent", "three", session_id=first.session_id)
        full = False
        await parts.possess("agent", "four", session_id=first.session_id)
        return await parts.records(first.session_id)

    records = played(tmp_path / "home", work, agent=answers("said"))
    assert outline(records) == [
        *[("user", "one"), ("assistant", "said")],
        *[("user", "two"), ("assistant", "said")],
        *[("user", "four"), ("assistant", "said")],
    ]
    assert [record.status for record in records[1::2]] == ["complete", "interrupted", "complete"]
    assert not list((tmp_path / "home" / "sessions").glob("*.partial"))


def test_a_checkpoint_that_could_not_be_written_has_no_hole(tmp_path, monkeypatch, caplog):
    """The piece that failed is written with the next one."""
    refused = asyncio.Event()
    add = Checkpoint.add

    def once(checkpoint, text):
        monkeypatch.setattr(Checkpoint, "add", add)
        loop.call_soon_threadsafe(refused.set)
        raise OSError(errno.ENOSPC, "no space left on device")

    async def play(turn, ask):
        nonlocal loop
        loop = asyncio.get_running_loop()
        yield Text("one ")
        await refused.wait()
        yield Text("two")
        while not kept():  # noqa: ASYNC110  # nothing announces that a checkpoint was written
            await asyncio.sleep(0.01)
        yield Done()

    def kept():
        (path,) = (tmp_path / "home" / "sessions").glob("*.partial")
        return path.read_bytes().endswith(b'\n"one two"\n')

    async def work(parts):
        return await parts.possess("agent", "hello")

    loop = None
    monkeypatch.setattr(Checkpoint, "add", once)
    assert played(tmp_path / "home", work, agent=Played(play)).reply == "one two"
    assert "could not be kept" in caplog.text
