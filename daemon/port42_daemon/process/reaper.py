"""Reaps orphans, such as processes that agents leave, where the daemon is PID 1, as in a container."""

from __future__ import annotations

import os
import signal

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def reap_in_parent() -> None:
    """Return in a child process, which is to be the daemon. Call before threads are started.

    This process reaps and forwards signals until that child ends, and exits as it did.
    """
    child = os.fork()
    if child == 0:
        if os.environ.get("LISTEN_PID") == "1":  # the sockets meant for us are the child's
            os.environ["LISTEN_PID"] = str(os.getpid())
        return
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
