"""Programs: the user's umask, three descriptors, how many at once, and their end with the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from peers.lifeline import Lifeline
from peers.turns import events_of, failure_of, text_of, turn

from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import Notice, Text
from port42_daemon.backends.command.backend import Command
from port42_daemon.backends.programs import Programs
from port42_daemon.config import AcpBackend, CommandBackend

PEERS = Path(__file__).parents[2] / "peers"


def python(code: str, *arguments: str) -> CommandBackend:
    return CommandBackend(
        command=[sys.executable, "-c", f"import os, signal, sys, time\nsys.stdin.read()\n{code}", *arguments]
    )


def reply(config: CommandBackend, programs: Programs) -> str:
    return text_of(asyncio.run(events_of(Command(config, programs=programs), turn())))


@pytest.mark.parametrize(("umask", "mode"), [(0o022, "0o644"), (0o077, "0o600"), (0o002, "0o664")])
def test_what_a_program_makes_has_the_mode_of_the_persons_umask(tmp_path, umask, mode):
    code = "open(sys.argv[1], 'w'); print(oct(os.stat(sys.argv[1]).st_mode & 0o777))"
    own = os.umask(0o077)  # the daemon's
    try:
        assert reply(python(code, str(tmp_path / "made")), Programs(umask)) == mode
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(own)


@pytest.mark.parametrize("depth", [0, 3])
def test_a_program_is_told_how_deep_its_turn_is(depth):
    config = python("print(os.environ['PORT42_DEPTH'])")
    asked = turn(depth=depth)
    assert text_of(asyncio.run(events_of(Command(config), asked))).strip() == str(depth)


def test_the_depth_that_the_daemon_itself_was_started_with_does_not_count(monkeypatch):
    monkeypatch.setenv("PORT42_DEPTH", "7")
    assert reply(python("print(os.environ['PORT42_DEPTH'])"), Programs()).strip() == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are looked at in /proc")
def test_a_program_has_three_descriptors():
    readable, writable = os.pipe()
    try:
        for descriptor in (readable, writable):
            os.set_inheritable(descriptor, True)
        # listdir has one of its own open while it looks.
        code = "print(*sorted(fd for fd in os.listdir('/dev/fd') if os.path.exists(f'/dev/fd/{fd}')))"
        assert reply(python(code), Programs()) == "0 1 2"
    finally:
        os.close(readable)
        os.close(writable)


@pytest.fixture
def lifeline(tmp_path):
    with Lifeline(tmp_path) as line:
        yield line


def test_a_program_that_closed_its_stdout_has_answered(lifeline):
    """It holds the pipe of its stdin and of its stderr, and no copy of the one that is closed."""
    code = "held = os.open(sys.argv[1], os.O_WRONLY); os.write(1, b'hi'); os.close(1); time.sleep(60)"
    assert reply(python(code, lifeline.path), Programs()) == "hi"
    assert lifeline.released()


def test_programs_wait_for_their_turn_and_the_person_is_told(tmp_path):
    code = "open(sys.argv[1], 'w'); print('up', flush=True)\n"
    code += "while not os.path.exists(sys.argv[2]): time.sleep(0.01)"

    async def work() -> None:
        programs = Programs(at_once=2)
        go = tmp_path / "go"
        backends = [Command(python(code, str(tmp_path / n), str(go)), programs=programs) for n in "abc"]
        first = [asyncio.create_task(events_of(backend, turn())) for backend in backends[:2]]
        while not all((tmp_path / n).exists() for n in "ab"):  # noqa: ASYNC110  # nothing announces that
            await asyncio.sleep(0.01)
        async with aclosing(backends[2].run(turn(), None)) as events:
            notice = await anext(events)
            assert isinstance(notice, Notice)
            assert notice.text.startswith("2 turns with a program at work")
            assert not (tmp_path / "c").exists()
            go.touch()
            rest = [event async for event in events]
        assert text_of(rest) == "up"
        assert [text_of(events) for events in await asyncio.gather(*first)] == ["up", "up"]
        assert not any(isinstance(event, Notice) for task in first for event in task.result())

    asyncio.run(asyncio.wait_for(work(), 60))


@pytest.mark.parametrize("kind", ["command", "acp"])
def test_what_a_killed_daemon_left_is_ended_by_the_next(tmp_path, lifeline, process, kind):
    """The one it started is killed with it; what that started, in the background, is found by its mark."""
    record, up = tmp_path / "programs", tmp_path / "up"
    background = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "held = os.open(sys.argv[1], os.O_WRONLY)\n"
        "os.fork() or [signal.pause() for _ in iter(int, 1)]\n"
        "open(sys.argv[2], 'w')\n"
        "signal.pause()"
    )
    daemon = f"""
import asyncio, sys
from pathlib import Path
from port42_daemon.backends.command.backend import Command
from port42_daemon.backends.acp.pool import Acp
from port42_daemon.backends.base import Turn
from port42_daemon.backends.programs import Programs
from port42_daemon.config import AcpBackend, CommandBackend
async def main():
    programs = Programs(record=Path({str(record)!r}))
    command = [sys.executable, "-c", {background!r}, {lifeline.path!r}, {str(up)!r}]
    if {kind!r} == "acp":
        backend = Acp(AcpBackend(command=command), programs=programs)
    else:
        backend = Command(CommandBackend(command=command), programs=programs)
    async for event in backend.run(Turn("s", "x"), None):
        pass
