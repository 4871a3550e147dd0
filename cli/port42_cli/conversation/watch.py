"""The daemon's status, asked for again and again, over the ends of daemons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon


def statuses(daemon: Daemon, seconds: float) -> Iterator[dict[str, Any]]:
    """What `status` says now and every so many seconds from then on, without end.

    Only the first may start a daemon. Raises `NoDaemon` when one is there and cannot be asked.
    """
    with Client(daemon.connect) as client:
        yield client.ask("status")
    with Client(daemon.existing) as client:
        while True:
            time.sleep(seconds)
            yield _asked(client, daemon)


def _asked(client: Client, daemon: Daemon) -> dict[str, Any]:
    """The status, of the next daemon where this one is gone."""
    while True:
        try:
            said: dict[str, Any] = client.ask("status")
            return said
        except NoDaemon:
            if (there := daemon.find()) is not None:
                there.close()
                raise
        daemon.await_next()
