"""`port42 daemon …`: the daemon run, started, stopped and listened to by hand."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING

import click

from port42_cli import streams
from port42_cli.plain_text import count
from port42_client import process
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import Refused
from port42_protocol import paths

if TYPE_CHECKING:
    from port42_cli.service.supervisor import Supervisor
    from port42_protocol.messages.types import StartedBy


@click.group()
def daemon() -> None:
    """Run, start, stop and listen to the daemon.

    Other commands start it by themselves.
    """


@daemon.command()
@click.pass_obj
def run(found: Daemon) -> None:
    """Run the daemon in the foreground until Ctrl-C; it logs to stderr."""
    argv = found.command()
    os.execv(argv[0], argv)  # noqa: S606 - a daemon needs no shell around it


@daemon.command()
@click.pass_obj
def start(found: Daemon) -> None:
    """Start the daemon in the background; when it runs already, say so."""
    _start(found)


@daemon.command()
@click.pass_obj
def stop(found: Daemon) -> None:
    """Stop the daemon and wait until it is gone.

    One that runs as a service is started again by the next command: `port42 service uninstall` ends that.
    """
    if not _stop(found):
        streams.banner("port42d is not running")


@daemon.command()
@click.pass_obj
def restart(found: Daemon) -> None:
    """Stop the daemon, if there is one, and start it; a service is restarted by what runs it."""
    running = found.running()
    if running and (supervisor := _run_by(running.pid)):
        supervisor.restart()
        _tell_started(found, supervisor, "restarted")
        return
    # One that commands may replace by themselves stays one.
    by_itself = found.note().started_by == "autostart"
    _stop(found)
    _start(found, "autostart" if by_itself else "hand")


@daemon.command()
@click.pass_obj
def reload(found: Daemon) -> None:
    """Have the daemon read config.toml now, and say what is wrong with it.

    It reads a changed one by itself, when it is needed next.
    """
    with Client(found.existing) as client:
        there = client.ask("reload_config")
    agents, backends = count(there["agents"], "agent"), count(there["backends"], "back end")
    streams.banner(f"config.toml is in force: {agents}, {backends}")


@daemon.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="How many.")
@click.pass_obj
def logs(found: Daemon, follow: bool, lines: int) -> None:
    """Print the end of the log of the daemon in the background."""
    from port42_cli.commands._log_file import following, last_lines

    path = paths.log_file(found.home)
    try:
        with path.open("rb") as log:
            end = last_lines(log, lines)
            streams.raw_lines(chain(end, following(log, path)) if follow else end)
    except FileNotFoundError:
        raise Refused(f"no log at {path}: only a daemon in the background writes one") from None


def _start(found: Daemon, started_by: StartedBy = "hand") -> None:
    if running := found.running():
        streams.banner(f"port42d is running already (pid {running.pid})")
        return
    from port42_cli.service import here

    if (supervisor := here()).serves(found.address()):
        supervisor.start((), anew=True)
        _tell_started(found, supervisor, "started")
        return
    with Client(lambda: found.start(started_by)) as client:
        streams.banner(f"port42d started (pid {client.ask('status')['pid']})")


def _tell_started(found: Daemon, supervisor: Supervisor, what: str) -> None:
    with Client(found.existing) as client:
        streams.banner(f"port42d {what} by {supervisor.name} (pid {client.ask('status')['pid']})")


def _stop(found: Daemon) -> bool:
    """Stop the daemon and wait for its end. False when there was none."""
    if (running := found.running()) is None:
        return False
    if supervisor := _run_by(running.pid):
        supervisor.stop()
        streams.banner(f"port42d stopped (pid {running.pid})")
        streams.notice(
            f"{supervisor.name} starts it again at the next connection; to end that: port42 service uninstall"
        )
        return True
    process.stop(running)
    streams.banner(f"port42d stopped (pid {running.pid})")
    return True


def _run_by(pid: int) -> Supervisor | None:
    """What runs the daemon `pid` as a service, None when nothing does."""
    from port42_cli.service import here

    supervisor = here()
    return supervisor if supervisor.pid() == pid else None
