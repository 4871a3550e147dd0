"""The daemon as a process: started and waited for, asked what it is, told to stop. Imported only for that."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from port42_client.client import Client, decode
from port42_client.errors import NoDaemon, Refused
from port42_client.silence import PATIENCE, SLOW
from port42_protocol import paths

START_TIMEOUT = 30.0
"""Seconds for a daemon to become ready; it waits up to 20 of them for a predecessor to stop."""

STOP_TIMEOUT = 30.0
"""Seconds a daemon may take to end its turns and exit."""

LOOK_EVERY = 0.01
"""Seconds between two looks whether a daemon has ended: flock(2) has no time-out."""

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


class StoppedEarly(NoDaemon):
    """Another command stopped the daemon before it was ready."""


class Running(Struct, frozen=True):
    """The fields of `status`, of a daemon of any version, that starting and stopping need."""

    pid: int
    version: str
    home: str
    socket: str
    turns: int = 0


def ask(
    connect: Callable[[], socket.socket], notice: Callable[[str], None], patience: float = PATIENCE
) -> Running:
    with Client(connect, notice, patience) as client:
        return decode(Running, client.ask("status"))


def spawn(argv: list[str], log: Path, notice: Callable[[str], None]) -> None:
    """Start port42d in a session of its own and wait until it is ready. Raises `NoDaemon` with its reason."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as ready:
        try:
            with os.fdopen(writer, "wb"), os.fdopen(_open_log(log), "ab") as stderr:
                process = subprocess.Popen(
                    [*argv, "--ready-fd", str(writer)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,  # a daemon that cannot even be imported says why in its log
                    pass_fds=[writer],
                    cwd=log.parent,  # the caller's folder may be unmounted; the home stays
                    start_new_session=True,
                )
            _await_ready(process, ready, log, notice)
        except OSError as error:
            raise NoDaemon(f"cannot start port42d: {error.strerror or error}") from None


def _open_log(log: Path) -> int:
    """To append to `log`; or /dev/null where no file is in its place, which must not hold up a start."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(log, flags, 0o600)
    except OSError:
        if log.is_file() or not os.path.lexists(log):
            raise
    else:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _await_ready(
    process: subprocess.Popen[bytes], ready: BinaryIO, log: Path, notice: Callable[[str], None]
) -> None:
    slow = min(SLOW, START_TIMEOUT)
    waiting = select.poll()
    waiting.register(ready, select.POLLIN)
    if not waiting.poll(1000 * slow):
        notice(f"Waiting for port42d (pid {process.pid}) to start.")
        if not waiting.poll(1000 * (START_TIMEOUT - slow)):
            process.kill()  # it never got as far as to what a signal could end in good order
            process.wait()
            raise NoDaemon(f"port42d was not ready within {START_TIMEOUT:.0f} s; {log} says more")
    reason = ready.readline().decode(errors="replace").strip()
    if reason == "ready":
        # It outlives this command on purpose: without a return code, Popen warns when it is collected.
        process.returncode = 0
        return
    code = process.wait()
    if reason:
        raise NoDaemon(f"port42d could not start: {reason.removeprefix('error: ')}")
    ended = f"port42d ended (code {code}) before it was ready; {log} says more"
    raise StoppedEarly(ended) if code == -signal.SIGTERM else NoDaemon(ended)


def stop(pid: int, home: Path, notice: Callable[[str], None]) -> None:
    """End the daemon of `home` and wait for it. Raises `Refused` after `STOP_TIMEOUT`."""
    with suppress(ProcessLookupError):  # it may end by itself meanwhile
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)  # one that was suspended takes the other signal only then
    path = paths.lock_file(home)
    began, told = time.monotonic(), False
    # Nothing waits in the lock's queue: another command's new daemon could be before it there.
    while is_locked(path) and lock_holder(path) in {None, pid}:
        waited = time.monotonic() - began
        if waited > STOP_TIMEOUT:
            advice = f"  To end it at once, which loses no recorded message: kill -KILL {pid}"
            raise Refused(f"port42d (pid {pid}) was told to stop and is still there", advice)
        if waited > SLOW and not told:
            notice(f"Waiting for port42d (pid {pid}) to end its turns and stop.")
            told = True
        time.sleep(LOOK_EVERY)


def wait_for_lock(lock: int, operation: int, timeout: float, on_slow: Callable[[], None]) -> bool:
    """Take an flock; False after `timeout` seconds. `on_slow` is called after `SLOW` seconds."""
    # flock has no time-out; a thread that is left waiting goes with this process.
    waiting = threading.Thread(target=fcntl.flock, args=(lock, operation), daemon=True)
    waiting.start()
    waiting.join(min(SLOW, timeout))
    if waiting.is_alive() and timeout > SLOW:
        on_slow()
        waiting.join(timeout - SLOW)
    return not waiting.is_alive()


def is_locked(path: Path) -> bool:
    try:
        lock = os.open(path, _OPEN)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def lock_holder(path: Path) -> int | None:
    """The process that holds a lock file, as this machine's kernel knows it; None when it knows none."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    for line in locks.splitlines():
        # "1: FLOCK  ADVISORY  WRITE 4711 fe:01:42 0 EOF". Who only waits has an arrow before FLOCK, and a
        # process of another pid namespace has the pid 0.
        match line.split():
            case [_, "FLOCK", _, _, pid, file, *_] if file.rpartition(":")[2] == str(inode) and int(pid) > 0:
                return int(pid)
    return None


def is_daemon(pid: int) -> bool:
    """Whether that process is a port42d here: a pid that a container's daemon wrote is another process's."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        ps = ["/bin/ps", "-o", "command=", "-p", str(pid)]
        command = subprocess.run(ps, check=False, capture_output=True).stdout
    except OSError:
        return False
    return b"port42" in command
