"""`port42 possess`: the scene of the specification, the sessions it goes on with, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers.talk import configure

BANNER = re.compile(r"Session: (cli-\d{13})\n")


def spoken(port42, *args, **options):
    """The session that a `possess` went to, checked against what it printed."""
    done = port42("possess", *args, **options)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr


def contents(port42, ref, *more):
    return [message["content"] for message in port42.json("show", ref, *more, "--json")["messages"]]


def test_the_scene(port42, home):
    engineer = BANNER.match(spoken(port42, "@ai-engineer", "build a parser"))[1]
    analyst = BANNER.match(spoken(port42, "@ai-analyst", "analyze this data"))[1]
    assert spoken(port42, "@ai-engineer", "--session", "last") == (
        f"🔄 Resuming session {engineer} for @ai-engineer (1 message)\n"
    )
    assert spoken(port42, "@ai-analyst", "--session", "last") == (
        f"🔄 Resuming session {analyst} for @ai-analyst (1 message)\n"
    )
    mapping = (home / "agent_sessions.json").read_text()
    assert mapping == f'{{\n  "ai-engineer": "{engineer}",\n  "ai-analyst": "{analyst}"\n}}\n'
    assert port42("daemon", "restart").returncode == 0
    stderr = spoken(port42, "@ai-engineer", "--session", "last", "and now a lexer")
    assert stderr.startswith(f"🔄 Resuming session {engineer} for @ai-engineer (1 message)\n")
    assert contents(port42, engineer) == ["build a parser", "and now a lexer"]
    assert spoken(port42, "@ai-engineer", "-c") == (
        f"🔄 Resuming session {engineer} for @ai-engineer (2 messages)\n"
    )
    done = port42("possess", "@ai-muse", "--session", "last")
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "No previous sessions found for @ai-muse\n",
    )  # fmt: skip


def test_nothing_pretends_to_answer_and_one_quiet_line_says_so(port42):
    banner, quiet = spoken(port42, "@ai-muse", "hi").splitlines()
    assert banner.startswith("Session: ")
    assert quiet == (
        "Recorded (1 message). No back end answers @ai-muse;"
        " what can be connected: port42 agents connect --help"
    )


def test_words_are_joined(port42):
    begun = port42.begin("@ai-muse", "two")
    port42("possess", "@ai-muse", "-s", begun, "and", "some", "more")
    assert contents(port42, begun) == ["two", "and some more"]


@pytest.mark.parametrize("dashes", ["-c", "--continue"])
def test_continue_is_session_last(port42, dashes):
    port42.begin("@ai-muse", "first")
    second = port42.begin("@ai-muse", "second")
    assert f"Resuming session {second} for" in spoken(port42, "@ai-muse", dashes, "more")
    assert f"Resuming session {second} for" in spoken(port42, "@ai-muse", dashes, "-s", "last", "more")


def test_a_prefix_or_a_title_means_a_session_of_this_agent(port42):
    begun = port42.json("rpc", "create_session", "agent=ai-muse", "session_id=poem-1", "title=the ode")
    for ref in ("poem", "the ode", "poem-1"):
        assert f"Resuming session {begun['session_id']} for @ai-muse" in spoken(
            port42, "@ai-muse", "--session", ref, "x"
        )


def test_going_on_without_a_message_makes_a_session_the_last_one(port42):
    first = port42.begin("@ai-muse", "first")
    second = port42.begin("@ai-muse", "second")
    assert port42.json("possess", "@ai-muse", "-c", "--json")["session_id"] == second
    spoken(port42, "@ai-muse", "-s", first)
    assert port42.json("possess", "@ai-muse", "-c", "--json")["session_id"] == first
    assert port42.json("show", first, "--json")["session"]["message_count"] == 1


def test_here_means_the_last_one_begun_in_this_folder(port42, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    in_a = port42.begin("@ai-muse", "in a", cwd=tmp_path / "a")
    in_b = port42.begin("@ai-muse", "in b", cwd=tmp_path / "b")
    assert f"session {in_a} " in spoken(port42, "@ai-muse", "-c", "--here", "more", cwd=tmp_path / "a")
    assert f"session {in_b} " in spoken(port42, "@ai-muse", "--here", cwd=tmp_path / "b")
    assert f"session {in_b} " in spoken(port42, "@ai-muse", "-c"), "going on is a use, --here or not"
    done = port42("possess", "@ai-muse", "-s", "last", "--here", "hi", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"No previous sessions found for @ai-muse in {tmp_path}\n")


def test_here_belongs_to_the_last_one_only(port42):
    done = port42("possess", "@ai-muse", "--here", "--session", "cli-1", "hi")
    assert done.returncode == 2
    assert "--session cli-1 is one session, the last one another" in done.stderr


@pytest.mark.parametrize(
    ("words", "piped", "message", "beside"),
    [
        (["what is this?"], "a\nb\n", "what is this?", "a\nb"),
        ([], "only piped\n", "only piped", None),
        (["said"], "", "said", None),
        (["said"], "\n\n", "said", None),
        ([], " exact \x1b[31m", " exact \x1b[31m", None),
    ],
)
def test_piped_stdin_is_the_message_or_read_beside_it(port42, words, piped, message, beside):
    begun = port42.events("@ai-muse", *words, stdin=piped)[-1]["session_id"]
    (recorded,) = port42.json("show", begun, "--json")["messages"]
    assert recorded["content"] == message
    read = [{"type": "text", "target": "stdin", "content": beside}] if beside else None
    assert recorded.get("references") == read


def test_a_file_may_be_piped_in(port42, tmp_path):
    notes = tmp_path / "notes"
    notes.write_text("from a file")
    command = [sys.executable, "-m", "port42_cli", "possess", "@ai-muse", "--json"]
    with notes.open() as stdin:
        output = subprocess.check_output(command, stdin=stdin, stderr=subprocess.DEVNULL)
    begun = json.loads(output.splitlines()[-1])
    assert contents(port42, begun["session_id"]) == ["from a file"]


def test_a_closed_stdin_is_no_message(port42):
    command = f"exec {sys.executable} -m port42_cli possess @ai-muse hi <&-"
    assert subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False).returncode == 0


def test_json_is_the_events_and_then_the_result(port42):
    question, begun = port42.events("@ai-muse", "hi")
    assert (question["kind"], question["session_id"]) == ("message", begun["session_id"])
    assert question["message"]["content"] == "hi"
    nothing = dict.fromkeys(["reply", "reply_seq", "turn"])
    expected = {"kind": "result", "session_id": begun["session_id"], "seq": 1, "status": "recorded"}
    assert begun == expected | nothing
    resumed = port42.json("possess", "@ai-muse", "-c", "--json")
    assert (resumed["session_id"], resumed["message_count"]) == (begun["session_id"], 1)


def refused(port42, *args, code=1, **options):
    """What a `possess` that must change nothing said."""
    before = port42.json("sessions", "--json")
    done = port42("possess", *args, **options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert port42.json("sessions", "--json") == before
    return done.stderr


@pytest.mark.parametrize("name", ["@a/b", "@a b", "@@x", "@" + "x" * 65, "@-", "@ä"])
def test_a_name_no_agent_can_have_says_what_was_expected(port42, name):
    assert "Error: agent: expected an agent name:" in refused(port42, name, "hi")


def test_an_empty_agent_is_a_missing_one(port42):
    assert refused(port42, "", "hi") == "Error: agent parameter required\n"


def test_an_unknown_agent_comes_with_suggestions(port42):
    lines = refused(port42, "@ai-enginer", "hi").splitlines()
    assert lines[0] == "Error: unknown agent @ai-enginer"
    assert "@ai-engineer" in lines[1]
    assert lines[2].endswith("port42 agents add ai-enginer")


def test_another_agents_session_is_refused_with_whose_it_is(port42):
    theirs = port42.begin("@ai-engineer", "theirs")
    stderr = refused(port42, "@ai-muse", "-s", theirs, "hi")
    assert stderr.startswith(f"Error: session {theirs} belongs to @ai-engineer, not to @ai-muse\n")


def test_a_prefix_that_fits_two_lists_both(port42):
    for number in (1, 2):
        port42.json(
            "rpc", "create_session", "agent=ai-muse", f"session_id=poem-{number}", f"title=ode {number}"
        )
    lines = refused(port42, "@ai-muse", "-s", "poem", "hi").splitlines()
    assert lines[0] == "Error: poem fits several sessions; name one of them by its id:"
    assert re.match(r"  poem-2  @ai-muse  ode 2  \(.*\)$", lines[1])
    assert re.match(r"  poem-1  @ai-muse  ode 1  \(.*\)$", lines[2])


@pytest.mark.parametrize("ref", ["nope", "../../etc/passwd", "x", "a/b"])
def test_a_ref_that_fits_nothing_says_what_names_a_session(port42, ref):
    stderr = refused(port42, "@ai-muse", "-s", ref, "hi")
    assert stderr.startswith(f"Error: session {ref} not found\n")
    assert "Expected last, @AGENT, a session id, a unique prefix" in stderr


def test_a_ref_of_no_possible_length_says_what_was_expected(port42):
    assert "Error: ref: expected 'last', '@' and" in refused(port42, "@ai-muse", "-s", "x" * 10_000, "hi")


def test_no_message_no_session_and_no_terminal_is_a_usage_error(port42):
    assert "MESSAGE: expected one" in refused(port42, "@ai-muse", code=2)
    assert "MESSAGE: expected one" in refused(port42, "@ai-muse", "--json", code=2)


def test_an_empty_message_is_refused(port42):
    for blank in ("", "   ", "\n"):
        assert "message: expected text that is not blank" in refused(port42, "@echo", blank)


@pytest.mark.parametrize(
    ("piped", "words"),
    [(b"\xff", "stdin: expected UTF-8 text, and byte 0"), (b"x" * 5_000_000, "at most 4,194,304 bytes")],
)
def test_what_cannot_be_piped_in_is_a_usage_error(port42, piped, words):
    assert words in refused(port42, "@ai-muse", stdin=piped, code=2)


def test_what_is_piped_in_beside_a_message_has_a_limit_that_the_daemon_agrees_with(port42):
    port42.events("@ai-muse", "read this", stdin=b"x" * 262_144)
    stderr = refused(port42, "@ai-muse", "read this", stdin=b"x" * 262_145, code=2)
    assert "stdin: expected at most 262,144 bytes beside a message" in stderr


def test_a_message_just_too_long_for_a_line_is_refused_by_the_daemon(port42):
    stderr = refused(port42, "@ai-muse", stdin=b"x" * 4_194_304)
    assert stderr == "Error: a request line may have at most 4,194,304 bytes\n"


def test_a_session_whose_file_vanished_no_longer_exists(port42, home):
    begun = port42.begin("@ai-muse", "hi")
    (home / "sessions" / f"{begun}.json").unlink()
    done = port42("possess", "@ai-muse", "-c", "more")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: session {begun} no longer exists\n")


def test_a_message_survives_a_daemon_that_restarts_under_it(port42, process):
    begun = port42.begin("@ai-muse", "0")
    for number in range(1, 6):
        restart = process(
            [sys.executable, "-m", "port42_cli", "daemon", "restart"], stderr=subprocess.DEVNULL
        )
        spoken(port42, "@ai-muse", "-s", begun, str(number))
        assert restart.wait(60) == 0
    assert contents(port42, begun) == [str(number) for number in range(6)]


def test_a_folder_that_was_deleted_does_not_stop_a_message(port42, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m port42_cli possess @ai-muse hi --json"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, check=True, stdin=subprocess.DEVNULL, env=os.environ
    )
    begun = json.loads(done.stdout.splitlines()[-1])["session_id"]
    assert port42.json("show", begun, "--json")["session"]["cwd"] is None


# --- words in an order that people try ------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["build a parser"], "'build a parser'"),
        (["build", "a parser"], "build 'a parser'"),
        (["-c", "hi"], "-c hi"),
        (["hi", "-c", "you"], "hi -c you"),
        (["-c"], "-c"),
    ],
)
def test_without_an_agent_nothing_is_sent_and_the_command_is_shown(port42, typed, command):
    assert f"\n  port42 possess @ai-engineer {command}\n" in usage_error(port42, *typed, stdin="")
    begun = port42.begin("@ai-muse", "a poem")
    shown = usage_error(port42, *typed)
    assert f"For @ai-muse, which was used last:\n\n  port42 possess @ai-muse {command}\n" in shown
    (session,) = port42.json("sessions", "--json")["sessions"]
    assert (session["session_id"], session["message_count"]) == (begun, 1)


def test_without_an_agent_the_session_that_is_named_says_whose_it_is(port42):
    begun = port42.begin("@ai-muse", "a poem")
    port42.begin("@ai-engineer", "a parser")
    shown = usage_error(port42, "-s", begun, "and a title")
    assert (
        f"@ai-muse, whose session that is:\n\n  port42 possess @ai-muse -s {begun} 'and a title'\n" in shown
    )


def test_an_agent_needs_no_sign_before_its_name_and_a_mistyped_one_is_named(port42):
    assert port42("possess", "echo", "hi").stdout == "hi\n"
    assert port42("possess", "echo", "-c", "again").stdout == "again\n"
    assert "Did you mean @ai-muse" in port42("possess", "ai-muze", "hi").stderr
    assert "No previous sessions found for @ai-muse" in port42("possess", "ai-muse", "-c", "hi").stderr


def test_a_model_is_for_this_message_only_and_refused_where_none_answers(port42, home):
    configure(home, say=["echo", "{model}"])
    assert port42("possess", "@say", "hi", "--model", "large").stdout == "large\n"
    done = port42("possess", "@say", "-c", "hi")
    assert "the model changed from large to the back end's own" in done.stderr
    done = port42("possess", "@ai-muse", "hi", "--model", "large")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: model: expected none, as no back end answers ai-muse, got large\n",
    )
    assert port42.json("sessions", "@ai-muse", "--json")["sessions"] == []


def test_a_mode_is_for_this_message_only_and_never_ignored_in_silence(port42, home):
    configure(home, say=["echo", "hi"])
    echo = Path(__file__).parents[2] / "peers" / "acp_echo.py"
    with (home / "config.toml").open("a") as config:
        config.write('[agents.planner]\nbackend = "planner"\n[backends.planner]\ntype = "acp"\n')
        config.write(f"command = {json.dumps([sys.executable, str(echo), '/dev/null', 'modes'])}\n")
    assert port42("possess", "@planner", "mode?", "--mode", "plan").stdout == "plan \n"
    assert port42("possess", "@planner", "-c", "mode?").stdout == "default \n"
    replies = [record for record in port42.json("show", "@planner", "--json")["messages"] if "turn" in record]
    assert [reply["turn"].get("mode") for reply in replies] == ["plan", None]
    exported = port42("export", "@planner", "--format", "markdown").stdout
    assert exported.count(" · mode plan · ") == 1
    done = port42("possess", "@planner", "-c", "mode?", "--mode", "yolo")
    assert done.returncode == 1
    assert "mode: expected one of default, plan, got yolo: it would act without asking" in done.stderr
    done = port42("possess", "@planner", "-c", "--retry", "--mode", "plan")
    assert (done.returncode, done.stdout) == (0, "plan \n")
    done = port42("possess", "@say", "hi", "--mode", "plan")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert "say does not take the mode plan: it has none" in done.stderr
    assert "mode" not in port42.json("show", "@say", "--json")["messages"][-1]["turn"]
    done = port42("possess", "@ai-muse", "hi", "--mode", "plan")
    assert done.stderr == "Error: mode: expected none, as no back end answers ai-muse, got plan\n"


def test_a_failed_turn_can_be_asked_of_another_model(port42, home):
    configure(home, say=["sh", "-c", 'test "$0" = other && echo done', "{model}"])
    assert port42("possess", "@say", "hi", "--model", "large").returncode == 1
    assert port42("possess", "@say", "-c", "--retry").returncode == 1
    done = port42("possess", "@say", "-c", "--retry", "--model", "other")
    assert (done.returncode, done.stdout) == (0, "done\n")


def usage_error(port42, *typed, **options):
    done = port42("possess", *typed, **options)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr
