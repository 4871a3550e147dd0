"""A daemon asked what it is, told to stop, and waited for."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon, Refused
from port42_protocol import paths

STOP_TIMEOUT = 30.0
"""Seconds a daemon may take to end its turns and leave."""


def status(found: Daemon) -> dict[str, Any] | None:
    """What the daemon says of itself, None when there is none."""
    connection = found.find()
    if connection is None:
        return None
    connection.close()
    with Client(found.existing) as client:
        said: dict[str, Any] = client.ask("status")
    return said


def running(found: Daemon) -> dict[str, Any] | None:
    """As `status`; None also when the daemon was stopping already and is gone now."""
    try:
        return status(found)
    except NoDaemon:
        if found.find() is None:
            return None
        raise


def stop(said: dict[str, Any]) -> None:
    """Stop the daemon whose `status` this is and wait for its end. Raises `Refused` when it stays."""
    with suppress(ProcessLookupError):  # it may go by itself meanwhile
        os.kill(said["pid"], signal.SIGTERM)
    await_end(said)


def await_end(said: dict[str, Any]) -> None:
    """Wait until the daemon that was told to stop is gone. Raises `Refused` after `STOP_TIMEOUT`."""
    if not _ended(paths.lock_file(Path(said["home"]))):
        raise Refused(f"port42d (pid {said['pid']}) was told to stop and is still there")


def _ended(lock: Path) -> bool:
    """Wait for the lock that a daemon holds for its whole life. False after `STOP_TIMEOUT`."""
    import fcntl
    import threading

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
