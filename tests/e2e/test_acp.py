"""`port42 acp` under the client of ACP's own SDK: sessions that the editor shares with the terminal."""

from __future__ import annotations

import json
import subprocess

import pytest
from peers import acp_node_sdk
from peers.editors import REPEAT, EditorError, acp_agent, port42_command, records_of, texts
from peers.talk import Talk

CONFIG = "".join(map(acp_agent, ["echo", "worker", "slow", "permission", "crash"])) + REPEAT


@pytest.fixture
def daemon(start_daemon):
    return start_daemon(config=CONFIG)


def kinds(updates):
    """Kinds of updates in their order, each once where it repeats."""
    names = [update["sessionUpdate"] for update in updates]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


# --- the handshake ------------------------------------------------------------------------------------


def test_it_says_what_it_can(daemon, editor):
    zed = editor("@echo")
    assert zed.initialized["protocolVersion"] == 1
    assert zed.initialized["agentInfo"]["name"] == "port42"
    can = zed.initialized["agentCapabilities"]
    assert can["loadSession"] is True
    assert can["promptCapabilities"] == {"image": True, "audio": False, "embeddedContext": True}
    assert can["sessionCapabilities"] == {"list": {}, "resume": {}, "close": {}}


# --- a turn -------------------------------------------------------------------------------------------


def test_a_prompt_is_streamed_and_recorded_in_the_editors_folder(daemon, editor, home):
    zed = editor("@echo")
    session_id = zed.new(cwd=str(home))
    assert daemon.call("list_sessions")["sessions"] == []  # nothing is kept of what nobody used
    assert zed.prompt(session_id, "one two three") == {"stopReason": "end_turn"}
    assert texts(zed.updates) == "one two three "
    assert len([u for u in zed.updates if u["sessionUpdate"] == "agent_message_chunk"]) > 1
    assert "user_message_chunk" not in kinds(zed.updates)
    question, reply = records_of(daemon, session_id)
    assert (question["content"], reply["content"]) == ("one two three", "one two three ")
    (session,) = daemon.call("list_sessions")["sessions"]
    assert (session["session_id"], session["agent"], session["cwd"]) == (session_id, "echo", str(home))
    assert [u["title"] for u in zed.updates if "title" in u] == ["one two three"]


def test_what_an_agent_does_is_shown_as_it_is_recorded_and_the_same_after_loading(daemon, editor):
    zed = editor("@worker")
    session_id = zed.new()
    result = zed.prompt(session_id, "look")
    assert result["usage"] == {"inputTokens": 95, "outputTokens": 5, "totalTokens": 100}
    live = list(zed.updates)
    assert texts(live, "agent_thought_chunk").startswith("hm")
    calls = {}
    for update in live:
        if update["sessionUpdate"].startswith("tool_call"):
            calls.setdefault(update["toolCallId"], {}).update(update)
    assert (calls["t-1"]["kind"], calls["t-1"]["status"]) == ("read", "completed")
    assert calls["t-1"]["rawInput"] == {"file_path": "/a.py"}
    assert calls["t-1"]["content"][0]["content"]["text"] == "import this"
    assert calls["t-1"]["locations"][0] == {"path": "/a.py", "line": 7}
    assert calls["t-2"]["status"] == "failed"
    plans = [update for update in live if update["sessionUpdate"] == "plan"]
    assert [entry["status"] for entry in plans[0]["entries"]] == ["in_progress", "pending"]
    assert [entry["status"] for entry in plans[-1]["entries"]] == ["completed"]

    other = editor("@worker")
    other.call("load_session", session_id=session_id, cwd="/tmp")
    replayed = other.updates
    assert kinds(replayed)[:-1] == [
        *("user_message_chunk", "agent_thought_chunk", "plan", "agent_message_chunk", "tool_call"),
        *("plan", "agent_message_chunk"),
    ]
    assert texts(replayed, "user_message_chunk") == "look"
    assert texts(replayed) == texts(live)
    loaded = {u["toolCallId"]: u for u in replayed if u["sessionUpdate"] == "tool_call"}
    for call_id, call in calls.items():
        assert {**call, "sessionUpdate": "tool_call"} == loaded[call_id]


