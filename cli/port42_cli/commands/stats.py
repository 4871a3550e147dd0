"""`port42 stats`: how much was said, what it cost, and when."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_client.client import Client, decode
from port42_client.daemon import Daemon


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option("--days", type=click.IntRange(1, 3660), metavar="N", help="Only the last N days, today too.")
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_obj
def stats(daemon: Daemon, agent: str | None, days: int | None, as_json: bool) -> None:
    """Show how much was said, by whom and when."""
    asked: dict[str, Any] = {"agent": agent} if agent else {}
    with Client(daemon.connect) as client:
        answer = client.ask("stats", asked if days is None else asked | {"days": days})
    if as_json:
        streams.as_json(answer)
        return
    from port42_protocol.messages.doctor_and_stats import Statistics

    found = decode(Statistics, answer)
    if not found.agents:
        streams.notice('Nothing was said yet. `port42 possess @AGENT "…"` begins a session.')
    elif streams.on_terminal():
        from port42_cli.views import stats_terminal, terminal

        terminal.show(stats_terminal.statistics(found))
    else:
        from port42_cli.views import doctor_text

        streams.lines(doctor_text.statistics(found))
    if not found.complete:
        streams.notice("Some sessions are still to be read: these figures will grow.")
