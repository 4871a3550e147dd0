"""Where things are: Port42's home and the socket's address. Asks platformdirs and the password
database; touches nothing else."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import TYPE_CHECKING

# Imported by the functions that give paths: a command that finds its daemon needs none of it (3 ms).
if TYPE_CHECKING:
    from pathlib import Path

SOCKET_PATH_LIMIT = 103
"""Bytes of a socket path that every supported system takes: macOS 103, Linux 107 (`sun_path`)."""


ADDRESS_FILE = "daemon.json"
"""In the home: the running daemon's pid and socket, for clients whose runtime folder differs."""


def home(environ: Mapping[str, str]) -> Path:
    """``PORT42_HOME``, or ``~/.port42``."""
    from pathlib import Path

    return Path(home_folder(environ))


def home_folder(environ: Mapping[str, str]) -> str:
    """As `home`, as text."""
    return absolute(environ.get("PORT42_HOME") or os.path.expanduser("~/.port42"))  # noqa: PTH111 - see above


def absolute(path: str) -> str:
    """`path` from the root on. Not normalised: `..` behind a link is another folder than it seems."""
    return path if path.startswith("/") else os.path.join(os.getcwd(), path)  # noqa: PTH109 - see above


def socket(environ: Mapping[str, str]) -> Path:
    """``PORT42_SOCKET``, or the platformdirs runtime path.

    A home that is not the account's own (``PORT42_HOME``, another ``HOME``) gets a socket of its own:
    with one address for all homes a call meant for one would be answered out of another. Raises
    PermissionError when the runtime folder belongs to somebody else (platformdirs checks that).
    """
    from pathlib import Path

    if named := environ.get("PORT42_SOCKET"):
        return Path(named).absolute()
    # Imported here because the commands that name their socket never need it (7 ms of start-up).
    import platformdirs

    folder = Path(platformdirs.user_runtime_dir("port42", appauthor=False))
    if home(environ) == _account_folder() / ".port42":
        return folder / "port42.sock"
    import hashlib

    mark = hashlib.sha256(bytes(home(environ))).hexdigest()[:12]
    return folder / f"port42-{mark}.sock"


def _account_folder() -> Path:
    """The user's folder as the password database has it: ``HOME`` is whatever a script made of it."""
    from pathlib import Path

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a container's uid without an entry
        return Path.home()


def address_file(home: Path) -> Path:
    """`ADDRESS_FILE` in that home."""
    return home / ADDRESS_FILE


def lock_file(home: Path) -> Path:
    """Locked for the daemon's whole life; one daemon a home."""
    return home / "daemon.lock"


def log_file(home: Path) -> Path:
    """What a daemon in the background writes."""
    return home / "daemon.log"
