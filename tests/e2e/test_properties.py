"""What must hold whatever happens at once: nothing lost, nothing mixed, nothing out of order."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TALKING_AT_ONCE = 16
SESSIONS = 4


def line(method, identity, **params):
    return json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}).encode() + b"\n"


def talk(daemon, client, count, *, ahead):
    """Say `count` messages to the sessions in turn, `ahead` of the answers; gives (session, seq, text)."""
    said = []
    with daemon.connect() as peer, peer.makefile("rb") as answers:

        def take_answer():
            answer = json.loads(answers.readline())
            session_id = f"shared-{answer['id'] % SESSIONS}"
            assert answer["result"]["session_id"] == session_id
            said.append((session_id, answer["result"]["seq"], f"{client}:{answer['id']}"))

        for number in range(count):
            session_id = f"shared-{number % SESSIONS}"
            content = f"{client}:{number}"
            peer.sendall(
                line(
                    "append_message",
                    number,
                    agent="ai-engineer",
                    session_id=session_id,
                    role="user",
                    content=content,
                )
            )
            if number >= ahead:
                take_answer()
        for _ in range(min(ahead, count)):
            take_answer()
    return said


def transcript(daemon, session_id):
    messages, onward = [], 0
    while onward is not None:
        page = daemon.call("get_session", session_id=session_id, after_seq=onward, events=True, limit=10_000)
        messages += page["messages"]
        onward = page["next_after_seq"]
    return messages


@pytest.mark.parametrize(
    ("count", "ahead"), [(24, 1), (24, 8), pytest.param(1000, 16, marks=pytest.mark.torture)]
)
def test_many_clients_in_the_same_sessions(daemon, count, ahead):
    for number in range(SESSIONS):
        daemon.call("create_session", agent="ai-engineer", session_id=f"shared-{number}")
    with ThreadPoolExecutor(TALKING_AT_ONCE) as clients:
        talking = [
            clients.submit(talk, daemon, client, count, ahead=ahead) for client in range(TALKING_AT_ONCE)
        ]
        acknowledged = {(session, seq): text for future in talking for session, seq, text in future.result()}
    assert len(acknowledged) == TALKING_AT_ONCE * count

    for number in range(SESSIONS):
        session_id = f"shared-{number}"
        records = transcript(daemon, session_id)
        # Contiguous, and each where its client was told that it is.
        assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
        own = {seq: text for (session, seq), text in acknowledged.items() if session == session_id}
        assert {record["seq"]: record["content"] for record in records if record["role"] == "user"} == own
        # Of each client, in the order in which it spoke.
        for client in range(TALKING_AT_ONCE):
            spoken = [text for _, text in sorted(own.items()) if text.startswith(f"{client}:")]
            assert spoken == [f"{client}:{n}" for n in range(number, count, SESSIONS)]
        # What is on the disk is the same, and one JSON document.
        kept = json.loads((daemon.home / "sessions" / f"{session_id}.json").read_bytes())
        assert [record["seq"] for record in kept["messages"]] == [record["seq"] for record in records]


def test_agents_that_begin_sessions_at_once_each_keep_their_own_last(daemon):
    def begin(agent):
        with daemon.connect() as peer, peer.makefile("rb") as answers:
            begun = []
            for number in range(5):
                peer.sendall(line("create_session", number, agent=agent, client="same"))
                begun.append(json.loads(answers.readline())["result"]["session_id"])
            return begun

    agents = [f"agent-{number}" for number in range(TALKING_AT_ONCE)]
    with ThreadPoolExecutor(TALKING_AT_ONCE) as clients:
        begun = dict(zip(agents, clients.map(begin, agents), strict=True))
    ids = [session for sessions in begun.values() for session in sessions]
    assert len(set(ids)) == len(ids) == TALKING_AT_ONCE * 5
    for agent, sessions in begun.items():
        assert daemon.call("get_last_session", agent=agent)["session_id"] == sessions[-1]
    daemon.stop()
    daemon.start()
    for agent, sessions in begun.items():
        assert daemon.call("get_last_session", agent=agent)["session_id"] == sessions[-1]


def test_one_key_sent_many_times_at_once_is_one_message(daemon):
    def say(_):
        return daemon.call("possess", agent="ai-engineer", message="once", idempotency_key="the same")

    with ThreadPoolExecutor(TALKING_AT_ONCE) as clients:
        answers = list(clients.map(say, range(TALKING_AT_ONCE)))
    assert all(answer == answers[0] for answer in answers)
    (session,) = daemon.call("list_sessions")["sessions"]
    assert session["message_count"] == 1


@settings(max_examples=60)
@given(content=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_comes_back_as_it_was(daemon, content):
    named = {"agent": "ai-engineer", "session_id": "any-text"}
    if not daemon.call("list_sessions")["sessions"]:
        daemon.call("create_session", **named)
    seq = daemon.call("append_message", **named, role="user", content=content)["seq"]
    got = daemon.call("get_session", session_id="any-text", after_seq=seq - 1)
    assert [(record["seq"], record["content"]) for record in got["messages"]] == [(seq, content)]
    kept = json.loads((daemon.home / "sessions" / "any-text.json").read_bytes())
    assert kept["messages"][-1]["content"] == content
