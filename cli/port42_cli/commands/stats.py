"""`port42 stats`, `du`: how many messages and tokens, by whom and when; how much disk they take."""

from __future__ import annotations

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.plain_text import typed
from port42_client.client import decode, given
from port42_client.daemon import Daemon


@click.command()
@_shared.agent
@click.option("--days", type=_shared.Integer(1, 3660), metavar="N", help="Only the last N days, today too.")
@_shared.as_json("The daemon's answer as JSON.")
@click.pass_obj
def stats(daemon: Daemon, agent: str | None, days: int | None, as_json: bool) -> None:
    """Show numbers of messages and tokens, by agent and by time.

    Days and hours are in the time zone of the daemon's machine, also when piped and in JSON.
    """
    with daemon.client() as client:
        answer = client.ask("stats", given(agent=agent, days=days))
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import stats as view
    from port42_protocol.messages.doctor_and_stats import Statistics

    statistics = decode(Statistics, answer)
    if statistics.agents:
        views.show(view.statistics(statistics))
    else:
        begin = typed('possess @AGENT "…"')
        streams.notice(f"No messages yet. `{begin}` begins a session.")
    if not statistics.complete:
        streams.notice("Some sessions are still to be read: these figures will grow.")


@click.command()
@_shared.agent
@_shared.as_json("The daemon's answer as JSON: exact bytes.")
@click.pass_obj
def du(daemon: Daemon, agent: str | None, as_json: bool) -> None:
    """Show the disk usage.

    Each agent's sessions and trash, the index, logs and backups.
    """
    with daemon.client() as client:
        answer = client.ask("disk_usage", {"agent": agent})
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import disk_usage as view
    from port42_protocol.messages.doctor_and_stats import Usage

    views.show(view.usage(decode(Usage, answer)))
