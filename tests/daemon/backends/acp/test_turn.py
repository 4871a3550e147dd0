"""One turn of an ACP agent: what it is told, and what it says. As real processes."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from peers import acp_claude, acp_sdk, aimock
from peers.acp_turns import KEY, NAME, native_id_of, notices, play, played, runs
from peers.backends_acp import Journal, config
from peers.turns import done_of, events_of, failure_of, history, text_of, turn

from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import (
    Done,
    Event,
    Notice,
    Plan,
    Started,
    Text,
    Thought,
    Tool,
    Turn,
    Usage,
)
from port42_daemon.config import AcpBackend
from port42_protocol.messages.records import Location, PlanEntry
from port42_protocol.messages.turns import McpServer, Variable


def test_a_turn(journal: Journal, tmp_path: Path) -> None:
    (events,) = played(config("echo", journal), turn("well, hello there", cwd=str(tmp_path)))
    started, *texts, done = events
    assert started == Started(f"native-{journal.pids[0]}", None)
    assert texts == [Text("well, "), Text("hello "), Text("there ")]
    assert done == Done(None, "end_turn")
    (handshake,) = journal.params("initialize")
    assert handshake["protocolVersion"] == 1
    assert handshake["clientCapabilities"] == {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
    }
    assert journal.params("session/new") == [{"cwd": str(tmp_path), "mcpServers": []}]


def test_the_home_is_the_folder_where_none_is_named(journal: Journal, tmp_path: Path) -> None:
    played(Acp(config("echo", journal), {"HOME": str(tmp_path)}))
    assert journal.params("session/new")[0]["cwd"] == str(tmp_path)


OUTPUT = {"type": "content", "content": {"type": "text", "text": "import this"}}


def test_everything_a_turn_may_have() -> None:
    (events,) = played(config("worker"))
    assert events[1:] == [
        Thought("hm"),
        Plan((PlanEntry("read it", "in_progress"), PlanEntry("read it", "pending"))),
        Text("Let me look."),
        Tool(
            "t-1",
            "Read a.py",
            "running",
            "Read",
            "read",
            input={"file_path": "/a.py"},
            locations=(Location("/a.py", 7),),
        ),
        Tool("t-1", "Read a.py", "running", "Read", "read", output=[OUTPUT]),
        Tool("t-1", "Read a.py (1 line)", "done", "Read", "read"),
        Tool("t-2", "Run it", "failed", kind="execute", output="no such file"),
        Plan((PlanEntry("read it", "completed"),)),
        Usage(10, 1),
        Text("Found "),
        Text("it: "),
        Text("file:///a.py"),
        Usage(95, 5),
        Notice("the agent stopped at its limit of tokens"),
        Done(None, "max_tokens"),
    ]


def test_unknown_and_late_messages_are_ignored(journal: Journal) -> None:
    async def turns(backend: Acp) -> tuple[list[Event], list[Event], list[dict[str, Any]]]:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("two", native_id="native"))
        # The agent may be late to read what its late request was answered, but has to before it is closed.
        while not (late := [note for note in journal.notes if note.get("id") == "agent-3"]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return first, second, late

    first, second, late = play(Acp(config("noisy", journal)), turns)
    assert text_of(first) == "[-32601, -32601]"
    assert done_of(first) == Done(None, "tomorrows_reason")
    assert [type(event) for event in first] == [Started, Text, Done]
    assert text_of(second) == "[-32601, -32601]"
    assert late[0]["result"] == {"outcome": {"outcome": "cancelled"}}


def test_a_flood_on_stderr_and_of_requests_blocks_nothing() -> None:
    (events,) = played(config("flood"))
    assert text_of(events) == "hello "


def test_the_echo_agent_of_the_sdk() -> None:
    backend = AcpBackend(command=acp_sdk.echo_agent())

    async def two_turns(backend: Acp) -> list[list[Event]]:
        first = await events_of(backend, turn("hello"))
        return [first, await events_of(backend, turn("and again", native_id=native_id_of(first)))]

    first, second = play(Acp(backend), two_turns)
    assert text_of(first) == "hello"
    assert text_of(second) == "and again"
    assert native_id_of(first) == native_id_of(second)


def test_claudes_agent_resumes_its_session(tmp_path: Path) -> None:
    passed = ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"]
    settings = AcpBackend(command=acp_claude.claude_agent(), env_pass=passed, timeout=60)

    def after(*turns: Turn) -> list[Event]:
        with aimock.running() as server:
            here = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": server, "ANTHROPIC_API_KEY": KEY}
            quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
            return played(Acp(settings, {**os.environ, **here, **quiet}), *turns)[-1]

    first = after(turn("hello", cwd=str(tmp_path)))
    assert text_of(first) == "hello from a server we did not write"
    assert done_of(first) == Done(None, "end_turn")
    # Another process, which reads the session from the disk; then an id that never existed.
    again = after(turn("hello", cwd=str(tmp_path), native_id=native_id_of(first), system="You are Ada"))
    assert native_id_of(again) == native_id_of(first)
    assert notices(again) == []
    unknown_id = "00000000-0000-4000-8000-000000000000"
    begun_anew = after(turn("hello", cwd=str(tmp_path), native_id=unknown_id, history=HISTORY))
    assert text_of(begun_anew) == "hello from a server we did not write"
    assert len(notices(begun_anew)) == 2


HISTORY = history(("user", "what is it?"), ("assistant", "a parser"))


def test_resuming_comes_before_loading(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "load", "resume"), turn(native_id="old", history=HISTORY))
    assert journal.methods == ["initialize", "session/resume", "session/prompt"]
    assert events == [Started("old"), Text("hello "), Done(None, "end_turn")]


def test_what_is_replayed_on_loading_is_no_part_of_the_reply(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "load"), turn(native_id="old", history=HISTORY))
    assert journal.methods == ["initialize", "session/load", "session/prompt"]
    assert events == [Started("old"), Text("hello "), Done(None, "end_turn")]


@pytest.mark.parametrize("how", ["refuses", "dies", "hangs"])
def test_where_loading_fails_a_new_session_is_told_the_conversation(journal: Journal, how: str) -> None:
    (events,) = played(
        config("noload", journal, how, timeout=0.5), turn("go on", native_id="old", history=HISTORY)
    )
    assert native_id_of(events) == f"native-{journal.pids[-1]}"
    assert notices(events) == [
        f"{NAME} could not go back to its session, and began a new one",
        f"{NAME} was given the conversation so far as text",
    ]
    (prompt,) = journal.prompts
    assert prompt.index("user: what is it?") < prompt.index("assistant: a parser") < prompt.index("go on")
    assert prompt.endswith("\n\ngo on")
    assert not any(map(runs, journal.pids))


def test_an_agent_without_memory_is_told_the_conversation(journal: Journal) -> None:
    (events,) = played(config("echo", journal), turn("go on", native_id="old", history=HISTORY))
    assert journal.methods == ["initialize", "session/new", "session/prompt"]
    assert len(notices(events)) == 2
    assert "assistant: a parser" in journal.prompts[0]


def test_the_conversation_is_told_once(journal: Journal) -> None:
    async def two(backend: Acp) -> None:
        first = await events_of(backend, turn("one", history=HISTORY))
        await events_of(backend, turn("two", history=HISTORY, native_id=native_id_of(first)))

    play(Acp(config("echo", journal)), two)
    assert [HISTORY[0].content in prompt for prompt in journal.prompts] == [True, False]
    assert journal.prompts[1] == "two"


# --- persona and model ----------------------------------------------------------------------------------


def test_a_persona_goes_where_the_agent_takes_it(journal: Journal) -> None:
    played(config("echo", journal, "field"), turn(system="You are Ada"))
    (setup,) = journal.params("session/new")
    content = [{"type": "text", "text": "You are Ada"}]
    assert setup["systemPrompt"] == {"mode": "append", "content": content}
    assert journal.prompts == ["hello"]


def test_a_persona_for_claudes_agent_as_it_was(journal: Journal) -> None:
    played(config("echo", journal, "meta", "load"), turn(system="You are Ada", native_id="old"))
    assert journal.params("session/load")[0]["_meta"] == {"systemPrompt": {"append": "You are Ada"}}
    assert journal.prompts == ["hello"]


def test_a_persona_is_said_first_where_the_agent_takes_none(journal: Journal) -> None:
    async def two(backend: Acp) -> None:
        first = await events_of(backend, turn("one", system="You are Ada"))
        await events_of(backend, turn("two", system="You are Ada", native_id=native_id_of(first)))

    play(Acp(config("echo", journal)), two)
    assert journal.prompts == ["You are Ada\n\none", "two"]


@pytest.mark.parametrize("way", ["option", "models"])
def test_a_model_is_chosen(journal: Journal, way: str) -> None:
    (chosen,) = played(config("echo", journal, way), turn(model="large"))
    assert chosen[0] == Started(f"native-{journal.pids[0]}", "large")
    assert notices(chosen) == []
    (request,) = journal.params("session/set_config_option") + journal.params("session/set_model")
    assert "large" in request.values()


@pytest.mark.parametrize(
    ("way", "known"), [("option", ("small", "large")), ("models", ("small", "large")), ("", ())]
)
def test_the_models_that_it_offers_are_known_from_then_on(way: str, known: tuple[str, ...]) -> None:
    async def ask(backend: Acp) -> None:
        assert (await backend.probe()).models == ()
        await events_of(backend, turn())
        assert (await backend.probe()).models == known

    play(Acp(config("echo", "/dev/null", way)), ask)


def test_a_model_is_left_as_it_is_where_it_is_right_or_none_is_wished(journal: Journal) -> None:
    for wish in ("small", None):
        (events,) = played(config("echo", journal, "option"), turn(model=wish))
        assert isinstance(events[0], Started)
        assert events[0].model == "small"
    assert "session/set_config_option" not in journal.methods


@pytest.mark.parametrize(("way", "its_own"), [("option", "small"), ("none", "its own")])
def test_a_model_the_agent_does_not_take_is_told(way: str, its_own: str) -> None:
    (events,) = played(config("echo", "/dev/null", way), turn(model="huge"))
    assert notices(events) == [f"{NAME} does not take the model huge: it answers with {its_own}"]
    assert text_of(events) == "hello "


# --- MCP servers of the client ------------------------------------------------------------------------

TOKEN = Variable("TOKEN", "tok-0123456789")
FILES = McpServer(name="files", command="/bin/files", args=("-r",), env=(TOKEN,))
WEB = McpServer(name="web", type="http", url="http://127.0.0.1/mcp", headers=(TOKEN,))


def test_mcp_servers_are_handed_to_the_session_as_far_as_the_agent_takes_them(journal: Journal) -> None:
    async def ask(backend: Acp) -> list[list[str]]:
        first = await events_of(backend, turn(mcp_servers=(FILES, WEB)))
        native_id = native_id_of(first)
        again = await events_of(backend, turn(mcp_servers=(FILES, WEB), native_id=native_id))
        without = await events_of(backend, turn(native_id=native_id))
        return [notices(first), notices(again), notices(without)]

    (first,), *others = play(Acp(config("echo", journal, "resume")), ask)
    assert first == f"{NAME} does not take the MCP servers web: it cannot reach them"
    assert others == [[], []]
    (new,) = journal.params("session/new")
    env = [{"name": "TOKEN", "value": "tok-0123456789"}]
    assert new["mcpServers"] == [{"name": "files", "command": "/bin/files", "args": ["-r"], "env": env}]
    # The same servers, the same process; without them another one.
    assert [setup["mcpServers"] for setup in journal.params("session/resume")] == [[]]


def test_an_agent_that_speaks_http_with_mcp_servers_is_given_their_address(journal: Journal) -> None:
    async def ask(backend: Acp) -> list[str]:
        return notices(await events_of(backend, turn(mcp_servers=(WEB,))))

    assert play(Acp(config("echo", journal, "http")), ask) == []
    (setup,) = journal.params("session/new")
    headers = [{"name": "TOKEN", "value": "tok-0123456789"}]
    assert setup["mcpServers"] == [
        {"type": "http", "name": "web", "url": "http://127.0.0.1/mcp", "headers": headers}
    ]


def test_no_secret_of_an_mcp_server_is_in_a_failure(journal: Journal) -> None:
    async def ask(backend: Acp) -> str:
        return failure_of(await events_of(backend, turn(mcp_servers=(FILES,))))[1]

    message = play(Acp(config("echo", journal, "tells-env")), ask)
    assert "cannot start files" in message
    assert "tok-0123456789" not in message
