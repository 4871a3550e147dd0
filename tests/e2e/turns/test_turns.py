"""Turns against real programs: their order, their interruption, their failures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest
from peers.talk import Talk, configure, outline, possess, texts, transcript

# --- a turn ---------------------------------------------------------------------------------------


def test_a_turn_is_streamed_recorded_and_answered(daemon):
    with Talk(daemon) as talk:
        result = talk.call("possess", agent="shout", message="hello", stream=True)
        kinds = [event["kind"] for event in talk.events]
    assert (result["status"], result["reply"]) == ("answered", "HELLO")
    assert kinds[0] == "message"
    assert kinds[-2:] == ["message", "ended"]
    assert {event["session_id"] for event in talk.events} == {result["session_id"]}
    assert texts(talk.events) == "HELLO"
    question, reply = transcript(daemon, result["session_id"])
    assert (question["seq"], question["role"], question["content"]) == (1, "user", "hello")
    assert (reply["seq"], reply["role"], reply["content"]) == (2, "assistant", "HELLO")
    assert (reply["status"], reply["question"]) == ("complete", 1)
    assert reply["turn"] == result["turn"]
    assert reply["turn"]["backend"] == "shout"
    assert reply["turn"]["total_ms"] >= reply["turn"]["first_ms"] >= 0


def test_the_question_is_on_the_disk_before_the_agent_answers(daemon, tap):
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="tap", message="hello", session_id=None, stream=True)
        with tap.open() as say:
            session_id = talk.event("message")["session_id"]
            assert outline(daemon, session_id) == [("user", "hello")]
            say("hi")
        assert talk.result(asked)["reply"] == "hi"


def test_who_does_not_stream_hears_nothing_but_the_result(daemon):
    with Talk(daemon) as talk:
        assert talk.call("possess", agent="shout", message="hello")["reply"] == "HELLO"
        assert talk.events == []


def test_the_reply_is_kept_as_it_came(daemon):
    said = "  grüße 🐢\n\n\tÜ \u2028 end"
    assert possess(daemon, "shout", said)["reply"] == "  GRüßE 🐢\n\n\tÜ \u2028 END"


# --- in order -------------------------------------------------------------------------------------


def strictly_alternates(daemon, session_id):
    said = outline(daemon, session_id)
    assert [role for role, _ in said] == ["user", "assistant"] * (len(said) // 2)
    return said


def clients_on_one_session(daemon, clients, turns):
    """Each says its own things, one after another; gives what each was answered."""
    session_id = daemon.call("create_session", agent="shout")["session_id"]
    answered = {}

    def converse(name):
        with Talk(daemon) as talk:
            answered[name] = [
                talk.call("possess", agent="shout", message=f"{name} {n}", session_id=session_id)["reply"]
                for n in range(turns)
            ]

    threads = [threading.Thread(target=converse, args=(f"client {n}",)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return session_id, answered


@pytest.mark.parametrize(("clients", "turns"), [(2, 6), (4, 4), (16, 2)])
def test_clients_on_one_session_take_turns(daemon, clients, turns):
    session_id, answered = clients_on_one_session(daemon, clients, turns)
    said = strictly_alternates(daemon, session_id)
    assert len(said) == 2 * clients * turns
    for question, reply in zip(said[::2], said[1::2], strict=True):
        assert reply[1] == question[1].upper()
    for name, replies in answered.items():
        own = [
            content
            for role, content in said
            if role == "assistant" and content.startswith(name.upper() + " ")
        ]
        assert own == replies == [f"{name} {n}".upper() for n in range(turns)]


@pytest.mark.torture
@pytest.mark.parametrize("clients", [2, 4, 16])
def test_clients_on_one_session_take_turns_for_long(daemon, clients):
    session_id, _ = clients_on_one_session(daemon, clients, 50)
    assert len(strictly_alternates(daemon, session_id)) == 2 * clients * 50


def test_turns_that_are_asked_for_in_a_row_run_in_that_order(daemon):
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    with Talk(daemon) as talk:
        keys = [None, "key"] * 15
        asked = [
            talk.send(
                "possess",
                agent="ai-muse",
                session_id=session_id,
                message=str(number),
                idempotency_key=key and f"{key}-{number}",
            )
            for number, key in enumerate(keys)
        ]
        assert [talk.result(number)["seq"] for number in asked] == [*range(1, 1 + len(keys))]


def test_whoever_waits_is_told_its_place_and_when_it_moves(daemon, tap):
    session_id = daemon.call("create_session", agent="tap")["session_id"]
    with Talk(daemon) as first, Talk(daemon) as second, Talk(daemon) as third:
        asked = [first.send("possess", agent="tap", message="1", session_id=session_id)]
        with tap.open() as say:
            asked.append(second.send("possess", agent="tap", message="2", session_id=session_id, stream=True))
            assert second.event("waiting")["position"] == 1
            asked.append(third.send("possess", agent="tap", message="3", session_id=session_id, stream=True))
            assert third.event("waiting")["position"] == 2
            assert daemon.call("status")["turns"] == 3
            say("one")
        assert first.result(asked[0])["reply"] == "one"
        assert third.event("waiting")["position"] == 1
        for talk, number, word in ((second, asked[1], "two"), (third, asked[2], "three")):
            talk.event("message")
            with tap.open() as say:
                say(word)
            assert talk.result(number)["reply"] == word
    assert [word for _, word in strictly_alternates(daemon, session_id)] == [
        "1",
        "one",
        "2",
        "two",
        "3",
        "three",
    ]
    assert daemon.call("status")["turns"] == 0


def test_who_would_not_wait_is_told_and_nothing_is_recorded(daemon, tap):
    session_id = daemon.call("create_session", agent="tap")["session_id"]
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="tap", message="1", session_id=session_id)
        with tap.open() as say:
            with pytest.raises(pytest.RpcFailed) as refused:
                possess(daemon, "tap", "2", session_id=session_id, if_busy="error")
            say("one")
        talk.result(asked)
    assert refused.value.data == {
        "kind": "session_busy",
        "retryable": True,
        "session_id": session_id,
        "waiting": 0,
    }
    assert [word for _, word in strictly_alternates(daemon, session_id)] == ["1", "one"]


def test_sessions_do_not_wait_for_each_other(daemon, tap):
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="tap", message="1")
        with tap.open() as say:
            assert possess(daemon, "shout", "meanwhile")["reply"] == "MEANWHILE"
            say("one")
        talk.result(asked)


def test_a_mixed_crowd_alternates(daemon, tap, home):
    """Cancels, failures, clients that go away while they run or wait, and some that would not wait."""
    session_id = daemon.call("create_session", agent="tap")["session_id"]
    with Talk(daemon) as runs, Talk(daemon) as goes, Talk(daemon) as stays, Talk(daemon) as last:
        asked = runs.send("possess", agent="tap", message="cancelled", session_id=session_id, stream=True)
        with tap.open() as say:
            goes.send("possess", agent="tap", message="never asked", session_id=session_id, stream=True)
            goes.event("waiting")
            waits = stays.send("possess", agent="tap", message="lost", session_id=session_id, stream=True)
            stays.event("waiting", position=2)
            after = last.send("possess", agent="tap", message="after", session_id=session_id, stream=True)
            last.event("waiting", position=3)
            goes.close()
            last.event("waiting", position=2)
            say("half")
            runs.event("text")
            assert daemon.call("cancel_turn", session_id=session_id) == {"cancelled": True}
            assert runs.result(asked)["status"] == "interrupted"
        with tap.open() as say:
            say("some")
            stays.event("text", text="some")
            stays.close()
            last.event("message")
        with tap.open() as say:
            say("whole")
        assert last.result(after)["reply"] == "whole"
        assert waits
    assert [word for _, word in strictly_alternates(daemon, session_id)] == [
        *("cancelled", "half"),
        *("lost", "some"),
        *("after", "whole"),
    ]
    assert [record.get("status") for record in transcript(daemon, session_id)[1::2]] == [
        "interrupted",
        "interrupted",
        "complete",
    ]


# --- interruption ---------------------------------------------------------------------------------


def test_a_cancelled_turn_keeps_what_was_said(daemon, tap):
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="tap", message="hello", stream=True)
        with tap.open() as say:
            say("half a re")
            session_id = talk.event("text")["session_id"]
            assert daemon.call("cancel_turn", session_id=session_id) == {"cancelled": True}
            result = talk.result(asked)
    assert (result["status"], result["reply"]) == ("interrupted", "half a re")
    assert outline(daemon, session_id) == [("user", "hello"), ("assistant", "half a re")]
    assert transcript(daemon, session_id)[1]["status"] == "interrupted"
    assert daemon.call("cancel_turn", session_id=session_id) == {"cancelled": False}


ASKER = """
import json, socket, sys
peer = socket.socket(socket.AF_UNIX); peer.connect(sys.argv[1])
peer.sendall(sys.argv[2].encode() + b"\\n")
if sys.argv[3] == "half": peer.shutdown(socket.SHUT_WR)
for line in peer.makefile(): print(line, end="", flush=True)
"""


@pytest.fixture
def asker(daemon, process):
    """A client in a process of its own: `asker(params, "whole"|"half")`, half hangs up its writing side."""

    def ask(params, manner):
        asked = {"jsonrpc": "2.0", "id": 1, "method": "possess", "params": params}
        command = [sys.executable, "-S", "-c", ASKER, str(daemon.socket), json.dumps(asked), manner]
        return process(command, stdout=subprocess.PIPE, text=True)

    return ask


@pytest.mark.parametrize("manner", ["whole", "half"])
def test_a_killed_client_ends_its_turn(daemon, tap, asker, manner):
    session_id = daemon.call("create_session", agent="tap")["session_id"]
    with Talk(daemon) as talk:
        talk.call("subscribe", session_id=session_id)
        client = asker({"agent": "tap", "message": "hello", "session_id": session_id}, manner)
        with tap.open() as say:
            say("half a re")
            talk.event("text")
            client.kill()
            talk.event("ended")
    assert outline(daemon, session_id) == [("user", "hello"), ("assistant", "half a re")]
    assert transcript(daemon, session_id)[1]["status"] == "interrupted"


def test_a_client_that_said_its_last_and_waits_is_answered(daemon, tap, asker):
    session_id = daemon.call("create_session", agent="tap")["session_id"]
    client = asker({"agent": "tap", "message": "hello", "session_id": session_id, "stream": True}, "half")
    with tap.open() as say:
        for number in range(4):
            # Longer than the daemon takes to look whether a half-closed client is still there.
            signal.sigtimedwait([], 0.3)
            say(f"{number} ")
    answered = [json.loads(line) for line in client.stdout]
    assert answered[-1]["result"]["status"] == "answered"
    assert outline(daemon, session_id)[1] == ("assistant", "0 1 2 3 ")


def test_a_detached_turn_goes_on_without_its_client(daemon, tap):
    session_id = daemon.call("create_session", agent="tap")["session_id"]
    with Talk(daemon) as watches:
        watches.call("subscribe", session_id=session_id)
        talk = Talk(daemon)
        talk.send("possess", agent="tap", message="hello", session_id=session_id, detach=True, stream=True)
        with tap.open() as say:
            say("half ")
            talk.event("text")
            talk.close()
            while daemon.call("status")["connections"] > 2:
                pass
            say("and whole")
        watches.event("ended")
    assert outline(daemon, session_id)[1] == ("assistant", "half and whole")
    assert transcript(daemon, session_id)[1]["status"] == "complete"


# --- failure --------------------------------------------------------------------------------------


def test_a_failed_turn_is_noted_and_keeps_what_was_said(daemon, tap):
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="broken", message="hello", stream=True)
        with tap.open() as say:
            say("half")
        error = talk.answer(asked)["error"]
    assert (error["code"], error["data"]["kind"], error["data"]["seq"]) == (1007, "crashed", 1)
    assert "it broke" in error["message"]
    session_id = error["data"]["session_id"]
    question, reply, note = transcript(daemon, session_id)
    assert (reply["content"], reply["status"], reply["question"]) == ("half", "interrupted", 1)
    assert (note["role"], note["kind"], note["question"]) == ("error", "crashed", 1)
    assert note["content"] == error["message"]
    assert question["content"] == "hello"


def test_a_program_that_is_not_there(daemon):
    with pytest.raises(pytest.RpcFailed) as failed:
        possess(daemon, "lost", "hello")
    assert (failed.value.code, failed.value.data["kind"]) == (1007, "missing")
    assert [role for role, _ in outline(daemon, failed.value.data["session_id"])] == ["user", "error"]


def test_what_failed_can_be_asked_again(daemon, home):
    with pytest.raises(pytest.RpcFailed) as failed:
        possess(daemon, "lost", "hello", references=[{"type": "text", "target": "stdin", "content": "piped"}])
    session_id = failed.value.data["session_id"]
    with pytest.raises(pytest.RpcFailed) as wrong:
        daemon.call("retry_turn", agent="shout", session_id=session_id)
    assert wrong.value.code == 1004
    configure(home, lost=["tr", "a-z", "A-Z"], shout=["cat"])
    result = daemon.call("retry_turn", agent="lost", session_id=session_id)
    assert (result["status"], result["seq"], result["reply_seq"]) == ("answered", 3, 4)
    assert result["reply"].startswith("HELLO")
    assert "PIPED" in result["reply"]
    assert transcript(daemon, session_id)[2]["references"][0]["content"] == "piped"
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("retry_turn", agent="lost", session_id=session_id)
    assert refused.value.data["field"] == "session_id"


def test_of_two_that_retry_at_once_one_does(daemon, home, tap):
    with pytest.raises(pytest.RpcFailed) as failed:
        possess(daemon, "lost", "hello")
    session_id = failed.value.data["session_id"]
    configure(home, lost=tap.command)
    with Talk(daemon) as one, Talk(daemon) as other:
        first = one.send("retry_turn", agent="lost", session_id=session_id)
        with tap.open() as say:
            second = other.answer(other.send("retry_turn", agent="lost", session_id=session_id))
            say("hi")
        assert one.result(first)["reply"] == "hi"
        assert second["error"]["data"]["field"] == "session_id"
    assert [role for role, _ in outline(daemon, session_id)] == ["user", "error", "user", "assistant"]


def test_a_failed_turn_is_left_out_of_what_later_ones_are_told(home, start_daemon, tap):
    configure(home, agent=["cat"])
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text(config + 'history = "replay"\n')
    daemon = start_daemon()
    session_id = possess(daemon, "agent", "kept question")["session_id"]
    (home / "config.toml").write_text(
        config.replace('["cat"]', json.dumps(["sh", "-c", "echo half; exit 3"]))
    )
    with pytest.raises(pytest.RpcFailed):
        possess(daemon, "agent", "failed question", session_id=session_id)
    (home / "config.toml").write_text(config + 'history = "replay"\n')
    told = possess(daemon, "agent", "next question", session_id=session_id)["reply"]
    assert "kept question" in told
    assert "next question" in told
    assert "failed" not in told
    assert "half" not in told


# --- the same key once more -----------------------------------------------------------------------


def test_a_repeated_key_gives_the_first_result(daemon):
    first = possess(daemon, "shout", "hello", idempotency_key="k")
    assert possess(daemon, "shout", "something else", idempotency_key="k") == first
    daemon.call("append_message", agent="shout", session_id=first["session_id"], role="user", content="x")
    assert possess(daemon, "shout", "hello", idempotency_key="k") == first
    daemon.kill()
    daemon.start()
    assert possess(daemon, "shout", "hello", idempotency_key="k") == first
    assert len(transcript(daemon, first["session_id"])) == 3


def test_a_key_repeated_while_its_turn_runs_waits_for_it(daemon, tap):
    with Talk(daemon) as one, Talk(daemon) as other:
        first = one.send("possess", agent="tap", message="hello", idempotency_key="k")
        with tap.open() as say:
            second = other.send("possess", agent="tap", message="hello", idempotency_key="k")
            other.call("status")
            say("hi")
        result = one.result(first)
        assert other.result(second) == result
    assert outline(daemon, result["session_id"]) == [("user", "hello"), ("assistant", "hi")]


def test_a_key_of_a_failed_turn_gives_the_failure(daemon):
    errors = []
    for restart in (False, True):
        with pytest.raises(pytest.RpcFailed) as failed:
            possess(daemon, "lost", "hello", idempotency_key="k")
        errors.append((failed.value.code, failed.value.message, failed.value.data))
        if not restart:
            daemon.kill()
            daemon.start()
    assert errors[0] == errors[1]
    assert len(transcript(daemon, errors[0][2]["session_id"])) == 2
