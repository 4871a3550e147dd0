"""The state of the service, from its supervisor and its daemon, and its problems."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

from port42_cli.service.install import answering, planned
from port42_cli.service.supervisor import Condition, Supervisor
from port42_client import process
from port42_client.daemon import Daemon
from port42_client.errors import CommandError
from port42_protocol import __version__, paths


@dataclass(frozen=True, slots=True)
class Report(Condition):
    """The data of `service status`; `problems` is empty when the service is healthy.

    `current`: its files are what this installation would write. `version` is the running daemon's.
    """

    supervisor: str
    installed: bool
    current: bool
    this_installation: bool
    version: str | None
    cli_version: str
    socket: str
    files: tuple[str, ...]
    problems: tuple[str, ...]


def report(supervisor: Supervisor, daemon: Daemon) -> Report:
    """As things stand; starts nothing. Raises `Refused` where there is no supervisor to ask."""
    changes = planned(supervisor, daemon)
    installed = all(change.before is not None for change in changes)
    now = supervisor.condition()
    problems, version = _problems(supervisor.name, now, installed=installed), None
    if now.running:
        try:
            running = answering(daemon)
        except CommandError as error:
            problems.append(error.message)
        else:
            if running.pid == now.pid:
                version = running.version
            else:
                problems.append(f"pid {running.pid} answers at the socket, and it is not the service's")
    # Seen by its lock: a connection would start the service.
    if installed and not now.running and process.is_locked(paths.lock_file(daemon.home)):
        problems.append(f"another daemon holds {daemon.home}: port42 service install takes over")
    if version not in {None, __version__}:
        problems.append(f"port42d {version} runs, and this is {__version__}: port42 daemon restart")
    return Report(
        **asdict(now),
        supervisor=supervisor.name,
        installed=installed,
        current=all(change.kind == "keep" for change in changes),
        this_installation=bool(now.program and now.program.startswith(sys.executable + " ")),
        version=version,
        cli_version=__version__,
        socket=daemon.address(),
        files=tuple(str(change.path) for change in changes if change.before is not None),
        problems=tuple(problems),
    )


def _problems(name: str, now: Condition, *, installed: bool) -> list[str]:
    if not installed:
        return ["not installed: port42 service install"]
    problems = []
    if not now.enabled:
        problems.append("not enabled, so nothing starts it at a login: port42 service install")
    if not now.listening:
        problems.append(f"{name} does not hold its socket: port42 service install")
    if now.failed:
        problems.append(f"{now.failed}; port42 service logs says more")
    return problems
