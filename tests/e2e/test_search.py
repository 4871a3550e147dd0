"""What agents did, searched, counted and listed with the installed `port42`."""

from __future__ import annotations

import json

import pytest
from msgspec import structs
from peers.capturing import eventually
from peers.session_files import header, said

from port42_daemon.store.file_store import FileStore
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    Location,
    Parent,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    UserMessage,
)

AT = "2026-01-01T00:00:01.000Z"


def call(name, title, output, path, state="done"):
    return ToolRecord(
        seq=0,
        timestamp=AT,
        id=title,
        name=name,
        title=title,
        kind="execute" if name == "Bash" else "edit",
        state=state,
        output=output,
        duration_ms=1500,
        locations=(Location(path),),
    )


@pytest.fixture
def home(home):
    """Two sessions of an agent that used tools, and one of its sub-agents."""
    store = FileStore(home)
    store.open()
    turn = TurnRecord(backend="llm", model="m1", input_tokens=10, output_tokens=5)
    reply = AssistantMessage(seq=0, content="The zebra passes", timestamp=AT, status="complete", turn=turn)
    bash = call("Bash", "npm test", "17 zebra tests passed", "/mill/package.json")
    edit = call("Edit", "src/zebra.py", "no such line", "/mill/src/zebra.py", "failed")
    thought = ThoughtRecord(seq=0, timestamp=AT, content="The giraffe may be the cause")
    usage = EventRecord(seq=0, event="usage", timestamp=AT, turn=TurnRecord(backend="llm", input_tokens=100))
    store.create(header("cli-1000", "ai-muse"), [said("test it"), bash, thought, edit, usage, reply])
    sub = structs.replace(header("cli-2000", "ai-muse"), parent=Parent("cli-1000", 3))
    store.create(sub, [said("look for okapis"), call("Grep", "okapi", "none", "/mill")])
    store.set_last("ai-muse", "cli-1000")
    store.close()
    return home


def page(port42, *words):
    """The answer once the sessions are indexed: it is incomplete until then, and says so."""
    done = port42("search", "--json", *words)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer if answer["complete"] else None


def hits(port42, *words):
    answer = eventually(lambda: page(port42, *words))
    return [(hit["session"]["session_id"], hit["seq"], hit["role"]) for hit in answer["hits"]]


def test_what_an_agent_did_is_found_behind_what_was_said(home, port42):
    first, *rest = hits(port42, "zebra")
    assert first == ("cli-1000", 6, "assistant")
    assert sorted(rest) == [("cli-1000", 2, "tool"), ("cli-1000", 4, "tool")]
    assert hits(port42, "tool:bash") == [("cli-1000", 2, "tool")]
    assert hits(port42, "file:src/zebra.py") == [("cli-1000", 4, "tool")]
    assert hits(port42, "giraffe", "role:thought") == [("cli-1000", 3, "thought")]
    assert hits(port42, "okapi") == [("cli-2000", 2, "tool")]
    refused = port42("search", "role:robot")
    assert refused.returncode == 1
    assert (
        "role: one of user, assistant, system, error, title, tool, thought, plan, permission"
        in refused.stderr
    )
    shown = port42("search", "npm")  # indexed by now
    assert "npm test" in shown.stdout


def test_a_hit_names_the_other_owner_who_recorded_it(home, port42):
    store = FileStore(home)
    store.open()
    theirs = UserMessage(seq=0, content="the okapi of ben", timestamp=AT, author="ben")
    done = structs.replace(call("Bash", "okapi test", "okapis", "/mill/okapi"), author="ben")
    store.create(header("cli-3000", "ai-muse"), [said("the okapi of ada"), theirs, done])
    store.close()
    answer = eventually(lambda: page(port42, "okapi", "-Grep"))
    authors = {
        hit["seq"]: hit.get("author") for hit in answer["hits"] if hit["session"]["session_id"] == "cli-3000"
    }
    assert authors == {1: None, 2: "ben", 3: "ben"}


def test_a_sub_agents_session_is_listed_under_its_parent_and_counted(home, port42):
    listed = port42.rpc("list_sessions")["sessions"]
    assert [session["session_id"] for session in listed] == ["cli-1000"]
    (sub,) = port42.rpc("list_sessions", parent="cli-1000")["sessions"]
    assert (sub["session_id"], sub["parent"]) == ("cli-2000", {"session_id": "cli-1000", "seq": 3})
    assert port42.rpc("find_session", ref="cli-2000")["session_id"] == "cli-2000"
    stats = port42.rpc("stats")
    (muse,) = stats["agents"]
    assert (muse["sessions"], muse["input_tokens"], muse["tool_calls"], muse["failed_tool_calls"]) == (
        1,
        110,
        3,
        1,
    )
    assert [(tool["name"], tool["calls"], tool["total_ms"]) for tool in stats["tools"]] == [
        ("Bash", 1, 1500),
        ("Edit", 1, 1500),
        ("Grep", 1, 1500),
    ]
