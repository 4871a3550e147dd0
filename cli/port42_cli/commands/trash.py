"""`port42 trash`: what could be restored, the latest first."""

from __future__ import annotations

import click

from port42_cli import streams
from port42_cli.commands._trash_pages import everything
from port42_cli.completion import complete
from port42_client.client import Client, decode
from port42_client.daemon import Daemon


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON, in the form of list_trash.")
@click.pass_obj
def trash(daemon: Daemon, agent: str | None, as_json: bool) -> None:
    """List what is in the trash, the latest first."""
    with Client(daemon.connect) as client:
        page = {"sessions": everything(client, agent), "next_cursor": None}
    if as_json:
        streams.as_json(page)
        return
    from port42_protocol.messages.forks_and_trash import TrashPage

    found = decode(TrashPage, page).sessions
    if not found:
        streams.notice("The trash is empty.")
    elif streams.on_terminal():
        from port42_cli.views import forks_terminal, terminal

        terminal.show(forks_terminal.trash(found, streams.now()))
    else:
        from port42_cli import plain_text

        streams.lines(plain_text.trash(found))
