"""`port42 status`: the daemon itself, once or watched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import isnan

import click

from port42_cli import streams, views
from port42_client.client import Client, decode
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon


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
    with daemon.client() as client:
        answer = client.ask("status")
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import status as view
    from port42_protocol.messages.daemon import DaemonStatus

    views.show(view.status(decode(DaemonStatus, answer)))


def _watch(daemon: Daemon, seconds: float, *, drawn: bool) -> None:
    if not drawn:
        for answer in _statuses(daemon, seconds):
            streams.json_line(answer)
        return
    from port42_cli.views import rich_printer
    from port42_cli.views import status as view
    from port42_protocol.messages.daemon import DaemonStatus

    rich_printer.redraw(view.status(decode(DaemonStatus, answer)) for answer in _statuses(daemon, seconds))


def _statuses(daemon: Daemon, seconds: float) -> Iterator[object]:
    """The answer to `status`, now and every so many seconds, over the ends of daemons.

    Only the first call may start a daemon. Raises `NoDaemon` when a daemon is there and does not answer.
    """
    with daemon.client() as client:
        yield client.ask("status")
    with daemon.client(daemon.existing) as client:
        while True:
            time.sleep(seconds)
            yield _next_status(client, daemon)


def _next_status(client: Client, daemon: Daemon) -> object:
    """The status, of the next daemon where this one is gone."""
    while True:
        try:
            return client.ask("status")
        except NoDaemon:
            if (connection := daemon.find()) is not None:
                connection.close()
                raise
        daemon.await_next()
