"""Installs and removes the service; a failed installation leaves everything as it was."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from port42_cli.service import files
from port42_cli.service.files import Change
from port42_cli.service.supervisor import ServiceTarget, Supervisor
from port42_client import process
from port42_client.daemon import Daemon
from port42_client.dial import dial
from port42_client.errors import CommandError, NoDaemon, Refused
from port42_client.process import Running
from port42_protocol import __version__


def planned(supervisor: Supervisor, daemon: Daemon) -> list[Change]:
    """What `install` would change, so that this installation runs as a service for this home and address."""
    # Only what a service file can hold, and what means the same in every folder.
    folders = [folder for folder in os.get_exec_path() if folder.startswith("/") and folder.isprintable()]
    target = ServiceTarget(tuple(daemon.command()), daemon.address(), daemon.home, ":".join(folders))
    return files.changes_to(supervisor.files(target))


def install(supervisor: Supervisor, daemon: Daemon, changes: Sequence[Change]) -> Running:
    """Carry out `changes`, run the daemon as a service, and return its `status`.

    Raises `CommandError` with everything as it was: files, what was started, a daemon run by hand.
    """
    before = supervisor.condition()
    # No command starts a daemon of its own meanwhile: those that find none wait, and then find this one.
    with daemon.start_lock():
        running = daemon.running()
        by_hand = running is not None and running.pid != supervisor.pid()
        files.carry_out(changes)
        try:
            if running is not None and by_hand:
                supervisor.release()
                process.stop(running.pid, daemon.home, daemon.notice)
            changed = {change.path for change in changes if change.kind != "keep"}
            supervisor.start(changed, anew=by_hand)
            return _verify(supervisor, daemon)
        except (CommandError, KeyboardInterrupt) as error:
            failure = error
            lost = _restore(supervisor, changes, again=before.enabled)
    if by_hand:
        try:
            daemon.start().close()
        except CommandError as error:
            lost.append(f"the daemon that ran before does not start: {error.message}")
    why = failure.message if isinstance(failure, CommandError) else "interrupted"
    lost = lost or ["Everything is as it was before."]
    raise Refused(f"the service did not come up: {why}", *lost) from None


def answering(daemon: Daemon) -> Running:
    """`status` of the daemon behind the service's own address, wherever others are. Raises `CommandError`."""
    address = daemon.address()

    def connect() -> socket.socket:
        try:
            return dial(address)
        except OSError as error:
            raise NoDaemon(f"cannot connect to {address}: {error.strerror or error}") from None

    return process.ask(connect, daemon.notice)


def _verify(supervisor: Supervisor, daemon: Daemon) -> Running:
    running = answering(daemon)
    if running.pid != (pid := supervisor.pid()):
        runs = f"{supervisor.name} runs {pid or 'none'}"
        raise Refused(f"pid {running.pid} answers at {running.socket}, and {runs}")
    if running.version != __version__:
        raise Refused(f"port42d {running.version} answers, and this is port42 {__version__}")
    return running


def _restore(supervisor: Supervisor, changes: Sequence[Change], *, again: bool) -> list[str]:
    """Restore the files and, with `again`, the service; returns what could not be restored."""
    lost = []
    try:
        supervisor.release() if again else supervisor.disable()
    except CommandError as error:
        lost.append(error.message)
    lost += [f"{path} could not be put back" for path in files.put_back(changes)]
    try:
        supervisor.forget()
        if again:
            supervisor.start({change.path for change in changes}, anew=True)
    except CommandError as error:
        lost.append(f"the service that was there before does not start: {error.message}")
    return lost
