"""`port42 du`: disk usage."""

from __future__ import annotations

import click

from port42_cli import streams, views
from port42_cli.completion import complete
from port42_client.client import Client, decode
from port42_client.daemon import Daemon


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON: exact bytes.")
@click.pass_obj
def du(daemon: Daemon, agent: str | None, as_json: bool) -> None:
    """Show how much disk is used.

    Each agent's sessions and trash, the index, logs and backups.
    """
    with Client(daemon.connect) as client:
        answer = client.ask("disk_usage", {"agent": agent} if agent else {})
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import disk_usage as view
    from port42_protocol.messages.doctor_and_stats import Usage

    views.show(view.usage(decode(Usage, answer)))
