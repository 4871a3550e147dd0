"""`port42` and `port42d` as forks of a process that has imported them, at a quarter of the price of a start.

    popen([sys.executable, "-m", "port42_daemon", …], stdin=…, stdout=…, stderr=…, pass_fds=…, env=…, cwd=…)
    run([sys.executable, "-m", "port42_cli", …], b"what is piped in")    # a CompletedProcess of bytes

Each test process has a server for each package, ``python forks.py PACKAGE LISTENER``, which has imported it
and forks for each request. The fork takes over the descriptors, environment and folder that come with the
request, and runs the package as ``python -m`` does. A daemon that such a `port42` starts is a fork, too. What
no fork can be, a process with other options or another environment of the interpreter, is started in the
usual way. The commands in `tests/e2e` and at terminals always are.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import os
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

IMPORTED = {
    "port42_daemon": (
        *("port42_daemon.main", "port42_daemon.backends.command.backend", "port42_daemon.backends.acp.pool"),
        *("port42_daemon.backends.http.openai", "port42_daemon.backends.http.anthropic"),
        *("aiohttp", "asyncinotify", "psycopg", "tomlkit"),
    ),
    "port42_cli": (
        *("port42_cli.app", "port42_client.process", "port42_protocol.codec"),
        *("port42_protocol.messages.sessions", "rich.console", "rich.table"),
    ),
}
"""The packages, and what their servers import. A command's own module is imported by each command."""

FOLDER = "PORT42_TEST_FORKS"
"""In the environment: where the servers listen, each at a socket named after its package."""

_OPTIONS = {"stdin", "stdout", "stderr", "pass_fds", "env", "cwd", "start_new_session"}
_OF_THE_INTERPRETER = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
"""How variables begin that are read before any module is imported."""

_STREAMS = ("stdin", "stdout", "stderr")
_NUMBER = struct.Struct("i")


class Forked:
    """What tests use of a `subprocess.Popen`."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"the fork {self.pid}", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(_number(self._connection))
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended since, and its status is on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def popen(argv: Sequence[str], **options: Any) -> Forked | subprocess.Popen[bytes]:
    """Begin what `argv` says, as a fork if that can be. The options are Popen's; of a pipe its end."""
    module = argv.index("-m") + 1 if "-m" in argv else 0
    server = Path(os.environ.get(FOLDER, os.devnull), argv[module])
    flags = set(argv[1 : module - 1])
    if options.keys() <= _OPTIONS and flags <= {"-E", "-P"} and server.is_socket():
        with Path(os.devnull).open("r+b", buffering=0) as null, contextlib.ExitStack() as stack:
            given = [options.get(name) for name in _STREAMS]
            streams = [
                null if file == subprocess.DEVNULL else own if file is None else file
                for own, file in enumerate(given)
            ]
            passed = options.get("pass_fds", ())
            request = {
                "arguments": argv[module + 1 :],
                "environment": dict(options.get("env") or os.environ),
                "folder": os.fspath(options.get("cwd") or Path.cwd()),
                "places": [0, 1, 2, *passed],
                "new_session": options.get("start_new_session", False),
            }
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.connect(str(server))
            socket.send_fds(connection, [b"{"], [*map(_descriptor, streams), *passed])
            connection.sendall(json.dumps(request).encode()[1:])
            connection.shutdown(socket.SHUT_WR)
            if pid := _number(connection):
                stack.pop_all()
                return Forked(pid, connection)
    return subprocess.Popen(argv, **options)


