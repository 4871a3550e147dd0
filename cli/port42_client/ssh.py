"""One ssh connection for each machine, opened by the first command and used by those after it.

It is OpenSSH's own: a master in the background (ControlMaster, ControlPersist in ssh_config(5)), whose socket
is in Port42's runtime folder. Passwords and host keys are asked for by ssh itself, at the terminal.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable

from port42_client.errors import NoDaemon
from port42_protocol import paths
from port42_protocol.hosts import SshAddress

KEPT = 600
"""Seconds that an unused connection stays open."""

_ADDED_BY_SSH = 17
"""Bytes that ssh appends to the socket's path while it makes it: a dot and 16 letters."""

_OPTIONS = (
    *("-T", "-a", "-x"),  # no terminal, no agent and no X11 there
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "RemoteCommand=none"),  # ssh_config may name one, and ours could not run
    *("-o", "LogLevel=ERROR"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=10"),  # a connection that is dead for 20 s is closed
    *("-o", "ServerAliveCountMax=2"),
)


class Unreachable(NoDaemon):
    """The machine does not answer, which may change by itself."""


def command(host: str, address: SshAddress, notice: Callable[[str], None]) -> list[str]:
    """The argv of an ssh that uses the open connection to `address`, opened first where there is none.

    What is to run there follows as one more word. Raises `NoDaemon`.
    """
    path = _socket_path(address)
    user = ["-l", address.user] if address.user else []
    port = ["-p", str(address.port)] if address.port else []
    options, where = ["ssh", *_OPTIONS, "-S", path], [*user, *port, "--", address.host]
    if not is_open(path):
        _open(host, path, [*options, "-M", "-N", "-o", f"ControlPersist={KEPT}", *where], notice)
    # BatchMode: the terminal is not this ssh's, which could ask nobody for a password.
    return [*options, "-o", "ControlMaster=no", "-o", "BatchMode=yes", *where]


def is_open(path: str) -> bool:
    """Whether a master listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect(path)
        except OSError:
            return False
    return True


def is_shared(address: SshAddress) -> bool:
    """Whether a command would find a connection to `address` open. Raises `NoDaemon`."""
    return is_open(_socket_path(address))


def _socket_path(address: SshAddress) -> str:
    import warnings

    import platformdirs

    with warnings.catch_warnings():
        # platformdirs warns when it falls back to the temporary folder, which is checked below.
        warnings.simplefilter("ignore")
        folder = platformdirs.user_runtime_dir("port42", appauthor=False)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - no pathlib on this path
        status = os.stat(folder)  # noqa: PTH116 - as above
    except OSError as error:
        raise NoDaemon(f"no folder for ssh's socket: {folder}: {error.strerror}") from None
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise NoDaemon(f"{folder}, where ssh's socket would be, is not yours alone", f"  chmod 700 {folder}")
    digest = hashlib.sha256("\n".join(map(str, address)).encode()).hexdigest()[:12]
    path = os.path.join(folder, f"ssh-{digest}")
    if len(os.fsencode(path)) + _ADDED_BY_SSH > paths.SOCKET_PATH_LIMIT:
        raise NoDaemon(
            f"the path of ssh's socket is too long: {path}; XDG_RUNTIME_DIR can name a shorter one"
        )
    return path


def _open(host: str, path: str, argv: list[str], notice: Callable[[str], None]) -> None:
    """Start the master at `path`; when this returns, it listens. One command at a time does so."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            notice(f"Waiting for another command that is connecting to {host}.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if is_open(path):
            return
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108 - of a master that was killed
        # A file and not a pipe: some versions' masters keep stderr open as long as they live.
        with tempfile.TemporaryFile() as errors:
            try:
                code = subprocess.run(
                    argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
                ).returncode
            except FileNotFoundError:
                raise NoDaemon("ssh was not found on this machine", "  Install OpenSSH's client.") from None
            errors.seek(0)
            text = errors.read(65536).decode(errors="replace")
    finally:
        os.close(lock)
    if code != 0 or not is_open(path):
        raise failure(host, text) or NoDaemon(f"ssh could not connect to {host}: {last_line(text)}")


def failure(host: str, text: str) -> NoDaemon | None:
    """Why ssh, which wrote `text`, could not connect; None where it is not said in words known here.

    The words are OpenSSH's, which are not translated.
    """
    if "Could not resolve hostname" in text:
        return Unreachable(
            f"{host} is unknown: no machine of that name was found",
            "  It may be an address, a Host of ~/.ssh/config, or a [hosts.NAME] of config.toml.",
        )
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
        return NoDaemon(
            f"the host key of {host} is not the one that ssh knows: someone may stand between",
            f"  Where it was changed on purpose, ssh-keygen -R {host} forgets the old one.",
        )
    if "Host key verification failed" in text:
        return NoDaemon(f"the host key of {host} was not accepted", f"  To see it and accept it: ssh {host}")
    if "Permission denied" in text or "Too many authentication failures" in text:
        return NoDaemon(
            f"{host} denied permission: it accepted none of your keys or passwords",
            f"  ssh {host} must work; ssh-add -l shows the keys that are offered.",
        )
    for words, what in _UNREACHABLE.items():
        if words in text:
            return Unreachable(f"{host} {what}")
    return None


_UNREACHABLE = {
    "Connection refused": "refused the connection: no ssh server listens there",
    "timed out": "did not answer in time",
    "No route to host": "cannot be reached: no route to it",
    "Network is unreachable": "cannot be reached: this machine has no network",
    "Connection closed by": "closed the connection before it was used",
    "Connection reset by": "closed the connection before it was used",
    "kex_exchange_identification": "answers, and not as an ssh server",
}


def last_line(text: str) -> str:
    """The last line of `text` that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"
