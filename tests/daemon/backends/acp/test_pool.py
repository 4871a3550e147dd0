"""ACP agents good and bad, as real processes, on the daemon's own event loop."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from peers import acp_claude, acp_sdk, aimock
from peers.backends_acp import Journal, config
from peers.turns import done_of, events_of, failure_of, history, nobody, text_of, turn

from port42_daemon.backends import process
from port42_daemon.backends.acp import agent as acp_agent
from port42_daemon.backends.acp import pool
from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import (
    Decided,
    Done,
    Event,
    Notice,
    Permission,
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

KEY = "sk-test-0123456789abcdef"
NAME = Path(sys.executable).name
"""What an agent that is a script is called: by its program's name."""
T = TypeVar("T")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stubborn agents are given tenths of seconds where the daemon gives them seconds."""
    monkeypatch.setattr(acp_agent, "_CANCEL_GRACE", 0.3)
    monkeypatch.setattr(acp_agent, "_END_GRACE", 0.2)
    monkeypatch.setattr(process, "_PATIENCE", 0.3)


def play(backend: Acp, play: Callable[[Acp], Awaitable[T]]) -> T:
    """What `play` gives, on uvloop; then the back end is closed."""

    async def main() -> T:
        try:
            async with asyncio.timeout(30):
                return await play(backend)
        finally:
            await backend.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def played(backend: Acp | AcpBackend, *turns: Turn) -> list[list[Event]]:
    """The events of each of these turns, one after the other."""
    if isinstance(backend, AcpBackend):
        backend = Acp(backend)

    async def all_of(backend: Acp) -> list[list[Event]]:
        return [await events_of(backend, question) for question in turns or (turn(),)]

    return play(backend, all_of)


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def native_id_of(events: list[Event]) -> str | None:
    return next(event.native_id for event in events if isinstance(event, Started))


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def wait_for_end(pid: int) -> None:
    """Wait for the end of a process that this one need not have started."""
    while runs(pid):  # noqa: ASYNC110 - polling: nothing tells
        await asyncio.sleep(0.02)


# --- a turn ---------------------------------------------------------------------------------------------


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
    # The third turn is there so that the agent has read what it was answered when it is closed.
    turns = [turn("one"), turn("two", native_id="native"), turn("three", native_id="native")]
    first, second, _ = played(config("noisy", journal), *turns)
    assert text_of(first) == "[-32601, -32601]"
    assert done_of(first) == Done(None, "tomorrows_reason")
    assert [type(event) for event in first] == [Started, Text, Done]
    assert text_of(second) == "[-32601, -32601]"
    late = [note for note in journal.notes if note.get("id") == "agent-3"]
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


# --- warm agents ----------------------------------------------------------------------------------------


def test_an_agent_stays_for_its_sessions_next_turn(journal: Journal) -> None:
    async def turns(backend: Acp) -> None:
        native_id = None
        for message in ("one", "two", "three"):
            native_id = native_id_of(await events_of(backend, turn(message, native_id=native_id)))
        assert runs(journal.pids[0])

    play(Acp(config("echo", journal)), turns)
    assert len(journal.pids) == 1
    assert journal.methods == ["initialize", "session/new", *["session/prompt"] * 3]
    assert not runs(journal.pids[0])


@pytest.mark.parametrize(
    "change",
    [{"system": "You are Bob"}, {"model": "large"}, {"cwd": "/"}, {"native_id": "another"}, {"depth": 1}],
)
def test_a_turn_on_other_terms_gets_another_agent(journal: Journal, change: dict[str, Any]) -> None:
    async def turns(backend: Acp) -> None:
        native_id = native_id_of(await events_of(backend, turn("one")))
        await events_of(backend, turn("two", **{"native_id": native_id} | change))
        assert [runs(pid) for pid in journal.pids] == [False, True]

    play(Acp(config("echo", journal, "load", "models")), turns)
    assert journal.params("session/load")[0]["sessionId"] in (f"native-{journal.pids[0]}", "another")


def test_an_idle_agent_is_ended_in_time(journal: Journal) -> None:
    async def idle(backend: Acp) -> None:
        await events_of(backend, turn())
        await wait_for_end(journal.pids[0])
        again = await events_of(backend, turn(native_id="native-1"))
        assert native_id_of(again) == "native-1"

    play(Acp(config("echo", journal, "load", idle_ttl=0.1)), idle)
    assert {"eof": True} in journal.notes


def test_an_agent_that_crashed_while_idle_is_replaced(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        os.kill(journal.pids[0], signal.SIGKILL)
        await wait_for_end(journal.pids[0])
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        assert text_of(second) == "two "
        assert native_id_of(second) == native_id_of(first)

    play(Acp(config("echo", journal, "resume")), crash)
    assert len(journal.pids) == 2


def kill_unnoticed(pid: int) -> None:
    """Kill, and wait for the end in the event loop's own thread, so that the loop cannot hear of it."""
    os.kill(pid, signal.SIGKILL)
    while runs(pid):
        time.sleep(0.001)


