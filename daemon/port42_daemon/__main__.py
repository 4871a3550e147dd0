"""`port42d`: the daemon in the foreground, as systemd, launchd, the CLI or a person starts it."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO, get_args

from port42_protocol import __version__, paths
from port42_protocol.errors import RpcError
from port42_protocol.messages.types import StartedBy


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop. Exit status: 0 stopped, 1 could not start (and why), 2 usage."""
    options = _options(argv)
    # A start makes little garbage; not looking for it before it is ready saves a seventh of its time.
    gc.disable()
    if os.getpid() == 1:
        from port42_daemon.process.reaper import reap_in_parent

        reap_in_parent()
    # Imported here: `port42d --help` and `--version` need none of the daemon.
    from port42_daemon import main as daemon
    from port42_daemon.process import socket_activation
    from port42_daemon.process.home_lock import CannotStart
    from port42_daemon.process.log import logging_to
    from port42_daemon.process.sd_notify import Supervisor
    from port42_daemon.settings import Settings

    # Files made from here on, also by libraries (the log, SQLite's files), are readable by their owner only.
    umask = os.umask(0o077)
    # On SIGABRT, from a watchdog for example, the log gets the stack of each thread.
    faulthandler.enable()
    starter, supervisor = None, Supervisor(os.environ)
    try:
        if options.ready_fd is not None:
            starter = os.fdopen(options.ready_fd, "w")
            # A command started this daemon: what supervises the command does not supervise it.
            supervisor.close()
        given = socket_activation.listener(os.environ)
        home = options.home or paths.home(os.environ)
        started_by: StartedBy = "hand"
        if given is not None:
            socket = Path(os.fsdecode(given.getsockname()))
            started_by = "launchd" if sys.platform == "darwin" else "systemd"
        else:
            socket = options.socket or paths.socket(os.environ | {"PORT42_HOME": str(home)})
        started_by = options.started_by or started_by
        if started_by == "systemd":
            umask = 0o022  # 077 is the unit's, not the person's
        settings = Settings(home.absolute(), socket.absolute(), started_by=started_by, umask=umask)
        with logging_to(options.log_file):
            daemon.run(settings, given, supervisor, partial(_tell, starter, "ready"))
    except (CannotStart, RpcError, OSError) as error:
        print(f"port42d: {error}", file=sys.stderr)  # the log may be what failed
        _tell(starter, f"error: {error}")
        return 1
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="port42d", description="Port42's session daemon.")
    parser.add_argument("--home", type=_path, help="where sessions are kept (PORT42_HOME, ~/.port42)")
    parser.add_argument(
        "--socket", type=_path, help="where to listen, unless systemd or launchd does (PORT42_SOCKET)"
    )
    parser.add_argument("--log-file", type=_path, help="log there, rotated, instead of stderr")
    parser.add_argument(
        "--started-by",
        choices=get_args(StartedBy),
        help="who starts it, unless systemd's or launchd's socket says so (hand);"
        " one of 'autostart' is replaced when the CLI is a newer one",
    )
    parser.add_argument("--ready-fd", type=int, help="write 'ready' or 'error: …' to this descriptor")
    parser.add_argument("--version", action="version", version=f"port42d {__version__}")
    return parser.parse_args(argv)


def _path(typed: str) -> Path:
    if not typed:  # of an unset variable; it would be the current folder
        raise argparse.ArgumentTypeError("expected a path, got an empty text")
    return Path(typed)


def _tell(starter: TextIO | None, line: str) -> None:
    """Tell the process that started this one, unless it was told already or has ended."""
    if starter is not None and not starter.closed:
        with contextlib.suppress(OSError), starter:
            os.write(starter.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
