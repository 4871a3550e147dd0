"""`port42 daemon …`: run, start and stop the daemon, and show its log."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from socket import socket
from typing import BinaryIO

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.service import here
from port42_cli.service.supervisor import Supervisor
from port42_client import process
from port42_client.daemon import Daemon
from port42_client.errors import Refused
from port42_protocol import paths
from port42_protocol.counting import count
from port42_protocol.messages.types import StartedBy

LOOK_EVERY = 0.2
"""Seconds between looks at a log that is followed: no system call waits for a rename portably."""


@click.group()
def daemon() -> None:
    """Run, start and stop the daemon, and print its log.

    Other commands start it by themselves.
    """


@daemon.command()
@click.pass_obj
def run(port42d: Daemon) -> None:
    """Run the daemon in the foreground until Ctrl-C; it logs to stderr."""
    argv = port42d.command()
    os.execv(argv[0], argv)  # noqa: S606 - a daemon needs no shell around it


@daemon.command()
@click.pass_obj
def start(port42d: Daemon) -> None:
    """Start the daemon in the background; when it runs already, say so."""
    _start(port42d)


@daemon.command()
@click.pass_obj
def stop(port42d: Daemon) -> None:
    """Stop the daemon and wait until it is gone.

    One that runs as a service is started again by the next command: `port42 service uninstall` ends that.
    """
    if not _stop(port42d):
        streams.banner("port42d is not running")


@daemon.command()
@click.pass_obj
def restart(port42d: Daemon) -> None:
    """Stop the daemon, if there is one, and start it; a service is restarted by what runs it."""
    holder = port42d.holder()
    if holder and (supervisor := _run_by(holder[0])):
        supervisor.restart()
        _print_pid(port42d, port42d.existing, f"restarted by {supervisor.name}")
        return
    # One that commands may replace by themselves stays one.
    by_itself = port42d.note().started_by == "autostart"
    _stop(port42d)
    _start(port42d, "autostart" if by_itself else "hand")


@daemon.command()
@click.pass_obj
def reload(port42d: Daemon) -> None:
    """Have the daemon reload config.toml, and show what is invalid in it.

    It also reloads a changed file automatically when it needs it next.
    """
    with port42d.client(port42d.existing) as client:
        there = client.ask("reload_config")
    agents, backends = count(there["agents"], "agent"), count(there["backends"], "back end")
    streams.banner(f"config.toml was reloaded: {agents}, {backends}")


@daemon.command()
@click.option("-f", "--follow", is_flag=True, help="Follow new lines, until Ctrl-C.")
@_shared.lines
@click.pass_obj
def logs(port42d: Daemon, follow: bool, lines: int) -> None:
    """Print the end of the log of the daemon in the background."""
    path = paths.log_file(port42d.home)
    if not path.is_file():  # a FIFO in its place would keep us waiting
        raise Refused(f"no log at {path}: only a daemon in the background writes one")
    with path.open("rb") as log:
        end = deque(log, maxlen=lines)
        streams.raw_lines(chain(end, following(log, path)) if follow else end)


def _start(port42d: Daemon, started_by: StartedBy = "hand") -> None:
    if running := port42d.running():
        streams.banner(f"port42d is running already (pid {running.pid})")
        return
    if (supervisor := here()).serves(port42d.address()):
        supervisor.start((), anew=True)
        _print_pid(port42d, port42d.existing, f"started by {supervisor.name}")
    else:
        _print_pid(port42d, lambda: port42d.start(started_by), "started")


def _print_pid(port42d: Daemon, connect: Callable[[], socket], what: str) -> None:
    with port42d.client(connect) as client:
        streams.banner(f"port42d {what} (pid {client.ask('status')['pid']})")


def _stop(port42d: Daemon) -> bool:
    """Stop the daemon and wait for its end. False when there was none."""
    if (holder := port42d.holder()) is None:
        return False
    pid, home = holder
    supervisor = _run_by(pid)
    if supervisor:
        supervisor.stop()
    else:
        process.stop(pid, home, port42d.notice)
    streams.banner(f"port42d stopped (pid {pid})")
    if supervisor:
        again = f"{supervisor.name} starts it again at the next connection"
        streams.notice(f"{again}; to end that: port42 service uninstall")
    return True


def _run_by(pid: int) -> Supervisor | None:
    """The supervisor that runs the daemon `pid` as a service, None without one."""
    supervisor = here()
    return supervisor if supervisor.pid() == pid else None


def following(log: BinaryIO, path: Path) -> Iterator[bytes]:
    """New lines of `log`, then of the file that replaces it at `path`; never ends."""
    try:
        while True:
            yield from log
            if not _replaced(log, path):
                time.sleep(LOOK_EVERY)
                continue
            # The last lines may have come between our last look and the rename.
            yield from log
            log.close()
            log = path.open("rb")
    finally:
        log.close()


def _replaced(log: BinaryIO, path: Path) -> bool:
    """Whether another file stands at `path` now, or the same one was emptied."""
    try:
        there, ours = path.stat(), os.fstat(log.fileno())
    except FileNotFoundError:
        return False  # between the rename and the new file
    return not os.path.samestat(there, ours) or there.st_size < log.tell()
