"""Turns errors of the disk and of SQLite into `StorageFailed`, with the failed action and without a path."""

from __future__ import annotations

import logging
import os
import sqlite3
from types import TracebackType

from port42_daemon import durable
from port42_protocol.errors import StorageFailed

log = logging.getLogger(__name__)

_MOVED = "the home was moved or removed; `port42 daemon restart` begins where it is now"


class storage:  # noqa: N801  # used like a function: `with storage("read session cli-1"):`
    """Raises `StorageFailed` in place of OSError and sqlite3.Error.

    A class, because it is used at every append: a generator costs three times as much.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, OSError | sqlite3.Error):
            log.error("cannot %s: %s", self._doing, error)
            raise StorageFailed(f"cannot {self._doing}: {_reason(error)}") from error


def _reason(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, durable.FolderRefused | durable.NotReadable):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return _MOVED  # a session that is gone is `SessionNotFound`: what is missing here is a folder
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno else "the disk refused"
    return "the index failed"
