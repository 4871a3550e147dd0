"""What leaves the store when the disk or SQLite refuses: one error, in words, without a path."""

from __future__ import annotations

import errno
import sqlite3

import pytest

from port42_daemon.durable import FolderRefused
from port42_daemon.store.session_file.errors import storage
from port42_protocol.errors import SessionNotFound, StorageFailed


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError(errno.ENOSPC, "x", "/secret/place"), "cannot read it: no space left on device"),
        (OSError("/secret/place"), "cannot read it: the disk refused"),
        (sqlite3.OperationalError("/secret/place"), "cannot read it: the index failed"),
        (FolderRefused("home is not a folder"), "cannot read it: home is not a folder"),
    ],
)
def test_what_is_said(raised, said):
    with pytest.raises(StorageFailed) as refused, storage("read it"):
        raise raised
    assert refused.value.message == said
    assert refused.value.__cause__ is raised


def test_other_errors_pass():
    with pytest.raises(SessionNotFound), storage("read it"):
        raise SessionNotFound("cli-1")
    with pytest.raises(ZeroDivisionError), storage("read it"):
        raise ZeroDivisionError
