"""Checks of the daemon's environment for `check_home`: lock, socket, disk, configuration, variables.

Nothing here can be repaired automatically; each finding says what to do.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from port42_daemon.agents import BUILT_IN
from port42_daemon.backends import presets
from port42_daemon.config import AcpBackend, AnthropicBackend, CommandBackend, Config, OpenAIBackend
from port42_daemon.process import peer
from port42_daemon.process.home_lock import HomeLock, published
from port42_daemon.settings import Settings
from port42_protocol.counting import count
from port42_protocol.messages.agents import Agent
from port42_protocol.messages.doctor_and_stats import Finding
from port42_protocol.presets import ECHO

_LITTLE, _TOO_LITTLE = 1024**3, 64 * 1024**2
"""Free bytes on the home's disk below which there is a notice, and a problem."""
_FEW_FILES = 1000
_ANSWERS_WITHIN = 2.0
_ROOM = "make room there; `port42 du` shows what is ours"
_RESTART = "`port42 daemon restart`"


# --- lock, socket, disk: these block ------------------------------------------------------------


def lock(held: HomeLock) -> Finding:
    if held.is_held():
        return Finding("ok", "lock", f"held by this daemon, pid {os.getpid()}")
    what = "the home was moved or removed, or another daemon has it: this one stops"
    return Finding("problem", "lock", what, _RESTART)


def address(settings: Settings) -> list[Finding]:
    """Whether the socket is there, ours alone and answered by us, and whether `daemon.json` says so."""
    findings = list(_socket(settings.socket))
    content = published(settings.home)
    if (content.get("pid"), content.get("socket")) != (os.getpid(), str(settings.socket)):
        what = "daemon.json does not say where this daemon listens: some terminals would miss it"
        findings.append(Finding("notice", "socket", what, _RESTART))
    return findings or [Finding("ok", "socket", f"{settings.socket}, answered by this daemon")]


def _socket(path: Path) -> Iterator[Finding]:
    try:
        there, folder = path.lstat(), path.parent.stat()
    except OSError:
        yield Finding("problem", "socket", f"{path} is gone: new clients cannot reach this daemon", _RESTART)
        return
    if not stat.S_ISSOCK(there.st_mode) or not _answers(path):
        yield Finding("problem", "socket", f"{path} is not where this daemon listens", _RESTART)
    elif stat.S_IMODE(there.st_mode) & 0o077:
        yield Finding("notice", "socket", f"{path} is open to other users", f"chmod 600 {path}")
    if folder.st_uid != os.geteuid():
        what = f"the socket's folder {path.parent} belongs to another user (uid {folder.st_uid})"
        yield Finding("problem", "socket", what, "name another with PORT42_SOCKET")
    elif stat.S_IMODE(folder.st_mode) & 0o077:
        what = f"the socket's folder {path.parent} is open to other users"
        yield Finding("problem", "socket", what, f"chmod 700 {path.parent}, or the next start is refused")


def _answers(path: Path) -> bool:
    """Whether we, or whoever made the socket for us, listen at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWERS_WITHIN)
        try:
            probe.connect(str(path))
            return peer.pid(probe) in {os.getpid(), os.getppid()}
        except BlockingIOError:
            return True  # its queue is full: it listens
        except OSError:
            return False


def disk(home: Path) -> Finding:
    try:
        free = os.statvfs(home)
    except OSError as error:
        what = f"the home's disk does not say how much room it has: {os.strerror(error.errno or 0).lower()}"
        return Finding("problem", "disk", what, "see whether the disk is well")
    return room(free.f_bavail * free.f_frsize, free.f_favail if free.f_files else None)


def room(free: int, files: int | None) -> Finding:
    """The finding for so many bytes and files that could be written; None where files are not limited."""
    if files is not None and files < _FEW_FILES:
        return Finding(
            "problem", "disk", f"the home's disk has room for {count(files, 'more file')} only", _ROOM
        )
    what = f"{free / 1024**3:.1f} GiB" if free >= _LITTLE else f"{free // 1024**2} MiB"
    what += " free on the home's disk"
    if free >= _LITTLE:
        return Finding("ok", "disk", what)
    return Finding("problem" if free < _TOO_LITTLE else "notice", "disk", what, _ROOM)


# --- configuration and back ends ------------------------------------------------------------------


def config(error: str | None, current: Config, *, ever_valid: bool = True) -> Finding:
    """`ever_valid`: since the daemon started, the file has been valid, so that `current` is what it said."""
    if error:
        until = "its last valid version is used"
        if not ever_valid:
            until = "no agent answers, nothing is captured and no hub is used"
        return Finding("problem", "config", error, f"correct it; until then {until}")
    return Finding("ok", "config", f"agents: {len(current.agents)}, back ends: {len(current.backends)}")


def backends(agents: tuple[Agent, ...]) -> list[Finding]:
    """A finding for each back end that an agent uses, checked now."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for agent in agents:
        if agent.backend != "none" and not (agent.agent == ECHO and agent.source == "built-in"):
            groups.setdefault((agent.backend, agent.health, agent.detail), []).append(agent.agent)
    if not groups:
        what = "no back end: messages are recorded without a reply"
        return [Finding("ok", "backends", what, "`port42 agents connect @AGENT NAME` connects something")]
    return [_backend(*group, names) for group, names in groups.items()]


def _backend(name: str, health: str, detail: str, agents: list[str]) -> Finding:
    who = ", ".join(f"@{agent}" for agent in agents[:3])
    if len(agents) > 3:
        who += f" and {len(agents) - 3} more"
    what = f"{name}, which answers for {who}: {health.replace('_', ' ')}: {detail}"
    if health == "ready":
        return Finding("ok", "backends", what)
    do = f"correct that; `port42 agents test @{agents[0]}` checks again"
    return Finding("problem", "backends", what, do)


def environment(
    agents: tuple[Agent, ...], config: Config, named: Sequence[str], environ: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Variables that a back end needs and the caller's shell has, but the daemon lacks."""
    lacking = {name for name in named if not environ.get(name)}
    used = {agent.backend for agent in agents}
    wanted = {name: _wanted(name, config) for name in sorted({*config.backends, *used})}
    # Built-in agents without a back end would use an API key that the shell has.
    built_in = [agent for agent in agents if agent.agent in BUILT_IN and agent.source == "built-in"]
    if {agent.backend for agent in built_in} == {"none"}:
        wanted |= {name: _wanted(name, config) for name in presets.IN_ENVIRONMENT}
    findings = [
        Finding(
            level="problem" if key and name in used else "notice",
            about="environment",
            what=f"{variable} is set in this shell and not in the daemon, and {name} would use it",
            do=f"{_RESTART}, typed in this shell, takes it over",
        )
        for name, variables in wanted.items()
        for variable, key in variables.items()
        if variable in lacking
    ]
    return findings or [Finding("ok", "environment", "the daemon has what this shell has for its back ends")]


def _wanted(name: str, config: Config) -> dict[str, bool]:
    """The variables that a back end is given, and whether it cannot do without."""
    backend = presets.settings(name, config)
    if isinstance(backend, CommandBackend | AcpBackend):
        return dict.fromkeys(backend.env_pass, False)
    if isinstance(backend, OpenAIBackend | AnthropicBackend) and backend.api_key_env:
        return {backend.api_key_env: True}
    return {}
