"""The command line as a whole: what it finds, with which code it ends, and what it does not load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from port42_cli.app import ALIASES, COMMANDS, GROUPS, MAY_BE_EMPTY, MEANT
from port42_cli.app import port42 as port42_group
from port42_protocol import __version__

FULL = Path("/dev/full")
HEAVY = {"rich", "prompt_toolkit", "msgspec", "dataclasses", "platformdirs", "subprocess", "asyncio"}


def test_the_version(port42):
    for typed in ("--version", "-V", "version"):
        done = port42(typed)
        assert (done.returncode, done.stdout) == (0, f"port42 {__version__}\n")


def test_help_lists_every_command_under_its_heading_without_a_daemon(port42, home):
    done = port42("--help")
    lines = done.stdout[done.stdout.index("Talk:") :].splitlines()
    listed = [line.split()[0] for line in lines if line.strip()]
    expected = [word for heading, group in GROUPS.items() for word in (f"{heading}:", *group)]
    assert listed[: len(expected)] == expected
    assert "..." not in done.stdout.split("Talk:")[1], "a command's short help was cut"
    assert port42("help").stdout == port42("-h").stdout == done.stdout
    assert not home.exists()


def test_help_knows_commands_of_commands_and_other_words_for_them(port42, home):
    assert port42("help", "ls").stdout == port42("sessions", "-h").stdout
    assert port42("help", "logs").stdout == port42("help", "daemon", "logs").stdout
    assert port42("help", "agents", "connect").stdout.startswith("Usage: port42 agents connect")
    for typed, words in ((["agents", "conect"], "Did you mean 'connect'"), (["show", "x"], "no commands")):
        done = port42("help", *typed)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    assert not home.exists()


def options_with_text(command, *path):
    for param in command.params:
        text = isinstance(param, click.Option) and isinstance(param.type, click.types.StringParamType)
        if text and not param.is_flag:
            yield [*path, param.opts[-1]], param.metavar or "text"
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from options_with_text(command.get_command(click.Context(command), name), *path, name)


def test_an_empty_value_of_an_option_is_a_usage_error_that_names_it():
    known = [case for case in options_with_text(port42_group) if case[0][-1] not in MAY_BE_EMPTY]
    assert len(known) > 30
    for typed, expected in known:
        with pytest.raises(click.BadParameter) as refused:
            port42_group.main([*typed, ""], standalone_mode=False)
        message = refused.value.format_message()
        assert typed[-1] in message, typed
        assert f"expected {expected}, got an empty text" in message
        assert refused.value.exit_code == 2


def test_an_empty_model_reaches_no_daemon(port42, home):
    done = port42("possess", "@ai-muse", "hi", "--model", "")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: Invalid value for '--model': expected NAME, got an empty text" in done.stderr
    assert not home.exists()


def test_words_of_other_programs_are_commands(port42):
    begun = port42("@ai-muse", "a poem", "--json").stdout
    assert '"agent":"ai-muse"' in begun
    assert port42("new", "@echo", "hi").stdout == port42("chat", "@echo", "hi").stdout == "hi\n"
    assert port42("ls").stdout == port42("list").stdout == port42("sessions").stdout
    assert "running already" in port42("start").stderr
    assert "listens at" in port42("logs").stdout


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("delete", "'rm'"),
        ("stop", "'daemon stop'"),
        ("sesions", "'sessions'"),
        ("lits", "'list'"),
        ("agnets", "'agents'"),
        ("ai-engineer", "No such command 'ai-engineer'. An agent's name is written with @ before it."),
    ],
)
def test_a_word_that_is_none_is_answered_with_the_one_that_was_meant(port42, home, typed, meant):
    done = port42(typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"No such command '{typed}'" in done.stderr
    assert meant in done.stderr
    assert not home.exists()


def test_every_other_word_stands_for_a_command():
    for words in ALIASES.values():
        assert words[0] in COMMANDS
    for typed, meant in MEANT.items():
        assert typed not in COMMANDS
        assert typed not in ALIASES
        assert meant.split()[0] in (*COMMANDS, *ALIASES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_a_daemon(port42, home, command):
    done = port42(command, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: port42 {command}")
    assert not home.exists()


def contexts(command, context):
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            yield from contexts(below, click.Context(below, info_name=name, parent=context))


def test_every_help_fits_a_terminal_of_80_columns():
    pages = [*contexts(port42_group, click.Context(port42_group, info_name="port42", terminal_width=78))]
    assert len(pages) > 60
    wide = {
        page.command_path: line for page in pages for line in page.get_help().splitlines() if len(line) > 80
    }
    assert not wide


def test_the_daemons_no_is_1(port42):
    done = port42("show", "cli-nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: session cli-nothing not found\n")


@pytest.mark.parametrize("typed", [["nonsense"], ["--nonsense"], ["possess"], ["sessions", "-n", "0"]])
def test_what_cannot_be_understood_is_2_and_starts_nothing(port42, home, typed):
    done = port42(*typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: port42" in done.stderr
    assert "Error: " in done.stderr
    assert not home.exists()


def test_what_cannot_be_sent_is_2(port42):
    assert port42("possess", "@ai-muse", os.fsdecode(b"caf\xe9")).returncode == 2


def test_no_daemon_is_69_and_never_looks_like_no_sessions(port42):
    for typed in (["sessions"], ["possess", "@ai-muse", "--session", "last"], []):
        done = port42(*typed, env={"PORT42_NO_AUTOSTART": "1"})
        assert (done.returncode, done.stdout) == (69, "")
        assert "no daemon answers at" in done.stderr
        assert "session" not in done.stderr.lower().replace("/sessions", "")


def test_an_interrupt_is_130(peer, process):
    request_came = threading.Event()

    def never_answering(talk):
        talk.request()
        request_came.set()
        talk.request()

    fake = peer(never_answering)
    command = [sys.executable, "-m", "port42_cli", "--socket", fake.path, "status"]
    command = process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert request_came.wait(60)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert (out, err.strip()) == (b"", b"")


def test_the_socket_option_goes_to_every_command(peer):
    fake = peer(lambda talk: talk.answer(talk.request(), {"pid": 42}))
    command = [sys.executable, "-m", "port42_cli", "--socket", fake.path, "status", "--json"]
    assert subprocess.check_output(command) == b'{"pid":42}\n'


@pytest.mark.skipif(not FULL.exists(), reason="Linux's device that is always full")
def test_an_answer_that_cannot_be_written_is_told(port42):
    port42("status")
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "port42_cli", "status", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"Error: cannot write the answer: No space left on device\n")


def test_a_reader_that_left_is_no_traceback(port42, process):
    port42("possess", "@ai-muse", stdin="x" * 1_000_000)
    command = [sys.executable, "-m", "port42_cli", "show", "last", "-a", "@ai-muse"]
    show = process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    show.stdout.read(10)
    show.stdout.close()
    assert show.stderr.read() == b""
    assert show.wait(60) == 1


def test_an_encoding_that_lacks_a_sign_shows_it_escaped(port42):
    port42.begin("@ai-muse", "hi")
    done = port42("possess", "@ai-muse", "-c", env={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0
    assert done.stderr.startswith("\\U0001f504 Resuming session cli-")


def loaded(*typed):
    """The packages that a piped command imports."""
    command = [sys.executable, "-X", "importtime", "-m", "port42_cli", *typed]
    # Where coverage is measured, it loads itself into every process: not into this one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    report = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stderr
    rows = [line for line in report.splitlines() if line.startswith("import time:")]
    imported = [row.rsplit("|", 1)[1].strip() for row in rows]
    return {name.split(".")[0] for name in imported}


@pytest.mark.parametrize(
    "typed",
    [
        ["status", "--json"],
        ["sessions", "--json"],
        ["agents", "--json"],
        ["rpc", "status"],
        ["possess", "@ai-muse", "-c", "more"],
    ],
)
def test_what_scripts_type_most_loads_next_to_nothing(port42, typed):
    port42.begin("@ai-muse", "hi")
    assert not loaded(*typed) & HEAVY


@pytest.mark.parametrize("typed", [["status"], ["sessions"], ["agents"], ["show", "last", "-a", "x"], []])
def test_piped_output_never_imports_rich(port42, typed):
    port42("rpc", "create_session", "agent=x")
    assert not loaded(*typed) & {"rich", "prompt_toolkit"}


def test_the_usual_address_costs_no_platformdirs_once_a_daemon_runs(port42, monkeypatch):
    port42("daemon", "start")
    monkeypatch.delenv("PORT42_SOCKET")
    assert "platformdirs" not in loaded("status", "--json")
