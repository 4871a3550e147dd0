"""`port42 socket-path`: the address for `socat`, `nc -U` and whatever else speaks JSON-RPC."""

from __future__ import annotations

import click

from port42_cli import output
from port42_cli.autostart import Daemon


@click.command("socket-path")
@click.pass_obj
def socket_path(daemon: Daemon) -> None:
    """Print where the daemon listens, or would.

    Nothing is started.
    """
    if connection := daemon.find():
        with connection:
            output.lines([connection.getpeername()])
    else:
        output.lines([daemon.address()])
