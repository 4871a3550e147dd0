"""Child processes: how they are started, read and ended, on both event loops."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import uvloop
from peers.lifeline import Lifeline

from port42_daemon.backends import process
from port42_daemon.backends.process import (
    CannotStart,
    Child,
    LineTooLong,
    Silent,
    environment,
    find_program,
)
from port42_daemon.backends.programs import Programs

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request) -> Run:
    """Runs a coroutine function on the loop of that name, within a time."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def start(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def within() -> None:
            async with asyncio.timeout(30):
                await body()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(within())

    return start


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, subprocess, sys, time\n{code}", *arguments]


async def read(child: Child, **options: Any) -> bytes:
    async with aclosing(child.chunks(**options)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def test_a_child_is_read_to_its_end(run):
    async def body() -> None:
        child = await Programs().start(python("print(sys.stdin.read().upper(), end=''); sys.exit(7)"))
        await child.write(b"one\n\ntwo\r\nthree")
        child.close_stdin()
        async with aclosing(child.lines()) as lines:
            assert [line async for line in lines] == [b"ONE", b"TWO", b"THREE"]
        assert await child.settle(10) == 7
        assert child.ended
        await child.stop()
        await child.stop()
        assert await child.settle(0) == 7
        await child.write(b"too late")

    run(body)


def test_a_child_leads_its_group_and_has_a_small_environment(run):
    async def body() -> None:
        given = {"PATH": os.environ["PATH"], "LC_ALL": "C", "XDG_X": "1", "MINE": "2", "SECRET": "3"}
        code = "print(os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), *sorted(os.environ))"
        child = await Programs().start(python(code), env_pass=["MINE", "UNSET"], environ=given)
        assert (await read(child)).split() == b"True True LC_ALL MINE PATH PORT42_DEPTH XDG_X".split()
        await child.stop()

    run(body)


def test_the_environment_is_what_every_program_needs_and_what_is_passed():
    given = dict.fromkeys(
        ("PATH", "HOME", "TZ", "LC_TIME", "SSL_CERT_FILE", "ANTHROPIC_API_KEY", "LD_PRELOAD"), "x"
    )
    assert sorted(environment(given, ["ANTHROPIC_API_KEY"])) == [
        *("ANTHROPIC_API_KEY", "HOME", "LC_TIME", "PATH", "SSL_CERT_FILE", "TZ"),
    ]


def test_a_program_is_found_on_the_given_path_or_from_the_working_folder(tmp_path):
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    assert find_program("tool", {"PATH": str(tmp_path)}) is None
    program.chmod(0o700)
    assert find_program("tool", {"PATH": str(tmp_path)}) == str(program)
    assert find_program("./tool", {}, str(tmp_path)) is not None
    assert find_program("tool", {"PATH": "/nowhere"}) is None


@pytest.mark.parametrize(
    ("argv", "options", "kind", "message"),
    [
        (
            ["no-such-program"],
            {},
            "missing",
            f"no-such-program is not on the daemon's PATH; {process._RESTART}",
        ),
        (
            ["cat"],
            {"cwd": "/no/such/folder"},
            "missing",
            "the working folder /no/such/folder is not there; where it was moved or renamed,"
            " `port42 fork` from its new place goes on there",
        ),
        (
            ["cat"],
            {"cwd": "/" + "d" * 300},
            "missing",
            f"the working folder /{'d' * 199} cannot be looked at: file name too long",
        ),
        (
            ["cat"],
            {"environ": {"HOME": "/no/home", "PATH": os.defpath}},
            "missing",
            "the working folder /no/home is not there",
        ),
        (["cat", "a\0b"], {}, "crashed", "cat could not be started: an argument holds a NUL"),
        (["cat", "x" * 4_000_000], {}, "crashed", "cat could not be started: Argument list too long"),
    ],
)
def test_what_cannot_start_says_why(run, argv, options, kind, message):
    async def body() -> None:
        with pytest.raises(CannotStart) as caught:
            await Programs().start(argv, **options)
        assert (caught.value.kind, str(caught.value)) == (kind, message)

    run(body)


def test_a_line_over_the_limit_is_refused_and_one_at_the_limit_is_not(run, monkeypatch):
    monkeypatch.setattr(process, "LINE_LIMIT", 100_000)

    async def body() -> None:
        child = await Programs().start(python("print('x' * 100_000); print('y' * 100_001)"))
        async with aclosing(child.lines()) as lines:
            assert len(await anext(lines)) == 100_000
            with pytest.raises(LineTooLong):
                await anext(lines)
        await child.stop()

    run(body)


def test_a_silent_child_is_noticed(run):
    async def body() -> None:
        child = await Programs().start(["cat"])
        with pytest.raises(Silent):
            await read(child, silence=0.05)
        await child.stop()

    run(body)


def test_what_comes_on_stderr_is_no_silence(run):
    async def body() -> None:
        code = "[(print(n, file=sys.stderr), time.sleep(0.2)) for n in range(8)]; print('answer')"
        child = await Programs().start(python(code))
        assert await read(child, silence=1.2) == b"answer\n"
        await child.stop()

    run(body)


def test_stderr_is_drained_to_a_ring_without_secrets(run):
    async def body() -> None:
        given = {
            "PATH": os.environ["PATH"],
            "KEY": "sk-0123456789",
            "LONGER": "sk-0123456789abc",
            "SHORT": "a",
            "SOME_MODEL": "gpt-4.1-mini",
        }
        code = "sys.stderr.write('early\\n' + 'x' * 5_000_000 + '\\n'); print('done', flush=True)\n"
        code += "keys = ' '.join(os.environ[name] for name in ('KEY', 'LONGER', 'SOME_MODEL'))\n"
        code += "sys.stderr.write('\\x1b[31;1mkeys\\x1b[m ' + keys + '\\n\\n')"
        child = await Programs().start(python(code), env_pass=[*given], environ=given)
        assert await read(child) == b"done\n"
        await child.stop()
        assert child.stderr().split("\n")[-3] == "keys … … gpt-4.1-mini"
        assert len(child.stderr()) <= 65_536
        assert "early" not in child.stderr()
        assert "sk-0123" not in child.stderr()

    run(body)


def test_writing_to_a_child_that_does_not_read_does_not_block(run):
    async def body() -> None:
        child = await Programs().start(python("os.close(0); print('deaf')"))
        await child.write(b"x" * 3_000_000)
        child.close_stdin()
        assert await read(child) == b"deaf\n"
        await child.stop()

    run(body)


def test_stop_asks_first(run):
    async def body() -> None:
        code = "signal.signal(signal.SIGINT, lambda *_: (print('bye', file=sys.stderr), sys.exit(0)))\n"
        code += "print('up', flush=True); [signal.pause() for _ in iter(int, 1)]"
        child = await Programs().start(python(code))
        async with aclosing(child.lines()) as lines:
            assert await anext(lines) == b"up"
        await child.stop()
        assert child.stderr().splitlines()[-1] == "bye"
        assert child.ended

    run(body)


def test_a_child_blocked_on_a_full_pipe_can_still_end_in_its_own_way(run):
    async def body() -> None:
        code = "signal.signal(signal.SIGINT, lambda *_: setattr(sys, 'over', True)); sys.over = False\n"
        code += "print('up', flush=True)\nwhile not sys.over: os.write(1, b'x' * 1_000_000)\n"
        code += "print('saved', file=sys.stderr)"
        child = await Programs().start(python(code))
        async with aclosing(child.chunks()) as chunks:
            assert await anext(chunks)
        await child.stop()
        assert child.stderr().splitlines()[-1] == "saved"

    run(body)


@pytest.fixture
def lifeline(tmp_path):
    with Lifeline(tmp_path) as line:
        yield line


def test_what_the_child_left_in_its_group_ends_with_it(run, lifeline):
    async def body() -> None:
        code = "held = os.open(sys.argv[1], os.O_WRONLY)\n"
        code += "subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, pass_fds=[held]); print('up')"
        child = await Programs().start(python(code, lifeline.path))
        assert await read(child) == b"up\n"
        assert lifeline.held()
        await child.stop()
        assert lifeline.released()

    run(body)


def test_a_grandchild_that_holds_stdout_does_not_hold_the_reader(run):
    async def body() -> None:
        code = "print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, flush=True)"
        child = await Programs().start(python(code))
        pid = int(await read(child))
        await child.stop()
        os.kill(pid, signal.SIGKILL)  # it left the group, so it lives on: ours to end

    run(body)


def test_cancelled_while_stopping_it_kills_at_once(run, lifeline, monkeypatch):
    monkeypatch.setattr(process, "_PATIENCE", 3600)

    async def body() -> None:
        code = "held = os.open(sys.argv[1], os.O_WRONLY)\n"
        code += "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]\n"
        code += "print('up', flush=True); time.sleep(60)"
        child = await Programs().start(python(code, lifeline.path))
        async with aclosing(child.lines()) as lines:
            assert await anext(lines) == b"up"
        stopping = asyncio.create_task(child.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert lifeline.released()

    run(body)


def _open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_no_descriptor_is_left_open(run):
    async def once() -> None:
        child = await Programs().start(["cat"])
        child.close_stdin()
        await read(child)
        await child.stop()
        await asyncio.sleep(0)  # transports close their descriptors a step of the loop later

    async def body() -> None:
        await once()
        before = _open_descriptors()
        for _ in range(5):
            await once()
        assert _open_descriptors() == before

    run(body)


def test_each_pipe_is_closed_once(run):
    """uvloop closes a pipe itself: its file object, which is closed too, must not close the descriptor."""

    async def body():
        read, write = os.pipe()
        os.close(write)
        with os.fdopen(read, "rb", buffering=0) as pipe:
            given = process._for_the_loop(pipe, "rb")
        number = given.fileno()
        given.close()
        if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)
        else:
            os.close(number)
        opened = []
        for _ in range(4):
            child = await Programs().start(["cat"])
            child.close_stdin()
            await child.settle(30)
            await child.stop()
            await asyncio.sleep(0)
            opened.append(len(list(Path("/dev/fd").iterdir())))  # noqa: ASYNC240 - a few names
        assert opened[-1] == opened[1]  # the first one opens what the loop itself keeps

    run(body)
