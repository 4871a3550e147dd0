"""`port42 trash`: what could be restored, the latest first."""

from __future__ import annotations

import click

from port42_cli import completing, output
from port42_cli.autostart import Daemon
from port42_cli.client import Client, decode
from port42_cli.trash import everything


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=completing.agents)
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON, in the form of list_trash.")
@click.pass_obj
def trash(daemon: Daemon, agent: str | None, as_json: bool) -> None:
    """List what is in the trash, the latest first."""
    with Client(daemon.connect) as client:
        page = {"sessions": everything(client, agent), "next_cursor": None}
    if as_json:
        output.as_json(page)
        return
    from port42_protocol.messages import TrashPage

    found = decode(TrashPage, page).sessions
    if not found:
        output.notice("The trash is empty.")
    elif output.on_terminal():
        from port42_cli import render, render_families

        render.show(render_families.trash(found, output.now()))
    else:
        from port42_cli import plain

        output.lines(plain.trash(found))
