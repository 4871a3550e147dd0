"""What an editor is shown of a session."""

from __future__ import annotations

import asyncio

import pytest

from port42_acp.session import Session
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError


class Shown:
    """The editor: what it is sent."""

    def __init__(self):
        self.updates = []

    def update(self, _session_id, update):
        self.updates.append(update)

    async def drained(self):
        return


class Refusing:
    """A connection on which nothing can be done."""

    ended: asyncio.Future

    async def call(self, _method, _params):
        raise DaemonError(-32000, "the daemon is busy")


def test_a_session_that_cannot_be_shown_again_goes_on_where_it_was(tmp_path):
    async def work():
        shown, connection = Shown(), Refusing()
        connection.ended = asyncio.get_running_loop().create_future()
        session = Session(shown, Daemon(None, {"PORT42_HOME": str(tmp_path)}), "cli-1", "ada", "/tmp")
        session._connection, session.seen = connection, 3
        with pytest.raises(DaemonError):
            await session.show_again()
        await session._on_event(connection, {"kind": "text", "session_id": "cli-1", "text": "hello"})
        return session.seen, [update["content"]["text"] for update in shown.updates]

    assert asyncio.run(work()) == (3, ["hello"])
