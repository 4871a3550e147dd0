"""`port42 du`: what takes how much room."""

from __future__ import annotations

import click

from port42_cli import completing, output
from port42_cli.autostart import Daemon
from port42_cli.client import Client, decode


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=completing.agents)
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON: exact bytes.")
@click.pass_obj
def du(daemon: Daemon, agent: str | None, as_json: bool) -> None:
    """Show what takes how much room.

    Each agent's sessions and trash, the index, logs and backups.
    """
    with Client(daemon.connect) as client:
        answer = client.ask("disk_usage", {"agent": agent} if agent else {})
    if as_json:
        output.as_json(answer)
        return
    from port42_protocol.messages import Usage

    found = decode(Usage, answer)
    if output.on_terminal():
        from port42_cli import render, render_care

        render.show(render_care.usage(found))
    else:
        from port42_cli import plain_care

        output.lines(plain_care.usage(found))