def test_an_agent_whose_end_the_loop_has_not_noticed_is_replaced(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        kill_unnoticed(journal.pids[0])
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        assert text_of(second) == "two "
        assert [type(event) for event in second].count(Started) == 1

    play(Acp(config("echo", journal, "resume")), crash)
    assert len(journal.pids) == 2


def test_an_agent_that_dies_before_the_prompt_is_sent_is_replaced(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        async with aclosing(backend.run(turn("two", native_id=native_id_of(first)), nobody)) as stream:
            second = [await anext(stream)]
            kill_unnoticed(journal.pids[0])
            second += [event async for event in stream]
        assert text_of(second) == "two "
        assert done_of(second).failure is None

    play(Acp(config("echo", journal, "resume")), crash)
    assert len(journal.pids) == 2
    assert journal.prompts == ["one", "two"]


def test_a_prompt_that_an_agent_has_read_is_not_sent_to_another(journal: Journal) -> None:
    async def crash(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("die", native_id=native_id_of(first)))
        assert failure_of(second) == ("crashed", f"{NAME} ended with status 3")

    play(Acp(config("echo", journal, "resume")), crash)
    assert journal.prompts == ["one", "die"]


def test_the_longest_idle_goes_when_there_are_many(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MOST_IDLE", 2)

    async def three(backend: Acp) -> None:
        for number in range(3):
            await events_of(backend, Turn(f"s-{number}", "hello"))
        await wait_for_end(journal.pids[0])
        assert [runs(pid) for pid in journal.pids] == [False, True, True]

    play(Acp(config("echo", journal)), three)


def test_several_sessions_at_once(journal: Journal) -> None:
    async def four(backend: Acp) -> list[list[Event]]:
        return await asyncio.gather(*(events_of(backend, Turn(f"s-{n}", f"hello {n}")) for n in range(4)))

    assert [text_of(events) for events in play(Acp(config("echo", journal)), four)] == [
        f"hello {number} " for number in range(4)
    ]
    assert len(set(journal.pids)) == 4
    assert not any(map(runs, journal.pids))


def test_an_agent_that_ignores_all_but_kill_is_ended(journal: Journal, hasty: None) -> None:
    async def single_turn(backend: Acp) -> None:
        await events_of(backend, turn("answer"))
        assert runs(journal.pids[0])
        await backend.aclose()
        assert not runs(journal.pids[0])

    play(Acp(config("stubborn", journal)), single_turn)


def test_closing_lets_a_turn_under_way_end_and_keeps_nothing(journal: Journal) -> None:
    async def closed_meanwhile(backend: Acp) -> None:
        async with aclosing(backend.run(turn("well, hello"), nobody)) as events:
            await anext(events)
            await backend.aclose()
            rest = [event async for event in events]
        assert text_of(rest) == "well, hello "
        assert not runs(journal.pids[0])

    play(Acp(config("echo", journal)), closed_meanwhile)


def test_copilot_counts_the_whole_session_and_a_turn_has_its_own_tokens(journal: Journal) -> None:
    async def usages(backend: Acp) -> list[Event]:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        return [event for event in [*first, *second] if isinstance(event, Usage)]

    backend = Acp(config("echo", journal, "copilot"))
    assert backend.tool == "copilot"
    assert play(backend, usages) == [Usage(10, 1), Usage(10, 1)]


# --- resuming a session ----------------------------------------------------------------------------

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


# --- modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["deny", "ask", "read-only"])
def test_an_agent_that_would_act_unasked_is_told_to_ask(journal: Journal, policy: str) -> None:
    (events,) = played(config("echo", journal, "auto", permissions=policy))
    assert journal.methods[2:] == ["session/set_mode", "session/prompt"]
    assert journal.params("session/set_mode") == [{"sessionId": native_id_of(events), "modeId": "default"}]
    assert notices(events) == []


def test_the_mode_as_an_option(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "auto-option"))
    (request,) = journal.params("session/set_config_option")
    assert request == {"sessionId": native_id_of(events), "configId": "mode-id", "value": "read-only"}


@pytest.mark.parametrize("ability", ["yolo", "auto-stays"])
def test_an_agent_that_cannot_be_made_to_ask_is_asked_nothing(journal: Journal, ability: str) -> None:
    (events,) = played(config("echo", journal, ability))
    kind, message = failure_of(events)
    assert kind == "refused"
    assert message.startswith(f"{NAME} would act without asking: it stays in its mode auto")
    assert journal.prompts == []


def test_the_mode_is_the_agents_own_where_all_is_allowed(journal: Journal) -> None:
    (events,) = played(config("echo", journal, "auto", permissions="allow"))
    assert journal.methods == ["initialize", "session/new", "session/prompt"]
    assert notices(events) == []


def test_a_mode_taken_in_one_turn_does_not_last_to_the_next(journal: Journal) -> None:
    async def three(backend: Acp) -> None:
        native_id = native_id_of(await events_of(backend, turn("act")))
        await events_of(backend, turn("two", native_id=native_id))
        await events_of(backend, turn("three", native_id=native_id))

    play(Acp(config("echo", journal, "auto")), three)
    set_mode, prompt = "session/set_mode", "session/prompt"
    assert journal.methods[2:] == [set_mode, prompt, set_mode, prompt, prompt]


# --- permissions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "asked", "outcome"),
    [
        ("deny", "read allow_once reject_always reject_once", "id:reject_once"),
        ("deny", "read allow_once reject_always", "id:reject_always"),
        ("deny", "read allow_once", None),
        ("read-only", "read allow_always allow_once reject_once", "id:allow_once"),
        ("read-only", "search allow_once", "id:allow_once"),
        ("read-only", "fetch allow_once", "id:allow_once"),
        ("read-only", "think allow_once", "id:allow_once"),
        ("read-only", "edit allow_once reject_once", "id:reject_once"),
        ("read-only", "execute allow_once reject_once", "id:reject_once"),
        ("read-only", "switch_mode allow_once reject_once", "id:reject_once"),
        ("read-only", "tomorrows allow_once reject_once", "id:reject_once"),
        ("read-only", "read quiet allow_once", "id:allow_once"),
        ("read-only", "edit quiet allow_once reject_once", "id:reject_once"),
        ("allow", "execute allow_always allow_once", "id:allow_once"),
        ("allow", "execute allow_always reject_once", "id:reject_once"),
        ("allow", "execute allow_always", None),
        ("allow", "execute", None),
        ("ask", "read allow_once reject_once", "id:reject_once"),
    ],
)
def test_permissions_by_policy(policy: str, asked: str, outcome: str | None) -> None:
    (events,) = played(config("permission", permissions=policy), turn(asked))
    (decided,) = [event for event in events if isinstance(event, Decided)] if policy != "ask" else [None]
    if decided is not None:
        assert (decided.chosen, decided.permission.tool_id) == (outcome, "call-1")
    given = json.loads(text_of(events))
    assert given == ({"outcome": "selected", "optionId": outcome} if outcome else {"outcome": "cancelled"})
    assert bool(notices(events)) == (outcome != "id:allow_once")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("id:allow_once", "id:allow_once"),
        ("id:allow_always", "id:allow_always"),
        ("id:reject_once", "id:reject_once"),
        ("id:something else", "id:reject_once"),
        (None, "id:reject_once"),
    ],
)
def test_a_person_is_asked_and_nobody_else_chooses(answer: str | None, outcome: str) -> None:
    asked: list[Permission] = []
    events: list[Event] = []

    async def ask(permission: Permission) -> str | None:
        assert isinstance(events[-1], Tool), "shown what came before"
        asked.append(permission)
        return answer

    async def single_turn(backend: Acp) -> None:
        message = "edit quiet allow_always allow_once reject_once"
        async with aclosing(backend.run(turn(message), ask)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - one by one: `ask` looks at what is there

    play(Acp(config("permission")), single_turn)
    (permission,) = asked
    assert (permission.title, permission.kind, permission.tool_id) == ("a [31mred file", "edit", "call-1")
    assert [option.kind for option in permission.options] == ["allow_always", "allow_once", "reject_once"]
    assert permission.options[0].name == "allow always"
    assert json.loads(text_of(events)) == {"outcome": "selected", "optionId": outcome}


def test_a_person_may_take_longer_than_an_agent() -> None:
    async def slowly(permission: Permission) -> str | None:
        await asyncio.sleep(1)  # a person, who thinks
        return "id:allow_once"

    async def single_turn(backend: Acp) -> list[Event]:
        async with aclosing(backend.run(turn("edit allow_once"), slowly)) as stream:
            return [event async for event in stream]

    events = play(Acp(config("permission", timeout=0.3)), single_turn)
    assert done_of(events) == Done(None, "end_turn")


# --- cancelling -----------------------------------------------------------------------------------------


async def cancelled(
    backend: Acp, question: Turn, ask: Callable[[Permission], Awaitable[str | None]] = nobody
) -> None:
    """Cancel the task that plays the turn once the first `Text` or `Tool` is there."""
    begun = asyncio.Event()

    async def listen() -> None:
        async with aclosing(backend.run(question, ask)) as stream:
            async for event in stream:
                if isinstance(event, Text | Tool):
                    begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancelled_agent_is_told_and_stays(journal: Journal) -> None:
    async def cancel(backend: Acp) -> None:
        await cancelled(backend, turn())
        assert journal.methods[-1] == "session/cancel"
        assert runs(journal.pids[0])
        await cancelled(backend, turn(native_id=f"native-{journal.pids[0]}"))

    play(Acp(config("slow", journal)), cancel)
    assert len(journal.pids) == 1
    assert not runs(journal.pids[0])


def test_cancelling_takes_back_what_a_person_was_asked(journal: Journal) -> None:
    taken_back = asyncio.Event()

    async def for_ever(permission: Permission) -> str | None:
        try:
            await asyncio.Event().wait()
        finally:
            taken_back.set()
        return None

    async def cancel(backend: Acp) -> None:
        asked = asyncio.Event()

        async def ask(permission: Permission) -> str | None:
            asked.set()
            return await for_ever(permission)

        async def listen() -> None:
            async with aclosing(backend.run(turn("edit allow_once"), ask)) as stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(listen())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert taken_back.is_set()
        assert runs(journal.pids[0])

    play(Acp(config("permission", journal)), cancel)
    cancel_at = next(n for n, note in enumerate(journal.notes) if note.get("method") == "session/cancel")
    answer_at = next(n for n, note in enumerate(journal.notes) if note.get("id") == "agent-1")
    assert cancel_at < answer_at
    assert journal.notes[answer_at]["result"] == {"outcome": {"outcome": "cancelled"}}


def test_an_agent_that_does_not_stop_is_ended(journal: Journal, hasty: None) -> None:
    async def cancel(backend: Acp) -> None:
        await cancelled(backend, turn())
        assert not runs(journal.pids[0])

    play(Acp(config("stubborn", journal)), cancel)


def test_what_is_cancelled_before_it_was_asked_is_not_asked(journal: Journal) -> None:
    async def leave(backend: Acp) -> None:
        async with aclosing(backend.run(turn("one"), nobody)) as stream:
            await anext(stream)
            asking = asyncio.ensure_future(anext(stream))
            # `auto-waits` answers the request for another mode when it gets the cancel.
            while "session/set_mode" not in (journal.methods if journal.path.exists() else []):  # noqa: ASYNC110 - polling: a file tells nobody
                await asyncio.sleep(0.02)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert runs(journal.pids[0])

    play(Acp(config("echo", journal, "auto-waits")), leave)
    assert journal.methods[-1] == "session/cancel"
    assert journal.prompts == []


def test_an_agent_that_no_longer_listens_is_ended(journal: Journal) -> None:
    async def two(backend: Acp) -> None:
        first = await events_of(backend, turn("one"))
        second = await events_of(backend, turn("two", native_id=native_id_of(first)))
        assert failure_of(second) == ("timeout", f"{NAME} said nothing for 0.3 s")
        assert not runs(journal.pids[0])

    play(Acp(config("deaf", journal, timeout=0.3)), two)


def test_leaving_early_is_cancelling(journal: Journal) -> None:
    async def leave(backend: Acp) -> None:
        async with aclosing(backend.run(turn(), nobody)) as stream:
            async for event in stream:
                if isinstance(event, Text):
                    break
        assert journal.methods[-1] == "session/cancel"

    play(Acp(config("slow", journal)), leave)


@pytest.mark.parametrize("agent", ["mute", "noload"])
def test_cancelling_while_an_agent_opens_leaves_nothing(journal: Journal, agent: str) -> None:
    async def cancel(backend: Acp) -> None:
        question = turn(native_id="old")
        task = asyncio.create_task(events_of(backend, question))
        waits_for = "initialize" if agent == "mute" else "session/load"
        while not (journal.path.exists() and waits_for in journal.methods):  # noqa: ASYNC110 - polling: a file tells nobody
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not runs(journal.pids[0])

    play(Acp(config(agent, journal, "initialize" if agent == "mute" else "hangs")), cancel)


# --- failures -------------------------------------------------------------------------------------------


def test_a_missing_program() -> None:
    (events,) = played(AcpBackend(command=["port42-no-such-agent"]))
    kind, message = failure_of(events)
    assert kind == "missing"
    assert message.startswith("port42-no-such-agent is not on the daemon's PATH (")


def test_a_missing_folder(tmp_path: Path) -> None:
    (events,) = played(config("echo"), turn(cwd=str(tmp_path / "nowhere")))
    kind, message = failure_of(events)
    assert kind == "missing"
    assert "nowhere" in message


def test_a_crash_tells_the_last_words_without_secrets(journal: Journal) -> None:
    backend = Acp(config("crash", journal, env_pass=["TEST_KEY"]), {**os.environ, "TEST_KEY": KEY})
    (events,) = played(backend)
    assert text_of(events) == "half a "
    assert failure_of(events) == ("crashed", f"{NAME} ended with status 3: fatal: no more, …")
    assert KEY not in repr(events)


def test_a_variable_that_is_not_passed_on_is_not_there() -> None:
    (events,) = played(Acp(config("crash"), {**os.environ, "TEST_KEY": KEY}))
    assert failure_of(events)[1].endswith("no more, None")


@pytest.mark.parametrize("when", ["initialize", "prompt"])
def test_silence(journal: Journal, when: str) -> None:
    (events,) = played(config("mute", journal, when, timeout=0.3))
    assert failure_of(events) == ("timeout", f"{NAME} said nothing for 0.3 s")
    assert not runs(journal.pids[0])


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        (
            "login",
            "needs_auth",
            "is not signed in: Authentication required (it offers: Log in with a browser, API key)",
        ),
        ("version", "refused", "does not speak version 1 of the Agent Client Protocol"),
        ("prompt", "refused", "refused: Internal error: no such model"),
        ("rate", "rate_limit", "refused: Internal error: later"),
        ("refusal", "refused", "refused to answer this"),
        ("nameless", "refused", "gave its session no name"),
    ],
)
def test_what_an_agent_refuses(journal: Journal, what: str, kind: str, message: str) -> None:
    (events,) = played(config("refuses", journal, what))
    assert failure_of(events) == (kind, f"The Unwilling {message}")
    assert not runs(journal.pids[0])


