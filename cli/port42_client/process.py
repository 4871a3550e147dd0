"""The daemon as a process: started and waited for, asked what it is, told to stop. Imported only for that."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from port42_client.client import Client, decode
from port42_client.errors import NoDaemon, Refused
from port42_protocol import paths

START_TIMEOUT = 30.0
"""Seconds for a daemon to become ready; it waits up to 20 of them for a predecessor to stop."""

STOP_TIMEOUT = 30.0
"""Seconds a daemon may take to end its turns and leave."""


class Running(Struct, frozen=True):
    """What a daemon of any version says in its `status`, as far as starting and stopping need it."""

    pid: int
    version: str
    home: str
    socket: str
    turns: int = 0


def ask(connect: Callable[[], socket.socket]) -> Running:
    with Client(connect) as client:
        return decode(Running, client.ask("status"))


def spawn(argv: list[str], log: Path) -> None:
    """Start port42d in a session of its own and wait until it is ready. Raises `NoDaemon` with its reason."""
    reader, writer = os.pipe()
    try:
        # Its stderr is the log too: a daemon that cannot even be imported says why there.
        stderr = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                [*argv, "--ready-fd", str(writer)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[writer],
                cwd=log.parent,  # the caller's folder may be unmounted; the home stays
                start_new_session=True,
            )
        finally:
            os.close(stderr)
        os.close(writer)
        writer = -1
        _await_ready(process, reader, log)
    except OSError as error:
        raise NoDaemon(f"cannot start port42d: {error.strerror or error}") from None
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _await_ready(process: subprocess.Popen[bytes], reader: int, log: Path) -> None:
    line = b""
    deadline = time.monotonic() + START_TIMEOUT
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            process.terminate()
            process.wait()
            raise NoDaemon(f"port42d was not ready within {START_TIMEOUT:.0f} s; {log} says more")
        if not (data := os.read(reader, 4096)):
            code = process.wait()
            raise NoDaemon(f"port42d ended (code {code}) before it was ready; {log} says more")
        line += data
    reason = line.decode(errors="replace").strip()
    if reason != "ready":
        process.wait()
        raise NoDaemon(f"port42d could not start: {reason.removeprefix('error: ')}")
    # It outlives this command on purpose: without a return code, Popen warns when it is collected.
    process.returncode = 0


def stop(running: Running) -> None:
    """Stop the daemon and wait for its end. Raises `Refused` when it is still there after `STOP_TIMEOUT`."""
    with suppress(ProcessLookupError):  # it may end by itself meanwhile
        os.kill(running.pid, signal.SIGTERM)
    if not _ended(paths.lock_file(Path(running.home))):
        raise Refused(f"port42d (pid {running.pid}) was told to stop and is still there")


def _ended(lock: Path) -> bool:
    """Wait for the lock that a daemon holds for its whole life. False after `STOP_TIMEOUT`."""
    try:
        held = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    # flock has no time-out; a thread that is left waiting goes with this process.
    waiting = threading.Thread(target=fcntl.flock, args=(held, fcntl.LOCK_SH), daemon=True)
    waiting.start()
    waiting.join(STOP_TIMEOUT)
    if waiting.is_alive():
        return False
    os.close(held)
    return True
