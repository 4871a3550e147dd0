"""The end of a daemon that a command started, without another command: hundreds of tests end so."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
from pathlib import Path

_PATIENCE = 60.0


def stop_daemon_of(home: Path) -> None:
    """SIGTERM, and wait for the lock that a daemon holds for its whole life."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), (home / "daemon.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = json.loads((home / "daemon.json").read_bytes())["pid"]
            with contextlib.suppress(ProcessLookupError):  # it ends by itself
                os.kill(pid, signal.SIGTERM)
            # flock knows no time-out: a thread waits for it, and is left behind if it must be.
            waiting = threading.Thread(target=fcntl.flock, args=(lock, fcntl.LOCK_SH), daemon=True)
            waiting.start()
            waiting.join(_PATIENCE)
            assert not waiting.is_alive(), f"the daemon (pid {pid}) did not stop"
