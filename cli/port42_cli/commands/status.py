"""`port42 status`: the daemon itself, once or watched."""

from __future__ import annotations

from math import isnan

import click

from port42_cli import streams, views
from port42_client.client import Client, decode
from port42_client.daemon import Daemon


@click.command()
@click.option(
    "--watch",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1, max=86_400),
    metavar="[SECONDS]",
    help="Go on, every 2 seconds or as many as are given, until Ctrl-C.",
)
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_obj
def status(daemon: Daemon, watch: float | None, as_json: bool) -> None:
    """Show the daemon: version, clients, latency, errors.

    What it is, serves and holds, how long its methods take, what went wrong.

    Bars reach from the left to the median, thinner to the 90th, thinnest to the 99th percentile. A turn
    counts as a whole, with its place in the queue and the time its back end takes. Watched at a terminal
    it is drawn again in its place; piped, or with --json, each time is a line of JSON. It ends with Ctrl-C
    (exit code 130), and goes on with the next daemon when this one is restarted.
    """
    if watch is not None:
        if isnan(watch):  # which no range of click's keeps out
            raise click.UsageError("--watch: expected a number of seconds, got nan")
        _watch(daemon, watch, drawn=streams.on_terminal() and not as_json)
        return
    with Client(daemon.connect) as client:
        answer = client.ask("status")
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import status as view
    from port42_protocol.messages.daemon import DaemonStatus

    views.show(view.status(decode(DaemonStatus, answer)))


def _watch(daemon: Daemon, seconds: float, *, drawn: bool) -> None:
    from port42_cli.conversation.watch import statuses

    if not drawn:
        for answer in statuses(daemon, seconds):
            streams.json_line(answer)
        return
    from port42_cli.views import live
    from port42_cli.views import status as view
    from port42_protocol.messages.daemon import DaemonStatus

    live.redraw(view.status(decode(DaemonStatus, answer)) for answer in statuses(daemon, seconds))
