"""Checks of Port42's home without a daemon, when none answers and none can be started."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from port42_client import process
from port42_client.daemon import Daemon
from port42_client.dial import dial
from port42_client.errors import NoDaemon, Refused
from port42_protocol import paths
from port42_protocol.messages.doctor_and_stats import Finding

_ok = partial(Finding, "ok")
_problem = partial(Finding, "problem")
_FOLDERS = ("sessions", "trash", "backups")
_FILES = ("agent_sessions.json", "config.toml", "daemon.lock", "start.lock", "daemon.json", "daemon.log")
_LITTLE = 1024 * 1024
"""Bytes free with which no daemon starts."""


def look(daemon: Daemon, why: NoDaemon) -> list[Finding]:
    """Why there is no daemon, and what prevents its start."""
    findings = [_problem("daemon", why.message, "what follows may say why; then run this again")]
    if owner := daemon.owner():
        what = f"{daemon.home} belongs to {owner}, and this command runs as another user"
        return [*findings, _problem("home", what, f"run port42 as {owner}, without sudo, or set PORT42_HOME")]
    return [*findings, *_home(daemon.home), *_lock(daemon), *_socket(daemon)]


def _home(home: Path) -> Iterator[Finding]:
    try:
        status = home.stat()
    except FileNotFoundError:
        yield _ok("home", f"{home} is not there yet; a daemon makes it")
        return
    except OSError as error:
        what = f"{home} cannot be looked at: {_reason(error)}"
        yield _problem("home", what, "look at the folders above it")
        return
    if paths.is_shared(home):
        # To close it would be the wrong advice.
        yield _problem("home", f"{home} is a folder that others need", "name another with PORT42_HOME")
    elif stat.S_ISDIR(status.st_mode):
        wrong = [*_access(home, status), *_disk(home), *_inside(home)]
        yield from wrong or [_ok("home", f"{home} is yours and can be written")]
    else:
        yield _problem("home", f"{home} is not a folder", "move it away, or name another with PORT42_HOME")


def _inside(home: Path) -> Iterator[Finding]:
    for name in (*_FOLDERS, *_FILES):
        path = home / name
        try:
            status = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                yield _problem("home", f"{path} is a link to what is not there", "move it away")
            continue
        except OSError as error:
            do = "move it away" if path.is_symlink() else f"chmod 700 {home}"
            yield _problem("home", f"{path} cannot be looked at: {_reason(error)}", do)
            continue
        is_right, wanted = (stat.S_ISDIR, "folder") if name in _FOLDERS else (stat.S_ISREG, "file")
        if is_right(status.st_mode):
            yield from _access(path, status)
        else:
            yield _problem("home", f"{path} is not a {wanted}", "move it away")


def _access(path: Path, status: os.stat_result) -> Iterator[Finding]:
    """Whether it belongs to this user, only, and can be read and written."""
    folder, mode = stat.S_ISDIR(status.st_mode), stat.S_IMODE(status.st_mode)
    do = f"chmod {'700' if folder else '600'} {path}"
    if status.st_uid != os.geteuid():
        what = f"{path} belongs to another user (uid {status.st_uid})"
        yield _problem("permissions", what, "move it away, or have its owner or root give it to you")
    elif not os.access(path, os.R_OK | os.W_OK | (os.X_OK if folder else 0)):
        yield _problem("permissions", f"{path} cannot be read and written (mode {mode:04o})", do)
    elif mode & 0o077:
        yield _problem("permissions", f"{path} can be looked into by other users", do)


def _disk(home: Path) -> Iterator[Finding]:
    status = os.statvfs(home)
    if status.f_flag & os.ST_RDONLY:
        yield _problem("disk", "the home's disk is read-only", "mount it so that it can be written")
    elif status.f_bavail * status.f_frsize < _LITTLE:
        yield _problem("disk", "the home's disk is full", "make room there")


def _lock(daemon: Daemon) -> Iterator[Finding]:
    lock = paths.lock_file(daemon.home)
    if not process.is_locked(lock):
        yield _ok("lock", "no daemon holds the home")
        return
    try:
        holder = daemon.holder()
    except Refused as error:
        what = f"{error.message}, and no daemon answers here"
        yield _problem("lock", what, "stop it where it runs; two machines or containers cannot share a home")
        return
    if holder is not None:
        yield _problem("lock", f"pid {holder[0]} holds the home and does not answer", "port42 daemon stop")


def _socket(daemon: Daemon) -> Iterator[Finding]:
    try:
        path = Path(daemon.address())
    except NoDaemon as error:
        yield _problem("socket", error.message, "see above")
        return
    try:
        folder = path.parent.stat()
    except OSError:
        yield _ok("socket", f"{path.parent} is not there yet; a daemon makes it")
        return
    if folder.st_uid != os.geteuid() or stat.S_IMODE(folder.st_mode) & 0o077:
        what = f"the socket's folder {path.parent} is not yours alone"
        yield _problem("socket", what, f"chmod 700 {path.parent}, or name another with PORT42_SOCKET")
    if not process.is_locked(paths.lock_file(daemon.home)):
        yield _listening(path)


def _listening(path: Path) -> Finding:
    if not os.path.lexists(path):
        return _ok("socket", f"{path} is free")
    if not stat.S_ISSOCK(path.lstat().st_mode):
        do = "move it away, or name another with PORT42_SOCKET"
        return _problem("socket", f"{path} is not a socket", do)
    try:
        dial(str(path)).close()
    except ConnectionRefusedError:
        return _ok("socket", f"{path} was left by a daemon that is gone; the next one removes it")
    except NoDaemon as error:
        return _problem("socket", error.message, "name another with PORT42_SOCKET")
    except OSError as error:
        return _problem("socket", f"{path} cannot be reached: {_reason(error)}", "look at its permissions")
    return _problem("socket", f"another program listens at {path}", "end it, or name another: PORT42_SOCKET")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
