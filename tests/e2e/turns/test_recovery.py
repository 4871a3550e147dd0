"""Turns that a kill or a stop cuts off, and changes of the configuration meanwhile."""

from __future__ import annotations

import json
import os
import signal

import pytest
from peers.talk import Talk, configure, outline, possess, transcript

# --- kill -9 and stops ------------------------------------------------------------------------------


def kept_of(home, session_id):
    """The text in a session's checkpoint."""
    path = home / "sessions" / f"{session_id}.partial"
    assert path.stat().st_mode & 0o777 == 0o600
    return "".join(json.loads(line) for line in path.read_bytes().splitlines()[1:])


def wait_until_kept(home, session_id, text):
    while kept_of(home, session_id) != text:
        signal.sigtimedwait([], 0.01)  # a poll: nothing announces that a checkpoint was written


def test_kill_9_loses_a_second_of_text_at_most_and_records_the_rest_once(daemon, tap, home):
    with Talk(daemon) as talk:
        talk.send("possess", agent="tap", message="hello", idempotency_key="k", stream=True)
        with tap.open() as say:
            said = ""
            for piece in ("one ", "two ", "dreiß 🐢 "):
                say(piece)
                session_id = talk.event("text")["session_id"]
                said += piece
                wait_until_kept(home, session_id, said)
            daemon.kill()
    for _ in range(2):
        daemon.start()
        assert outline(daemon, session_id) == [("user", "hello"), ("assistant", said)]
        reply = transcript(daemon, session_id)[1]
        assert (reply["status"], reply["question"]) == ("interrupted", 1)
        assert reply["turn"]["backend"] == "tap"
        assert not list((home / "sessions").glob("*.partial"))
        again = possess(daemon, "tap", "hello", idempotency_key="k")
        assert (again["status"], again["reply"], again["reply_seq"]) == ("interrupted", said, 2)
        daemon.kill()


def test_kill_9_before_anything_was_said_is_noted(daemon, tap, home):
    with Talk(daemon) as talk:
        talk.send("possess", agent="tap", message="hello", stream=True)
        with tap.open():
            session_id = talk.event("started")["session_id"]
            other = possess(daemon, "shout", "later use")["session_id"]
            daemon.kill()
    daemon.start()
    assert [role for role, _ in outline(daemon, session_id)] == ["user", "error"]
    assert transcript(daemon, session_id)[1]["question"] == 1
    assert daemon.call("get_last_session", agent="shout")["session_id"] == other
    assert daemon.logged("cut off")


def test_a_recovered_turn_is_not_a_use(daemon, tap):
    with Talk(daemon) as talk:
        talk.send("possess", agent="tap", message="hello", stream=True)
        with tap.open():
            session_id = talk.event("started")["session_id"]
            later = daemon.call("create_session", agent="tap")["session_id"]
            daemon.kill()
    daemon.start()
    assert len(transcript(daemon, session_id)) == 2
    assert daemon.call("get_last_session", agent="tap")["session_id"] == later


def test_a_checkpoint_of_a_recorded_turn_is_not_recorded_again(daemon, home):
    result = possess(daemon, "shout", "hello")
    unfinished = {
        "session_id": result["session_id"],
        "agent": "shout",
        "question": 1,
        "turn": {"backend": "shout"},
    }
    path = home / "sessions" / f"{result['session_id']}.partial"
    daemon.kill()
    path.write_text(json.dumps(unfinished) + '\n"HEL"\n')
    (home / "sessions" / "torn.partial").write_text('{"session_id":"to')
    (home / "sessions" / "gone.partial").write_text(json.dumps(unfinished | {"session_id": "gone"}) + "\n")
    (home / "sessions" / "folder.partial").mkdir()
    daemon.start()
    assert outline(daemon, result["session_id"]) == [("user", "hello"), ("assistant", "HELLO")]
    assert list((home / "sessions").glob("*.partial")) == []
    assert daemon.logged("folder.partial is no checkpoint")