@pytest.mark.parametrize(("program", "kind"), [("cat", "refused"), ("true", "crashed"), ("false", "crashed")])
def test_a_program_that_is_no_agent(program: str, kind: str) -> None:
    (events,) = played(AcpBackend(command=[program]))
    assert failure_of(events)[0] == kind


@pytest.mark.parametrize("how", ["error", "silent"])
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Not logged in · Please run /login", "needs_auth"),
        ("API Error: 529 Overloaded", "rate_limit"),
        ("fetch failed: ECONNRESET", "network"),
    ],
)
def test_an_agents_words_have_their_kind(journal: Journal, how: str, words: str, kind: str) -> None:
    (events,) = played(config("refuses", journal, how, words))
    failure_kind, message = failure_of(events)
    assert (failure_kind, words in message) == (kind, True)


@pytest.mark.parametrize(
    "words",
    [
        "Not logged in · Please run /login",
        "Invalid API key · Please run /login",
        "Please run /login · API Error: 401",
    ],
)
def test_a_reply_that_only_asks_for_a_login_is_a_failure(words: str) -> None:
    async def reply_and_health(backend: Acp) -> tuple[list[Event], str]:
        return await events_of(backend, turn()), (await backend.probe()).state

    events, health = play(Acp(config("refuses", "/dev/null", "text", words)), reply_and_health)
    assert text_of(events) == ""
    assert failure_of(events) == ("needs_auth", f"The Unwilling gave no answer: {words}")
    assert health == "needs_auth"


