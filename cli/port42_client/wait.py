"""The daemon that comes after one that went away, waited for."""

from __future__ import annotations

import time

from port42_cli import streams
from port42_client.daemon import Daemon

_LOOK_EVERY = 0.25
"""Seconds between looks."""


def await_next(daemon: Daemon) -> None:
    """Say that it is waited for, and wait until one listens. It is not ours to start: somebody stopped
    the last, and nobody tells us when one begins."""
    streams.notice("The daemon went away. Waiting for the next one.")
    while (connection := daemon.find()) is None:
        time.sleep(_LOOK_EVERY)
    connection.close()