def test_a_stop_cuts_turns_off_and_records_them(home, tap, start_daemon, monkeypatch):
    configure(home, tap=tap.command)
    daemon = start_daemon()
    with Talk(daemon) as runs, Talk(daemon) as waits:
        asked = runs.send("possess", agent="tap", message="hello", stream=True)
        with tap.open() as say:
            say("half")
            session_id = runs.event("text")["session_id"]
            waiting = waits.send("possess", agent="tap", message="next", session_id=session_id, stream=True)
            waits.event("waiting")
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGTERM)
            assert runs.result(asked)["status"] == "interrupted"
            assert waits.answer(waiting)["error"]["data"]["kind"] == "shutting_down"
    assert daemon.stop() == 0
    daemon.start()
    assert outline(daemon, session_id) == [("user", "hello"), ("assistant", "half")]
    assert not list((home / "sessions").glob("*.partial"))


def test_a_turn_that_ends_within_the_grace_is_whole(daemon, tap):
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="tap", message="hello", stream=True)
        with tap.open() as say:
            talk.event("started")
            os.kill(daemon.pid, signal.SIGTERM)
            say("whole")
        assert talk.result(asked)["status"] == "answered"
    assert daemon.stop() == 0


# --- configuration ----------------------------------------------------------------------------------


def wait_for(daemon, words):
    """A poll: the log is how the daemon says that a signal was acted upon."""
    while words not in daemon.log():
        signal.sigtimedwait([], 0.01)


def test_a_signal_reloads_the_file_and_a_bad_one_changes_nothing(daemon, home):
    path = home / "config.toml"
    good = path.read_text()
    path.write_text(good.replace('"a-z", "A-Z"', '"a-z", "b-za"'))
    os.kill(daemon.pid, signal.SIGHUP)
    wait_for(daemon, "4 agents, 4 back ends")
    assert possess(daemon, "shout", "hal")["reply"] == "ibm"
    path.write_text(good + "[agents.new]\nsystem = 7\n")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_for(daemon, "the last valid version is still used")
    assert possess(daemon, "shout", "hal")["reply"] == "ibm"
    line = good.count("\n") + 2
    assert f"line {line}: agents.new.system" in daemon.call("status")["config_error"]
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("reload_config")
    assert refused.value.code == 1011
    path.write_text(good)
    assert daemon.call("reload_config") == {"agents": 4, "backends": 4}
    assert possess(daemon, "shout", "hal")["reply"] == "HAL"


def test_a_turn_under_way_outlives_a_change_of_its_back_end(daemon, home, tap):
    with Talk(daemon) as talk:
        asked = talk.send("possess", agent="tap", message="hello", stream=True)
        with tap.open() as say:
            talk.event("started")
            configure(home, tap=["cat"])
            daemon.call("reload_config")
            assert possess(daemon, "tap", "echoed")["reply"] == "echoed"
            say("still here")
        assert talk.result(asked)["reply"] == "still here"


def test_no_secret_is_kept_said_or_logged(home, start_daemon):
    """The agent is given the key, and its standard error shows it: nothing of ours does."""
    secret = "sk-0123456789-very-secret"
    configure(home, agent=["sh", "-c", 'test -n "$MY_KEY" && echo "key $MY_KEY refused" >&2; exit 3'])
    path = home / "config.toml"
    path.write_text(path.read_text() + 'env_pass = ["MY_KEY"]\n')
    daemon = start_daemon(env={"MY_KEY": secret})
    with Talk(daemon) as talk:
        answer = talk.answer(talk.send("possess", agent="agent", message="hello", stream=True))
        said = [answer, talk.events, talk.call("list_agents"), talk.call("status")]
    assert answer["error"]["data"]["kind"]
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    assert not any(secret.encode() in record for record in kept)
    assert secret not in json.dumps(said) + daemon.log()