@pytest.mark.parametrize(
    "words", ["Run /login, and then /status.", "Not logged in · Please run /login\nis what it says."]
)
def test_a_reply_about_a_login_is_a_reply(words: str) -> None:
    (events,) = played(config("refuses", "/dev/null", "text", words))
    assert (text_of(events), done_of(events).failure) == (words, None)


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("Not logged in · Please run /login", "needs_auth", "Not logged in"),
        ('{"id": 1, "error": "529 Overloaded"}', "rate_limit", "529 Overloaded"),
        ('{"id": 1, "error": {"message": "no quota left"}}', "rate_limit", "no quota left"),
        ('{"id": 1, "error": {"code": "x", "message": "half \\ud83e"}}', "refused", "half"),
        ('{"id": 1, "error": 7}', "refused", "an error without words"),
    ],
)
def test_words_outside_the_protocol_reach_the_person(line: str, kind: str, words: str) -> None:
    (events,) = played(AcpBackend(command=["sh", "-c", 'head -n 1 >/dev/null; echo "$1"', "sh", line]))
    failure_kind, message = failure_of(events)
    assert (failure_kind, words in message) == (kind, True)


def test_a_line_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINE_LIMIT", 100_000)
    whole, cut = played(config("longline"), turn("90000"), turn("110000"))
    assert len(text_of(whole)) == 90_000
    assert failure_of(cut)[0] == "crashed"
    assert "sent a line of more than" in failure_of(cut)[1]


# --- probes --------------------------------------------------------------------------------------------


def test_probing() -> None:
    async def probe(backend: Acp) -> tuple[str, str]:
        health = await backend.probe()
        return health.state, health.detail

    assert play(Acp(config("echo")), probe)[0] == "ready"
    missing = play(Acp(AcpBackend(command=["port42-no-such-agent"])), probe)
    assert missing[0] == "missing"
    assert missing[1].startswith("port42-no-such-agent is not on the daemon's PATH (")


def test_probing_remembers_a_failed_login() -> None:
    async def probe(backend: Acp) -> str:
        await events_of(backend, turn())
        return (await backend.probe()).state

    assert play(Acp(config("refuses", "/dev/null", "login")), probe) == "needs_auth"
    assert play(Acp(config("refuses", "/dev/null", "prompt")), probe) == "ready"