def test_an_agents_ids_of_calls_are_told_apart_from_turn_to_turn(daemon, editor):
    zed = editor("@worker")
    session_id = zed.new()
    zed.prompt(session_id, "look")
    zed.prompt(session_id, "again")
    begun = [u["toolCallId"] for u in zed.updates if u["sessionUpdate"] == "tool_call"]
    assert len(begun) == len(set(begun)) == 4
    zed.messages.clear()
    zed.call("load_session", session_id=session_id, cwd="/tmp")
    assert [u["toolCallId"] for u in zed.updates if u["sessionUpdate"] == "tool_call"] == begun


def test_a_permission_is_asked_for_in_the_editor(daemon, editor):
    zed = editor("@permission")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "edit allow_once reject_once")
    request = zed.until(lambda message: "permission" in message)
    assert request["permission"]["toolCallId"] == "call-1"
    assert (request["permission"]["kind"], request["session"]) == ("edit", session_id)
    (change,) = request["permission"]["content"]
    assert (change["path"], change["oldText"], change["newText"]) == (
        "/srv/mill.py",
        "rye = 9\n",
        "rye = 10\n",
    )
    assert request["options"][0] == {"optionId": "id:allow_once", "name": "allow once", "kind": "allow_once"}
    zed.choose("id:allow_once")
    assert zed.result(asked)["stopReason"] == "end_turn"
    assert json.loads(texts(zed.updates)) == {"outcome": "selected", "optionId": "id:allow_once"}
    (record,) = (r for r in records_of(daemon, session_id) if r["role"] == "permission")
    assert (record["chosen"], record["by"]) == ("allow once", "acp")

    asked = zed.begin_prompt(session_id, "edit allow_once reject_once")
    request = zed.until(lambda message: "permission" in message)
    zed.choose(None)
    zed.result(asked)
    *_, record = (r for r in records_of(daemon, session_id) if r["role"] == "permission")
    assert record["chosen"] is None


def test_a_cancel_stops_the_turn_and_keeps_what_came(daemon, editor):
    zed = editor("@slow")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "go")
    zed.until_text("tick")
    zed.call("cancel", session_id=session_id)
    assert zed.result(asked) == {"stopReason": "cancelled"}
    reply = records_of(daemon, session_id)[-1]
    assert reply["status"] == "interrupted"
    assert reply["content"].startswith("tick")


def test_loading_a_session_shows_it_again_and_leaves_the_editors_turn_alone(daemon, editor):
    zed = editor("@slow")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "go")
    zed.until_text("tick tick")
    before = len(zed.updates)
    zed.call("load_session", session_id=session_id, cwd="/tmp")
    shown = zed.updates[before:]
    assert texts(shown, "user_message_chunk") == "go"
    zed.until_text("tick " * 5)
    zed.call("resume_session", session_id=session_id, cwd="/tmp")
    assert daemon.call("status")["turns"] == 1
    zed.call("cancel", session_id=session_id)
    assert zed.result(asked) == {"stopReason": "cancelled"}
    reply = records_of(daemon, session_id)[-1]
    assert (reply["status"], texts(zed.updates[before:])) == ("interrupted", reply["content"])


def test_a_session_that_is_loaded_while_it_asks_goes_on_with_the_answer(daemon, editor):
    zed = editor("@permission")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "edit allow_once reject_once")
    zed.until(lambda message: "permission" in message)
    before = len(zed.updates)
    zed.call("load_session", session_id=session_id, cwd="/tmp")
    shown = zed.updates[before:]
    assert texts(shown, "user_message_chunk") == "edit allow_once reject_once"
    zed.choose("id:allow_once")
    assert zed.result(asked)["stopReason"] == "end_turn"
    assert '"optionId": "id:allow_once"' in texts(zed.updates[before:])


def test_a_cancel_answers_an_open_permission_request(daemon, editor):
    zed = editor("@permission")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "edit allow_once reject_once")
    zed.until(lambda message: "permission" in message)
    zed.call("cancel", session_id=session_id)
    zed.choose(None)
    assert zed.result(asked) == {"stopReason": "cancelled"}


def test_a_failed_turn_is_an_error_that_says_why(daemon, editor):
    zed = editor("@crash")
    session_id = zed.new()
    with pytest.raises(EditorError) as failed:
        zed.prompt(session_id, "hello")
    assert failed.value.data["kind"] == "crashed"
    assert failed.value.data["session_id"] == session_id
    other = editor("@crash")
    other.call("load_session", session_id=session_id, cwd="/tmp")
    assert "The turn failed: " in texts(other.updates, "agent_thought_chunk")


