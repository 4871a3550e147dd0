"""`port42 status`: the daemon itself, once or watched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import isnan

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_client.client import decode
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
@_shared.as_json("The daemon's answer as JSON.")
@click.pass_obj
def status(daemon: Daemon, watch: float | None, as_json: bool) -> None:
    """Show the daemon: version, clients, latency, errors.

    What it is, serves and holds, how long its methods take, what went wrong.

    Bars reach from the left to the median, thinner to the 90th, thinnest to the 99th percentile. A turn
    counts as a whole, with its place in the queue and the time its back end takes. Watched at a terminal
    it is drawn again in its place; piped, or with --json, each time is a line of JSON. It ends with Ctrl-C
    (exit code 130), and goes on with the next daemon when this one is restarted.
    """
    if watch is not None and isnan(watch):  # which no range of click's keeps out
        raise click.UsageError("--watch: expected a number of seconds, got nan")
    answers = _statuses(daemon, watch)
    if watch is not None and (as_json or not streams.on_terminal()):
        for answer in answers:
            streams.json_line(answer)
    elif as_json:
        streams.as_json(next(answers))
    else:
        from port42_cli.views import status as view
        from port42_protocol.messages.daemon import DaemonStatus

        drawings = (view.status(decode(DaemonStatus, answer)) for answer in answers)
        if watch is None:
            views.show(next(drawings))
        else:
            from port42_cli.views import rich_printer

            rich_printer.redraw(drawings)


def _statuses(daemon: Daemon, seconds: float | None) -> Iterator[object]:
    """The answer to `status`, now and every so many seconds (None: only now), over the ends of daemons.

    Only the first call may start a daemon. Raises `NoDaemon` when a daemon is there and does not answer.
    """
    with daemon.client() as client:
        yield client.ask("status")
    if seconds is None:
        return
    with daemon.client(daemon.existing) as client:
        time.sleep(seconds)
        while True:
            try:
                answer = client.ask("status")
            except NoDaemon:
                if daemon.listens():
                    raise
                daemon.await_next()
                continue
            yield answer
            time.sleep(seconds)
