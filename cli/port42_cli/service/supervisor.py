"""The interface of a supervisor, for `install`, `uninstall` and `status`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from port42_client.errors import Refused

MARK = "Written by `port42 service install`"
"""Marks every file of the service, so that files of others are not replaced or removed."""

PATIENCE = 60.0
"""Seconds that systemctl or launchctl may take; starting the daemon takes a second."""


@dataclass(frozen=True, slots=True)
class ServiceTarget:
    """The daemon of this installation for one home: absolute argv, socket, home, and the ``PATH`` with which
    the daemon finds the programs that answer.
    """

    program: tuple[str, ...]
    address: str
    home: Path
    search_path: str


@dataclass(frozen=True, slots=True)
class Condition:
    """The service as its supervisor sees it. None is: does not apply, or is not known.

    `listening`: its socket is held, so that a connection starts it. `since` is RFC 3339. `program` is the
    argv in force, separated by spaces. `failed` is why it does not run, where it should.
    """

    enabled: bool
    listening: bool
    running: bool
    pid: int | None
    since: str | None
    program: str | None
    failed: str | None
    watchdog: str | None
    linger: bool | None


class Supervisor(Protocol):
    """systemd's manager of this user, or launchd. Methods raise `Refused` with what it said."""

    name: str
    paths: tuple[Path, ...]
    """The paths of the service's files, existing or not."""

    def missing(self) -> tuple[str, ...]:
        """Why it cannot be used here, then what to do, a line each; empty when it can."""

    def files(self, target: ServiceTarget) -> dict[Path, str]:
        """The files to be written. Raises `Refused` when a path cannot be expressed in such a file."""

    def start(self, changed: Collection[Path], *, anew: bool) -> None:
        """Load the files that changed, and run the daemon from now on and after a login.

        `anew` gives up a socket that is held, too. Returns when the daemon is ready, where that is known.
        """

    def stop(self) -> None:
        """Stop the daemon; a socket that is held stays, and the next connection starts it again."""

    def restart(self) -> None: ...

    def release(self) -> None:
        """Stop the daemon and release its socket; it still starts at the next login."""

    def disable(self) -> None:
        """Stop the daemon, release its socket, and do not start it again."""

    def forget(self) -> None:
        """Reload after the files were removed."""

    def pid(self) -> int | None:
        """The daemon's process, None when this supervisor runs none."""

    def serves(self, address: str) -> bool:
        """Whether it is set to run the daemon of that address, and can."""

    def condition(self) -> Condition:
        """The current state. Starts nothing."""

    def notices(self) -> list[str]:
        """Notes to show after the installation, a line each."""

    def log_command(self, lines: int, *, follow: bool) -> list[str] | None:
        """The argv that prints its log; None where that is the home's own file."""


def missing_keys(names: Collection[str]) -> list[str]:
    """A line for each key of a built-in agent that this shell has and that is not among `names`."""
    return [
        f"{key} is set here and not in the service; docs/service.md says how agents get at a key there"
        for key in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
        if os.environ.get(key) and key not in names
    ]


def run_tool(
    *command: str, env: dict[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a supervisor's tool. Raises `Refused` where it cannot run and, with `check`, where it fails."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env=env,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{command[0]} did not come back within {PATIENCE:.0f} s") from None
    except OSError as error:
        raise Refused(f"{command[0]} cannot be run: {error.strerror}") from None
    if check and done.returncode:
        why = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise Refused(f"{' '.join(command)}: {why}")
    return done