asyncio.run(main())
"""
    child = process([sys.executable, "-c", daemon])
    while not up.exists():
        signal.sigtimedwait([], 0.01)  # a poll: nothing announces that it has begun
    child.kill()
    child.wait()
    assert lifeline.held()
    Programs(record=record).end_leftovers()
    assert lifeline.released()
    assert not record.exists()


@pytest.mark.parametrize("content", [b"", b"word", b"word 1 x 99999999", b"\xff\xfe", b"word " + b"9" * 5000])
def test_a_record_that_is_none_ends_nothing(tmp_path, content):
    record = tmp_path / "programs"
    record.write_bytes(content)
    Programs(record=record).end_leftovers()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_record_that_is_no_file_does_not_block(tmp_path, make):
    record = tmp_path / "programs"
    make(record)
    programs = Programs(record=record)
    programs.end_leftovers()
    assert reply(python("print('x')"), programs) == "x"


def test_an_executable_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "agent", 0o700)
    assert why(tmp_path / "agent")[0] in {"missing", "crashed"}


def test_a_group_without_the_mark_is_left_alone(tmp_path, process):
    """Its number may belong to another process by now."""
    other = process(["sleep", "60"], start_new_session=True)
    record = tmp_path / "programs"
    record.write_text(f"word {other.pid}")
    Programs(record=record).end_leftovers()
    assert other.poll() is None


def test_the_record_is_gone_when_nothing_runs(tmp_path):
    record = tmp_path / "programs"
    assert reply(python("print('x')"), Programs(record=record)) == "x"
    assert not record.exists()


# --- what a program lacks ---------------------------------------------------------------------------


def why(program: Path | str, *, path: str = "/nowhere") -> tuple[str, str]:
    backend = Command(CommandBackend(command=[str(program)]), {"PATH": path, "HOME": "/"})
    return failure_of(asyncio.run(events_of(backend, turn())))


@pytest.mark.parametrize(
    ("first_line", "expected"),
    [
        ("#!/no/such/interpreter -x", "needs /no/such/interpreter, which is not there"),
        (
            "#!/usr/bin/env no-such-language",
            "no-such-language is not on the daemon's PATH; if it is on yours",
        ),
        ("#!/bin/sh\r", "needs /bin/sh, which is not there (its first line ends in CRLF)"),
        ("#!/usr/bin/env -S A=1 no-such-language -x", "needs no-such-language: no-such-language is not on"),
        ("#! /no/such/interpreter", "needs /no/such/interpreter, which is not there"),
    ],
)
def test_an_interpreter_that_is_not_there_is_named(tmp_path, first_line, expected):
    program = tmp_path / "agent"
    program.write_text(f"{first_line}\necho hi\n")
    program.chmod(0o755)
    kind, message = why(program)
    assert kind == "missing"
    assert expected in message
    health = asyncio.run(Acp(AcpBackend(command=[str(program)]), {"PATH": "/nowhere"}).probe())
    assert (health.state, expected in health.detail) == ("missing", True)


def test_a_program_that_may_not_be_run_is_told_from_one_that_is_not_there(tmp_path):
    program = tmp_path / "agent"
    assert why(program) == ("missing", f"{program} is not there")
    assert why(tmp_path) == ("missing", f"{tmp_path} is a folder, not a program")
    program.write_text("#!/bin/sh\n")
    assert why(program) == ("missing", f"{program} may not be run: chmod +x makes it a program")


def test_a_folder_that_was_not_named_is_the_persons_home(tmp_path):
    config = CommandBackend(command=["/bin/pwd"])
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert text_of(asyncio.run(events_of(Command(config, environ), turn()))) == str(tmp_path.resolve())
    environ["HOME"] = str(tmp_path / "gone")
    kind, message = failure_of(asyncio.run(events_of(Command(config, environ), turn())))
    assert (kind, message) == ("missing", f"the working folder {environ['HOME']} is not there")


# --- errors outside the protocol --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("print('Not logged in. Please run /login', file=sys.stderr)", "needs_auth", "Not logged in"),
        ("print('API Error: 529 Overloaded', file=sys.stderr)", "rate_limit", "529 Overloaded"),
        ("print('Invalid API key · Please run /login'); sys.exit(1)", "needs_auth", "Invalid API key"),
        ("print('boom', file=sys.stderr); sys.exit(3)", "crashed", "boom (exit status 3)"),
    ],
)
def test_what_a_program_says_of_its_failure_reaches_the_person(code, kind, words):
    failure_kind, message = failure_of(asyncio.run(events_of(Command(python(code)), turn())))
    assert (failure_kind, words in message) == (kind, True)


@pytest.mark.parametrize("parser", ["claude", "codex", "gemini"])
@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ("Invalid API key · Please run /login", "needs_auth", "Invalid API key"),
        ('{"error": {"message": "529 Overloaded"}}', "rate_limit", "529 Overloaded"),
        ('{"type": "error", "message": "no quota left"}', "rate_limit", "no quota left"),
        ('{"error": "Not logged in"}', "needs_auth", "Not logged in"),
    ],
)
def test_words_outside_the_protocol_reach_the_person(parser, line, kind, words):
    config = CommandBackend(command=["sh", "-c", 'cat > /dev/null; echo "$1"', "sh", line], parser=parser)
    failure_kind, message = failure_of(asyncio.run(events_of(Command(config), turn())))
    assert (failure_kind, words in message) == (kind, True)


def test_halves_of_an_emoji_in_a_stream_lose_nothing():
    pieces = ("Look: ", r"a fox \ud83e", r"\udd8a and done", ".")
    start, end = '{"type":"stream_event","event":{"type":"content_block_delta","delta":{"text":"', '"}}}\n'
    lines = "".join(start + piece + end for piece in pieces)
    lines += '{"type":"result","subtype":"success","result":""}\n'
    config = CommandBackend(command=["printf", "%s", lines], parser="claude")
    events = asyncio.run(events_of(Command(config), turn()))
    assert [event.text for event in events if isinstance(event, Text)] == [
        "Look: ",
        "a fox \ud83e",
        "\udd8a and done",
        ".",
    ]
