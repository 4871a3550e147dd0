"""Paths of Port42's home and socket, from platformdirs and the password database; the current folder."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import TYPE_CHECKING

# Imported in the functions that return paths: most commands do not need pathlib (3 ms).
if TYPE_CHECKING:
    from pathlib import Path

SOCKET_PATH_LIMIT = 103
"""Maximum bytes of a socket path on every supported system: macOS 103, Linux 107 (`sun_path`)."""

FOLDER_LIMIT = 4096
"""Characters of a folder's path that a session keeps."""

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
    """`path` made absolute. Not normalised: `..` after a symbolic link is not the folder before it."""
    return path if path.startswith("/") else os.path.join(os.getcwd(), path)  # noqa: PTH109 - see above


def current_folder() -> str | None:
    """As a session keeps it; None where it was deleted or its path is not one line of text."""
    try:
        folder = os.getcwd()  # noqa: PTH109 - see above
        folder.encode()
    except (OSError, UnicodeEncodeError):
        return None
    return folder if "\n" not in folder and len(folder) <= FOLDER_LIMIT else None


def socket(environ: Mapping[str, str]) -> Path:
    """``PORT42_SOCKET``, or the platformdirs runtime path.

    Each home that is not the account's default (``PORT42_HOME``, another ``HOME``) has its own socket, so
    that no call is answered from another home. Raises PermissionError when the runtime folder belongs to
    another user (platformdirs checks that).
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


def read_socket(socket: str) -> str:
    """The path of the socket for reading, beside the daemon's `socket`: port42.sock → port42-read.sock."""
    stem, extension = os.path.splitext(socket)  # noqa: PTH122 - see the imports
    return f"{stem}-read{extension}"


def _account_folder() -> Path:
    """The user's home folder in the password database: scripts may have changed ``HOME``."""
    from pathlib import Path

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a container's uid without an entry
        return Path.home()


def is_shared(folder: Path) -> bool:
    """Whether others need the folder: it is above the user's own (``/``, ``/home``), or one like ``/tmp``.

    A home is closed to others, so it can be none. Raises OSError.
    """
    import stat

    real = os.path.realpath(folder)  # unlike resolve(), says nothing of links that go in a circle
    try:
        mode = os.stat(real).st_mode  # noqa: PTH116 - see the imports
    except (FileNotFoundError, NotADirectoryError):
        return False
    return bool(mode & stat.S_ISVTX) or real in map(str, _account_folder().resolve().parents)


def address_file(home: Path) -> Path:
    return home / ADDRESS_FILE


def lock_file(home: Path) -> Path:
    """Locked as long as the daemon runs: one daemon for each home."""
    return home / "daemon.lock"


def log_file(home: Path) -> Path:
    """The log of a daemon in the background."""
    return home / "daemon.log"