def test_a_message_that_nobody_answers_is_recorded_and_said_so(daemon, editor):
    zed = editor("@ai-muse")
    session_id = zed.new()
    with pytest.raises(EditorError, match="recorded, and @ai-muse has no back end"):
        zed.prompt(session_id, "hello")
    assert [record["content"] for record in records_of(daemon, session_id)] == ["hello"]


# --- with a terminal ----------------------------------------------------------------------------------


def test_the_editor_and_a_terminal_share_a_session_while_both_look(daemon, editor, port42):
    zed = editor("@echo")
    session_id = zed.new()
    follow = port42.start("follow", "@echo", "--json")
    with Talk(daemon) as talk:
        while talk.call("status")["subscriptions"] < 1:
            pass
    zed.prompt(session_id, "from the editor")
    told = []
    for line in follow.stdout:
        told.append(json.loads(line))
        if told[-1]["kind"] == "ended":
            break
    spoken = [event["message"]["content"] for event in told if event["kind"] == "message"]
    assert spoken == ["from the editor", "from the editor "]
    zed.messages.clear()
    done = port42("possess", "@echo", "--session", "last", "from the terminal")
    assert done.stdout.strip() == "from the terminal"
    zed.until_text("from the terminal ")
    assert texts(zed.updates, "user_message_chunk") == "from the terminal"
    assert texts(zed.updates) == "from the terminal "
    zed.prompt(session_id, "back again")
    roles = [record["role"] for record in records_of(daemon, session_id)]
    assert roles == ["user", "assistant"] * 3


def test_a_turn_that_another_client_began_is_waited_for_and_a_cancel_leaves_it_alone(daemon, editor):
    zed = editor("@slow")
    with Talk(daemon) as talk:
        other = talk.send("possess", agent="slow", message="mine", stream=True)
        session_id = talk.event("text")["session_id"]
        zed.call("resume_session", session_id=session_id, cwd="/tmp")
        asked = zed.begin_prompt(session_id, "yours")
        zed.until_text("waited for", "agent_thought_chunk")
        zed.call("cancel", session_id=session_id)
        assert zed.result(asked) == {"stopReason": "cancelled"}
        talk.call("cancel_turn", session_id=session_id)
        assert talk.result(other)["status"] == "interrupted"
    question, reply = records_of(daemon, session_id)
    assert question["content"] == "mine"
    zed.until_text(reply["content"])  # it sees how the other's turn goes on
    assert texts(zed.updates) == reply["content"]


# --- sessions -----------------------------------------------------------------------------------------


def test_sessions_are_listed_by_agent_and_folder_in_pages(daemon, editor):
    for number in range(60):
        daemon.call("create_session", agent="echo", session_id=f"s-{number:02}", cwd="/srv/a")
    daemon.call("create_session", agent="worker", session_id="other", cwd="/srv/a")
    daemon.call("create_session", agent="echo", session_id="elsewhere")
    zed = editor("@echo")
    first = zed.call("list_sessions", cwd="/srv/a")
    second = zed.call("list_sessions", cwd="/srv/a", cursor=first["nextCursor"])
    ids = [session["sessionId"] for session in first["sessions"] + second["sessions"]]
    assert sorted(ids) == [f"s-{number:02}" for number in range(60)]
    assert "nextCursor" not in second
    everywhere = zed.call("list_sessions")
    assert {"elsewhere", "s-59"} <= {session["sessionId"] for session in everywhere["sessions"]}
    assert all(session["cwd"].startswith("/") for session in everywhere["sessions"])


def test_a_resumed_session_is_not_shown_again(daemon, editor):
    zed = editor("@echo")
    session_id = zed.new()
    zed.prompt(session_id, "hello")
    other = editor("@echo")
    other.call("resume_session", session_id=session_id, cwd="/tmp")
    assert kinds(other.updates) == ["session_info_update"]
    other.prompt(session_id, "more")
    assert texts(other.updates) == "more "


def test_prompts_that_are_sent_at_once_are_asked_in_their_order(daemon, editor):
    zed = editor("@repeat")
    session_id = zed.new()
    asked = [zed.begin_prompt(session_id, f"{number} ") for number in range(6)]
    assert {zed.result(number)["stopReason"] for number in asked} == {"end_turn"}
    assert texts(zed.updates) == "0 1 2 3 4 5 "


