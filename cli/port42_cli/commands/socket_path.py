"""`port42 socket-path`: the address for `socat`, `nc -U` and whatever else speaks JSON-RPC."""

from __future__ import annotations

import click

from port42_cli import streams
from port42_client.daemon import Daemon


@click.command("socket-path")
@click.pass_obj
def socket_path(daemon: Daemon) -> None:
    """Print where the daemon listens, or would.

    Nothing is started.
    """
    if connection := daemon.find():
        with connection:
            streams.lines([connection.getpeername()])
    else:
        streams.lines([daemon.address()])
