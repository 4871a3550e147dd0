"""`command`: our own peers, and real tools that we did not write."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers import aimock, tools
from peers.backends_command import AGENT, agent
from peers.command_agent import ID
from peers.lifeline import Lifeline
from peers.turns import done_of, failure_of, history, nobody, played, text_of, turn

from port42_daemon.backends.base import Done, Event, Health, Notice, Started, Text, Usage
from port42_daemon.backends.command.backend import Command, argv
from port42_daemon.config import CommandBackend

TALK = (("user", "my cat is Tom"), ("assistant", "noted"), ("system", "be brief"))


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    with Lifeline(tmp_path) as line:
        yield line


def reply(config: CommandBackend, *turns: Any, environ: dict[str, str] | None = None) -> list[Event]:
    """The events of the last of these turns."""
    return played(Command(config, environ), *turns)


def native_id_of(events: list[Event]) -> str | None:
    return next((event.native_id for event in events if isinstance(event, Started)), None)


# --- what the program is started with -------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (["p", "-m", "{model}", "-s", "{system}"], ["p", "-m", "big"]),
        (["p", "--model={model}", "--system={system}", "x"], ["p", "--model=big", "x"]),
        (["p", "resume", "{native_id}", "-"], ["p", "resume", "-"]),
        (["p", "{system}", "--dir", "{cwd}"], ["p"]),
        (["p", "be {model}, {system}!"], ["p", "be big, !"]),
        (["p", "{unknown}", "{", "{}", "{{model}}"], ["p", "{unknown}", "{", "{}", "{big}"]),
    ],
)
def test_places_in_an_argv_are_filled_or_left_out_with_their_flag(template, expected):
    assert argv(template, {"model": "big", "system": None, "cwd": None}) == expected


@given(st.text())
def test_filled_in_text_is_not_filled_again(system):
    values = {"system": f"{{model}}{system}", "model": "big"}
    assert argv(["p", "-s", "{system}", "{model}"], values) == ["p", "-s", values["system"], "big"]


def test_the_program_gets_its_folder_its_environment_and_the_message_alone(tmp_path):
    command = agent("environment", "--model={model}", "-s", "{system}", env_pass=["MY_KEY", "UNSET"])
    environ = {"PATH": os.environ["PATH"], "HOME": "/h", "OTHER_KEY": "1", "MY_KEY": "2", "LC_ALL": "C.UTF-8"}
    question = turn(
        "hello\n{model}", model="m", cwd=str(tmp_path), history=history(*TALK), system="You are Ada"
    )
    reported = json.loads(text_of(reply(command, question, environ=environ)))
    assert reported["argv"] == ["--model=m", "-s", "You are Ada"]
    assert reported["stdin"] == "hello\n{model}"
    assert Path(reported["cwd"]).samefile(tmp_path)
    seen = {name: value for name, value in reported["environ"].items() if name in (*environ, "UNSET")}
    assert seen == {name: value for name, value in environ.items() if name != "OTHER_KEY"}


def test_replay_puts_the_persona_and_the_conversation_before_the_message():
    question = turn("and my dog?", history=history(*TALK), system="You are Ada")
    reported = json.loads(text_of(reply(agent("environment", history="replay"), question)))
    assert reported["stdin"] == (
        "You are Ada\n\nThe conversation so far:\n\n[user]\nmy cat is Tom\n\n[assistant]\nnoted\n\n"
        "[system]\nbe brief\n\nThe message to answer now:\n\nand my dog?"
    )


def test_replay_of_nothing_is_the_message_and_a_persona_in_the_argv_is_not_said_twice():
    command = agent("environment", "{system}", history="replay")
    reported = json.loads(text_of(reply(command, turn("hello", system="You are Ada"))))
    assert (reported["argv"], reported["stdin"]) == (["You are Ada"], "hello")


# --- plain text -----------------------------------------------------------------------------------


def test_stdout_is_the_reply():
    events = reply(agent("echo"), turn("grüße ☕\n"))
    assert text_of(events) == "you said: grüße ☕"
    assert events[0] == Started(None)
    assert done_of(events) == Done()


def test_a_program_of_this_machine():
    events = reply(CommandBackend(command=["tr", "a-z", "A-Z"]), turn("hello"))
    assert text_of(events) == "HELLO"


def test_a_long_message_and_a_long_reply_do_not_wait_for_each_other():
    text = "x" * 3_000_000
    assert text_of(reply(CommandBackend(command=["cat"]), turn(text))) == text


def test_a_program_that_does_not_listen_may_still_answer():
    assert text_of(reply(agent("deaf"), turn("x" * 3_000_000))) == "I never listen"


def test_the_exit_status_and_stderr_say_why_there_is_no_reply():
    failure = failure_of(reply(agent("fails")))
    assert failure == ("rate_limit", "Error: 429 Too Many Requests (exit status 3)")


def test_a_flood_on_stderr_disturbs_nothing_and_tells_no_secret():
    environ = {**os.environ, "SECRET_KEY": "sk-0123456789"}
    flood = agent("flood", "0", env_pass=["SECRET_KEY"])
    assert failure_of(reply(flood, environ=environ)) == ("crashed", "no answer: the key is …")
    flood = agent("flood", "1", env_pass=["SECRET_KEY"])
    assert failure_of(reply(flood, environ=environ)) == ("crashed", "the key is … (exit status 1)")


def test_a_reply_that_only_asks_for_a_login_is_a_failure():
    words = "Not logged in · Please run /login"
    events = reply(CommandBackend(command=["echo", words]))
    assert text_of(events) == ""
    assert failure_of(events) == ("needs_auth", f"no answer: {words}")


def test_a_reply_that_begins_with_a_login_is_whole():
    script = "echo 'Not logged in · Please run /login'; read line; echo more"
    events = reply(CommandBackend(command=["sh", "-c", script]))
    assert text_of(events) == "Not logged in · Please run /login\nmore"
    assert done_of(events).failure is None


def test_a_program_that_is_not_there():
    missing = CommandBackend(command=["port42-no-such-program"])
    failure = (
        "port42-no-such-program is not on the daemon's PATH"
        "; if it is on yours, `port42 daemon restart` makes it known"
    )
    assert failure_of(reply(missing)) == ("missing", failure)
    assert asyncio.run(Command(missing).probe()) == Health("missing", failure)


def test_a_folder_that_is_not_there():
    kind, message = failure_of(reply(agent("echo"), turn(cwd="/no/such/folder")))
    assert kind == "missing"
    assert message.startswith("the working folder /no/such/folder is not there; ")
    assert "`port42 fork`" in message


def test_probe_names_the_program_and_what_the_daemon_does_not_have():
    config = agent("echo", env_pass=["HOME", "NOT_EXPORTED"])
    health = asyncio.run(Command(config, {"HOME": "/h"}).probe())
    assert health == Health("ready", f"{sys.executable}; not set for the daemon: NOT_EXPORTED")


def test_silence_ends_a_turn():
    quiet = CommandBackend(command=["sleep", "60"], timeout=0.2)
    assert failure_of(reply(quiet)) == ("timeout", "no output for 0.2 s")


# --- streams of events ----------------------------------------------------------------------------


def test_what_is_not_understood_is_ignored():
    events = reply(agent("unknown", parser="claude", history="native", resume=["x"]))
    assert events == [Started(None, "mock-1"), Text("known"), Done(stop_reason="end_turn")]


def test_output_after_the_terminal_event_is_ignored():
    events = reply(agent("late", parser="claude"))
    assert (text_of(events), done_of(events)) == ("in time", Done(stop_reason="end_turn"))


def test_a_program_that_stays_after_its_result_is_ended(lifeline):
    events = reply(agent("lingers", lifeline.path, parser="claude"))
    assert (text_of(events), done_of(events).failure) == ("whole", None)
    assert lifeline.released()


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("crash", "the program ended early (killed by signal 9)"),
        ("cut", "the program ended early (no result)"),
        ("long", "it sent a line of more than 16 MiB"),
    ],
)
def test_a_stream_without_an_end_is_a_failure(manner, message):
    assert failure_of(reply(agent(manner, parser="claude"))) == ("crashed", message)


def test_the_native_id_is_told_only_where_the_session_is_to_be_resumed():
    assert native_id_of(reply(agent("late", parser="claude"))) is None
    native = agent("late", parser="claude", history="native", resume=[*AGENT, "late"])
    assert native_id_of(reply(native)) == ID


@pytest.mark.parametrize(("status", "failed"), [(0, False), (1, True)])
def test_a_stream_that_marks_no_end_ends_with_the_program(status, failed):
    stream = Path(__file__).with_name("recorded") / "codex-0-20-tools.jsonl"
    events = reply(CommandBackend(command=["sh", "-c", f"cat {stream}; exit {status}"], parser="codex"))
    assert "written to stock.txt" in text_of(events)
    assert (done_of(events).failure is not None) == failed


# --- cancelling -----------------------------------------------------------------------------------


def cancelled(config: CommandBackend, lifeline: Lifeline) -> list[Event]:
    """What came of a turn that was cancelled at its first text; its processes have ended."""
    seen: list[Event] = []

    async def play() -> None:
        first = asyncio.Event()

        async def read() -> None:
            async with aclosing(Command(config).run(turn(), nobody)) as events:
                async for event in events:
                    seen.append(event)
                    if isinstance(event, Text):
                        first.set()

        reading = asyncio.create_task(read())
        await first.wait()
        assert lifeline.held()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(play())
    assert lifeline.released()
    return seen


def test_cancelling_ends_the_whole_group_however_stubborn_and_keeps_what_came(lifeline):
    seen = cancelled(agent("stubborn", lifeline.path, parser="claude"), lifeline)
    assert text_of(seen) == "up"


def test_leaving_in_the_middle_ends_the_program(lifeline):
    async def leave() -> None:
        async with aclosing(
            Command(agent("lingers", lifeline.path, parser="claude")).run(turn(), nobody)
        ) as events:
            async for event in events:
                if isinstance(event, Text):
                    return

    asyncio.run(leave())
    assert lifeline.released()


# --- native sessions ------------------------------------------------------------------------------


def sessions(folder: Path) -> CommandBackend:
    """A tool that keeps its sessions in `folder`."""
    begin = [*AGENT, "session", str(folder), "new", "{native_id}"]
    resume = [*AGENT, "session", str(folder), "resume", "{native_id}"]
    return CommandBackend(command=begin, resume=resume, parser="claude", history="native")


def test_a_native_session_begins_with_an_id_of_ours_and_goes_on_by_it(tmp_path):
    begun = reply(sessions(tmp_path), turn("one", system="You are Ada"))
    native_id = native_id_of(begun)
    assert native_id is not None
    assert str(uuid.UUID(native_id)) == native_id
    assert text_of(begun) == "<You are Ada\n\none>"
    went_on = reply(sessions(tmp_path), turn("two", native_id=native_id, history=history(*TALK)))
    assert text_of(went_on) == "<You are Ada\n\none><two>"
    assert not [event for event in went_on if isinstance(event, Notice)]


def test_a_session_the_tool_has_lost_begins_anew_with_the_transcript_and_says_so(tmp_path):
    lost = str(uuid.uuid4())
    events = reply(sessions(tmp_path), turn("two", native_id=lost, history=history(("user", "one"))))
    name = Path(sys.executable).name
    assert Notice(f"{name} no longer knows the session; it begins a new one with the transcript") in events
    assert "[user]\none\n\n" in text_of(events)
    assert native_id_of(events) not in (None, lost)
    assert done_of(events).failure is None


def test_a_resume_that_fails_for_another_reason_is_not_tried_again():
    config = CommandBackend(command=["cat"], resume=[*AGENT, "fails"], history="native")
    assert failure_of(reply(config, turn(native_id=ID)))[0] == "rate_limit"


def test_a_total_of_the_whole_session_becomes_the_turns_own(tmp_path):
    script = tmp_path / "codex.py"
    script.write_text(
        "import json, sys\n"
        "say = lambda **event: print(json.dumps(event))\n"
        "say(type='thread.started', thread_id='t-1')\n"
        "tokens = int(sys.stdin.read())\n"
        "say(type='turn.completed', usage={'input_tokens': tokens, 'output_tokens': 1 + tokens // 10})\n"
    )
    command = [sys.executable, str(script)]
    config = CommandBackend(command=command, resume=command, parser="codex", history="native")

    def usage(*totals: str) -> list[Event]:
        first, *more = totals
        turns = [turn(first), *(turn(total, native_id="t-1") for total in more)]
        return [event for event in reply(config, *turns) if isinstance(event, Usage)]

    assert usage("100") == [Usage(100, 11)]
    assert usage("100", "150") == [Usage(50, 5)]
    # After a restart the total before the turn is not known.
    assert not [e for e in reply(config, turn("150", native_id="t-1")) if isinstance(e, Usage)]


# --- real tools -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def claude(tmp_path_factory) -> Iterator[tuple[CommandBackend, dict[str, str]]]:
    """Claude Code, its home a folder of ours and its model server one that we did not write."""
    base = [tools.claude(), "-p", "--output-format", "stream-json", "--verbose", "--include-partial-messages"]
    base += ["--model", "{model}", "--append-system-prompt", "{system}"]
    with aimock.running() as url:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path_factory.mktemp("home")),
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "sk-ant-test-0123456789",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "0",
        }
        passed = [name for name in environ if name.startswith(("ANTHROPIC", "CLAUDE"))]
        yield (
            CommandBackend(
                command=[*base, "--session-id", "{native_id}"],
                resume=[*base, "--resume", "{native_id}"],
                parser="claude",
                history="native",
                env_pass=passed,
                timeout=60,
            ),
            environ,
        )


def test_claude_code_answers_and_goes_on_in_its_own_session(claude, tmp_path):
    config, environ = claude
    begun = reply(config, turn("hello", cwd=str(tmp_path), system="You are a cat"), environ=environ)
    assert text_of(begun) == "hello from a server we did not write"
    assert done_of(begun) == Done(stop_reason="end_turn")
    native_id = native_id_of(begun)
    assert native_id is not None
    went_on = reply(config, turn("think", cwd=str(tmp_path), native_id=native_id), environ=environ)
    assert text_of(went_on) == "I thought."
    assert native_id_of(went_on) == native_id
    assert list(Path(environ["HOME"]).rglob(f"{native_id}.jsonl"))


def test_claude_code_that_lost_its_session_begins_a_new_one(claude, tmp_path):
    config, environ = claude
    question = turn("hello", cwd=str(tmp_path), native_id=str(uuid.uuid4()), history=history(("user", "one")))
    events = reply(config, question, environ=environ)
    assert Notice("claude no longer knows the session; it begins a new one with the transcript") in events
    assert text_of(events) == "hello from a server we did not write"


def test_claude_code_that_is_limited_says_so(claude, tmp_path):
    config, environ = claude
    kind, message = failure_of(reply(config, turn("busy", cwd=str(tmp_path)), environ=environ))
    assert kind == "rate_limit"
    assert "Too many at once" in message


def test_claude_code_that_nobody_logged_in_says_so(claude, tmp_path):
    config, environ = claude
    without = {name: value for name, value in environ.items() if name != "ANTHROPIC_API_KEY"}
    assert failure_of(reply(config, turn(cwd=str(tmp_path)), environ=without))[0] == "needs_auth"


def test_llm_answers_with_the_transcript_on_its_stdin(tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [tools.llm(), "-m", "{model}", "-s", "{system}", "--no-log"]
    question = turn("hello", model="echo", system="You are Ada", history=history(("user", "one")))
    events = reply(CommandBackend(command=command, history="replay"), question, environ=environ)
    reported = json.loads(text_of(events))
    assert reported["system"] == "You are Ada"
    assert reported["prompt"].endswith("[user]\none\n\nThe message to answer now:\n\nhello")
    unknown = CommandBackend(command=[command[0], "-m", "no-such-model"])
    assert failure_of(reply(unknown, environ=environ))[1].startswith("Error: 'Unknown model: no-such-model'")