def test_a_closed_session_ends_its_turn_and_is_not_open_any_more(daemon, editor):
    zed = editor("@slow")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "go")
    zed.until_text("tick")
    zed.call("close_session", session_id=session_id)
    assert zed.result(asked) == {"stopReason": "cancelled"}
    with pytest.raises(EditorError, match="sessionId: expected a session that is open"):
        zed.prompt(session_id, "more")
    zed.call("load_session", session_id=session_id, cwd="/tmp")
    assert texts(zed.updates, "user_message_chunk") == "go"


def test_another_agents_session_and_one_that_is_not_there_are_refused(daemon, editor):
    daemon.call("create_session", agent="worker", session_id="theirs")
    zed = editor("@echo")
    with pytest.raises(EditorError, match="belongs to @worker"):
        zed.call("load_session", session_id="theirs", cwd="/tmp")
    with pytest.raises(EditorError) as missing:
        zed.call("load_session", session_id="nowhere", cwd="/tmp")
    assert missing.value.code == -32002
    with pytest.raises(EditorError, match="unknown agent ecko"):
        editor("@ecko").new()


# --- the daemon's end ---------------------------------------------------------------------------------


def test_a_restart_between_two_prompts_is_not_noticed(daemon, editor):
    zed = editor("@repeat")
    session_id = zed.new()
    zed.prompt(session_id, "before, ")
    daemon.stop()
    daemon.start()
    zed.prompt(session_id, "after, ")
    daemon.kill()
    daemon.start()
    daemon.call("possess", agent="repeat", session_id=session_id, message="by another")
    zed.until_text("by another")
    assert texts(zed.updates) == "before, after, by another"
    assert texts(zed.updates, "user_message_chunk") == "by another"


def test_a_prompt_after_the_daemons_end_starts_one(daemon, editor):
    zed = editor("@repeat")
    session_id = zed.new()
    zed.prompt(session_id, "before, ")
    daemon.stop()
    zed.prompt(session_id, "after")
    assert texts(zed.updates) == "before, after"


def test_a_turn_that_the_daemons_end_cut_off_is_said_to_be(daemon, editor, port42):
    zed = editor("@slow")
    session_id = zed.new()
    asked = zed.begin_prompt(session_id, "go")
    zed.until_text("tick tick")
    daemon.kill()
    with pytest.raises(EditorError, match="was stopped"):
        zed.result(asked)  # of the daemon that the prompt started
    records = port42.rpc("get_session", session_id=session_id)["messages"]
    assert [record["content"] for record in records if record["role"] == "user"] == ["go"]
    assert records[-1].get("status") == "interrupted" or records[-1]["role"] == "error"


def test_the_editors_end_stops_its_turn(daemon, editor):
    zed = editor("@slow")
    session_id = zed.new()
    zed.begin_prompt(session_id, "go")
    zed.until_text("tick")
    zed.child.stdin.close()
    assert zed.child.wait(30) == 0
    with Talk(daemon) as talk:
        talk.call("subscribe", session_id=session_id, since_seq=1)
        while not any(
            event["kind"] == "message" and event["message"].get("status") == "interrupted"
            for event in talk.events
        ):
            talk.event("message")


# --- another SDK --------------------------------------------------------------------------------------


def test_the_typescript_sdks_client_asks_allows_and_loads(daemon, process):
    command = [*acp_node_sdk.editor(), *port42_command(), "acp", "@permission"]
    node = process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = node.communicate(timeout=60)
    assert node.returncode == 0, err
    printed = [json.loads(line) for line in out.splitlines()]
    assert printed[0]["agentInfo"]["name"] == "port42"
    (prompt,) = (index for index, message in enumerate(printed) if "prompt" in message)
    assert printed[prompt]["prompt"]["stopReason"] == "end_turn"
    live, loaded = printed[:prompt], printed[prompt + 2 : -1]
    assert [m["permission"]["toolCallId"] for m in live if "permission" in m] == ["call-1"]
    (listed,) = printed[prompt + 1]["list"]["sessions"]
    assert listed["sessionId"] == printed[-1]["loaded"]
    outcome = texts([message["update"] for message in loaded if "update" in message])
    assert json.loads(outcome) == {"outcome": "selected", "optionId": "id:allow_once"}
    assert outcome == texts([message["update"] for message in live if "update" in message])
