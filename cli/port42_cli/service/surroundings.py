"""Why no systemd manager of this user can be reached from here, and what to do about it."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CONTAINER = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts about the machine and this shell.

    `booted`: systemd is the init that runs, as sd_booted(3) tells. `other_user`: who became this user by sudo
    or su, where that is known. `runtime_folder`: ``/run/user/UID`` is there, as while the manager runs.
    """

    systemctl: bool
    booted: bool
    wsl: bool
    container: bool
    user: str
    other_user: str | None
    runtime_folder: bool


def seen(environ: Mapping[str, str]) -> Surroundings:
    """These surroundings. Reads a few files, runs nothing."""
    try:
        release = Path("/proc/sys/kernel/osrelease").read_text(errors="replace")
    except OSError:
        release = ""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's uid without an entry
        user = str(os.geteuid())
    return Surroundings(
        systemctl=shutil.which("systemctl") is not None,
        booted=Path("/run/systemd/system").is_dir(),
        wsl="microsoft" in release.lower(),
        container=any(map(os.path.exists, _CONTAINER)) or "container" in environ,
        user=user,
        other_user=_other_user(environ, user),
        runtime_folder=Path(f"/run/user/{os.geteuid()}").is_dir(),
    )


def explained(where: Surroundings) -> tuple[str, ...]:
    """The reason, then what to do, a line each."""
    user = where.user
    if where.wsl and not where.booted:
        reason = "this looks like WSL without systemd"
        advice = "Write [boot] and systemd=true into /etc/wsl.conf, then: wsl --shutdown (in Windows)."
    elif not where.booted or not where.systemctl:
        reason = f"this looks like a {'container' if where.container else 'system'} that systemd does not run"
        advice = ""
    elif where.other_user:
        reason = f"this looks like a shell that {where.other_user} became {user} in (sudo, su)"
        advice = f"Log in as {user}, or: machinectl shell {user}@"
    elif not where.runtime_folder:
        reason = f"{user} is not logged in (cron, say, or ssh without pam_systemd)"
        advice = f"This has one run without a login, too: loginctl enable-linger {user}"
    else:
        reason = "the user manager does not answer; XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS may be wrong"
        unit = f"user@{os.geteuid()}.service"
        advice = f"It should: systemctl --user status; systemctl status {unit} says why not."
    return (
        f"there is no user manager to run a service: {reason}",
        *([advice] if advice else []),
        "Nothing needs to be done: every command starts the daemon by itself."
        " To keep one running under another supervisor, have it run `port42 daemon run`.",
    )


def _other_user(environ: Mapping[str, str], user: str) -> str | None:
    """``SUDO_USER``; else the owner of the shell's runtime folder, where that is another one."""
    named = environ.get("SUDO_USER")
    if named and named != user:
        return named
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or "/nowhere")
    if runtime.parent == Path("/run/user") and runtime.name != str(os.geteuid()):
        return f"uid {runtime.name}"
    return None
