"""Why no systemd manager of this user can be reached from here, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BY_ITSELF = (
    "Nothing needs to be done: every command starts the daemon by itself."
    " To keep one running under another supervisor, have it run `port42 daemon run`."
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Facts about the machine and this shell."""

    systemctl: bool
    booted: bool
    """Whether systemd is the init that runs (sd_booted(3))."""
    wsl: bool
    container: bool
    user: str
    other_user: str | None
    """Who became this user by sudo or su, where that is known."""
    runtime_folder: bool
    """Whether ``/run/user/UID`` is there, which it is while the user's manager runs."""


def seen(environ: Mapping[str, str]) -> Surroundings:
    """These surroundings. Reads a few files, runs nothing."""
    root = Path("/")
    return Surroundings(
        systemctl=shutil.which("systemctl") is not None,
        booted=(root / "run/systemd/system").is_dir(),
        wsl="microsoft" in _text(root / "proc/sys/kernel/osrelease").lower(),
        container=any((root / sign).exists() for sign in _CONTAINER) or "container" in environ,
        user=_user(),
        other_user=_became(environ),
        runtime_folder=Path(f"/run/user/{os.geteuid()}").is_dir(),
    )


_CONTAINER = (".dockerenv", "run/.containerenv", "run/systemd/container")


def explained(where: Surroundings) -> tuple[str, ...]:
    if where.wsl and not where.booted:
        return _lines(
            "this looks like WSL without systemd",
            "Write [boot] and systemd=true into /etc/wsl.conf, then: wsl --shutdown (in Windows).",
            BY_ITSELF,
        )
    if not where.booted or not where.systemctl:
        what = "a container" if where.container else "a system"
        return _lines(f"this looks like {what} that systemd does not run", BY_ITSELF)
    if where.other_user:
        return _lines(
            f"this looks like a shell that {where.other_user} became {where.user} in (sudo, su)",
            f"Log in as {where.user}, or: machinectl shell {where.user}@",
            BY_ITSELF,
        )
    if not where.runtime_folder:
        return _lines(
            f"{where.user} is not logged in (cron, say, or ssh without pam_systemd)",
            f"This has one run without a login, too: loginctl enable-linger {where.user}",
            BY_ITSELF,
        )
    return _lines(
        "the user manager does not answer; XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS may be wrong",
        f"It should: systemctl --user status; systemctl status user@{os.geteuid()}.service says why not.",
        BY_ITSELF,
    )


def _lines(why: str, *what_to_do: str) -> tuple[str, ...]:
    return (f"there is no user manager to run a service: {why}", *what_to_do)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's uid without an entry
        return str(os.geteuid())


def _became(environ: Mapping[str, str]) -> str | None:
    """``SUDO_USER``; else the other user from whom the shell was inherited, if known."""
    named = environ.get("SUDO_USER")
    if named and named != _user():
        return named
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or "/nowhere")
    if runtime.parent == Path("/run/user") and runtime.name != str(os.geteuid()):
        return f"uid {runtime.name}"
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
