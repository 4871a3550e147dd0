"""The state of the service, from its supervisor and its daemon, and its problems."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

from port42_cli.service import files
from port42_cli.service.install import answering, target
from port42_cli.service.supervisor import Condition, Supervisor
from port42_client import process
from port42_client.daemon import Daemon
from port42_client.errors import CommandError
from port42_client.process import Running
from port42_protocol import paths
from port42_protocol.version import __version__


@dataclass(frozen=True, slots=True)
class Report(Condition):
    """The data of `service status`; `problems` is empty when the service is healthy."""

    supervisor: str
    installed: bool
    current: bool
    """Whether its files are what this installation would write."""
    this_installation: bool
    version: str | None
    """Of the daemon that runs; this command's is `cli_version`."""
    cli_version: str
    socket: str
    files: tuple[str, ...]
    problems: tuple[str, ...]


def report(supervisor: Supervisor, daemon: Daemon) -> Report:
    """As things stand; starts nothing. Raises `Refused` where there is no supervisor to ask."""
    changes = files.to_write(supervisor.files(target(daemon)))
    installed = all(change.before is not None for change in changes)
    now = supervisor.condition()
    answer, problems = _answer(now, daemon), list(_problems(supervisor.name, now, installed=installed))
    if isinstance(answer, str):
        problems.append(answer)
        answer = None
    # Seen by its lock: a connection would start the service.
    if installed and not now.running and process.is_locked(paths.lock_file(daemon.home)):
        problems.append(f"another daemon holds {daemon.home}: port42 service install takes over")
    version = answer.version if answer else None
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


def _answer(now: Condition, daemon: Daemon) -> Running | str | None:
    if not now.running:
        return None
    try:
        running = answering(daemon)
    except CommandError as error:
        return error.message
    if running.pid != now.pid:
        return f"pid {running.pid} answers at the socket, and it is not the service's"
    return running
