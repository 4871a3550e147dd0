"""Errors of the disk and of SQLite as they leave the store: `StorageFailed`, without a path."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from port42_daemon.durable import FolderRefused
from port42_daemon.store.session_file.errors import storage
from port42_protocol.errors import SessionNotFound, StorageFailed


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (OSError(errno.ENOSPC, "x", "/secret/place"), "cannot read it: no space left on device"),
        (OSError("/secret/place"), "cannot read it: the disk refused"),
        (sqlite3.OperationalError("/secret/place"), "cannot read it: the index failed"),
        (FolderRefused("home is not a folder"), "cannot read it: home is not a folder"),
    ],
)
def test_message(raised, message):
    with pytest.raises(StorageFailed) as refused, storage("read it"):
        raise raised
    assert refused.value.message == message
    assert refused.value.__cause__ is raised


def test_other_errors_are_not_changed():
    with pytest.raises(SessionNotFound), storage("read it"):
        raise SessionNotFound("cli-1")
    with pytest.raises(ZeroDivisionError), storage("read it"):
        raise ZeroDivisionError
