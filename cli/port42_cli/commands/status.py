"""`port42 status`: the daemon itself."""

from __future__ import annotations

import click

from port42_cli import output
from port42_cli.autostart import Daemon
from port42_cli.client import Client


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_obj
def status(daemon: Daemon, as_json: bool) -> None:
    """Show the daemon: version, pid, socket, sessions."""
    with Client(daemon.connect) as client:
        if as_json:
            output.as_json(client.ask("status"))
            return
        from port42_protocol.messages import DaemonStatus, Status

        found = client.call(Status(), DaemonStatus)
    if output.on_terminal():
        from port42_cli import render

        render.show(render.status(found))
    else:
        from port42_cli import plain

        output.lines(plain.status(found))