def run(
    argv: Sequence[str], piped: bytes | None, timeout: float, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """`subprocess.run` with all that is written captured; without `piped` there is no stdin."""
    (stdin, feed), (stdout, out), (stderr, err) = (os.pipe() for _ in range(3))
    try:
        given = subprocess.DEVNULL if piped is None else stdin
        child = popen(argv, stdin=given, stdout=out, stderr=err, **options)
    finally:
        for end in (stdin, out, err):
            os.close(end)
    with ThreadPoolExecutor(3) as threads:
        threads.submit(_write, feed, piped or b"")
        written = [threads.submit(_read, end) for end in (stdout, stderr)]
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(argv, code, *(each.result() for each in written))


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[None]:
    """Servers that listen in `folder`; none where coverage is measured, whose data they would not write."""
    with contextlib.ExitStack() as stack:
        if sys.platform == "linux" and not any(name.startswith("COVERAGE_") for name in os.environ):
            for package in IMPORTED:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                    listener.bind(str(folder / package))
                    listener.listen()
                    number = listener.fileno()
                    argv = [sys.executable, "-P", __file__, package, str(number)]
                    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
                    server = subprocess.Popen(argv, pass_fds=[number], **pipes)
                stack.callback(server.communicate)
                stack.callback(server.kill)
        yield


def _descriptor(file: Any) -> int:
    return file if isinstance(file, int) else int(file.fileno())


def _write(end: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(end, "wb", buffering=0) as pipe:
        pipe.write(data)


def _read(end: int) -> bytes:
    with os.fdopen(end, "rb") as pipe:
        return pipe.read()


def _number(connection: socket.socket) -> int:
    received = connection.recv(_NUMBER.size, socket.MSG_WAITALL)
    assert len(received) == _NUMBER.size, "a fork server ended"
    return int(_NUMBER.unpack(received)[0])


# --- the server -----------------------------------------------------------------------------------


class Server:
    """Forks for each request, and tells whoever asked the pid and then the exit status."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)  # its end is the end of the tests

    def serve(self) -> tuple[dict[str, Any], list[int]]:
        """Returns in each fork, with what it is to be and the descriptors for that."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    if forked := self._fork():
                        return forked
                elif key.fileobj == 0:
                    sys.exit()
                else:
                    self._tell_status(key.fileobj, *key.data)

    def _fork(self) -> tuple[dict[str, Any], list[int]] | None:
        connection, _ = self._listener.accept()
        first, files, _, _ = socket.recv_fds(connection, 1, 16)
        with connection.makefile("rb") as rest:
            request = json.loads(first + rest.read())
        pid = 0
        if _of_the_interpreter(request["environment"]) == _of_the_interpreter(os.environ):
            pid = os.fork()
            if pid == 0:
                for key in [*self._selector.get_map().values()]:
                    if key.data is not None:
                        os.close(key.fileobj)
                        key.data[1].close()
                self._selector.close()
                self._listener.close()
                connection.close()
                return request, files
        for file in files:
            os.close(file)
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(_NUMBER.pack(pid))
        if pid:
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))
        else:
            connection.close()
        return None

    def _tell_status(self, ended: int, pid: int, connection: socket.socket) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        with contextlib.suppress(BrokenPipeError), connection:
            connection.sendall(_NUMBER.pack(os.waitpid(pid, 0)[1]))


def _of_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_OF_THE_INTERPRETER)}


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Be what was asked for, up to the package's first line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["new_session"]:
        os.setsid()
    places = request["places"]
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, max(*places, *files) + 1) for file in files]
    for file in files:
        os.close(file)
    for file, place in zip(moved, places, strict=True):
        os.dup2(file, place)
        os.close(file)
    for place, name in enumerate(_STREAMS):
        begun = getattr(sys, f"__{name}__")
        stream = open(  # noqa: SIM115 - it stays open as long as the process lives
            place, begun.mode, 1 if name == "stderr" else -1, begun.encoding, begun.errors, closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    sys.argv[1:] = request["arguments"]


def _end(status: int) -> None:
    """End as an interpreter does, but for taking apart all modules, which would copy what forks share.

    Returns where something cannot be written, which the interpreter then tells.
    """
    with contextlib.suppress(OSError):
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Import the package, serve; in each fork, run it."""
    package, number = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the tests' terminal is for the tests
    for module in IMPORTED[package]:
        import_module(module)
    if package == "port42_cli":
        # Where the command starts a daemon, and only there.
        sys.modules["port42_client.process"].subprocess = SimpleNamespace(
            **vars(subprocess) | {"Popen": popen}
        )
    gc.freeze()  # what a collection never touches is never copied
    _become(*Server(socket.socket(fileno=int(number))).serve())
    try:
        runpy.run_module(package, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            _end(end.code)
        raise


if __name__ == "__main__":
    main()
