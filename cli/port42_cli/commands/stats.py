"""`port42 stats`: how much was said, what it cost, and when."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import completing, output
from port42_cli.autostart import Daemon
from port42_cli.client import Client, decode


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=completing.agents)
@click.option("--days", type=click.IntRange(1, 3660), metavar="N", help="Only the last N days, today too.")
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_obj
def stats(daemon: Daemon, agent: str | None, days: int | None, as_json: bool) -> None:
    """Show how much was said, by whom and when."""
    asked: dict[str, Any] = {"agent": agent} if agent else {}
    with Client(daemon.connect) as client:
        answer = client.ask("stats", asked if days is None else asked | {"days": days})
    if as_json:
        output.as_json(answer)
        return
    from port42_protocol.messages import Statistics

    found = decode(Statistics, answer)
    if not found.agents:
        output.notice('Nothing was said yet. `port42 possess @AGENT "…"` begins a session.')
    elif output.on_terminal():
        from port42_cli import render, render_stats

        render.show(render_stats.statistics(found))
    else:
        from port42_cli import plain_care

        output.lines(plain_care.statistics(found))
    if not found.complete:
        output.notice("Some sessions are still to be read: these figures will grow.")
