"""The folder a command is typed in, as a session keeps it."""

from __future__ import annotations

import os

from port42_client.errors import BadInput

LIMIT = 4096
"""Characters of a path that a session keeps."""


def sendable(host: str | None = None) -> str | None:
    """The current folder, None where it was deleted or its name is not one line of text.

    `host` is the machine that the session is on, None for this one: elsewhere it would be another folder.
    """
    if host is not None:
        return None
    try:
        folder = os.getcwd()  # noqa: PTH109 - pathlib costs a command 3 ms of start-up
        folder.encode()
    except (OSError, UnicodeEncodeError):
        return None
    return folder if "\n" not in folder and len(folder) <= LIMIT else None


def here(host: str | None) -> str:
    """The current folder, for ``--here``. Raises `BadInput` where no session can have it.

    `host` is the machine of the sessions, None for this one.
    """
    if host is not None:
        raise BadInput(f"--here: the current folder is on this machine, and the sessions are on {host}")
    if folder := sendable():
        return folder
    raise BadInput("--here: expected a folder that still exists and whose path is one line of text")
