"""`port42 status`: the daemon itself, once or watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import isnan
from typing import TYPE_CHECKING

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.plain_text import typed
from port42_client.client import decode
from port42_client.daemon import Daemon
from port42_client.errors import NoDaemon

if TYPE_CHECKING:
    from port42_cli.views.rich_printer import Redrawn
    from port42_protocol.messages.daemon import DaemonStatus


@click.command()
@click.option(
    "--watch",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.1, max=86_400),
    metavar="[SECONDS]",
    help="Go on, every 2 seconds or as many as are given.",
)
@click.option("--methods", is_flag=True, help="Also the latency of each method.")
@_shared.as_json("The daemon's answer as JSON.")
@click.pass_obj
def status(daemon: Daemon, watch: float | None, methods: bool, as_json: bool) -> None:
    """Show the daemon: version, clients, latency, errors.

    What it is, serves and holds, and what went wrong; with --methods, how long each method takes. Piped and
    in JSON all of it, times in UTC.

    Bars reach from the left to the median, thinner to the 90th, thinnest to the 99th percentile. A turn
    counts as a whole, with its place in the queue and the time its back end takes. Watched at a terminal
    it is drawn again in its place, the key m shows or hides the methods, and q leaves; piped, or with
    --json, each time is a line of JSON. Ctrl-C ends it, too (exit code 130). It goes on with the next
    daemon when this one is restarted.
    """
    if watch is not None and isnan(watch):  # which no range of click's keeps out
        raise click.UsageError("--watch: expected a number of seconds, got nan")
    if watch is not None and (as_json or not streams.on_terminal()):
        for answer in _statuses(daemon, _pause(watch)):
            streams.json_line(answer)
        return
    if watch is not None:
        from port42_cli.views.rich_printer import Redrawn

        with Redrawn() as screen:
            watched = _Watched(screen, watch, methods)
            for answer in _statuses(daemon, watched.wait):
                watched.show(answer)
        return
    with daemon.client() as client:
        answer = client.ask("status")
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import status as view
    from port42_protocol.messages.daemon import DaemonStatus

    facts = decode(DaemonStatus, answer)
    views.show(view.status(facts, methods=methods))
    if facts.latencies and not methods and streams.on_terminal():
        streams.notice(f"`{typed('status --methods')}` has the latency of each method.")


class _Watched:
    """The status on the screen, drawn again when there is a new one or `m` is typed."""

    def __init__(self, screen: Redrawn, seconds: float, methods: bool) -> None:
        self._screen = screen
        self._seconds = seconds
        self._methods = methods
        self._facts: DaemonStatus | None = None

    def show(self, answer: object) -> None:
        from port42_protocol.messages.daemon import DaemonStatus

        self._facts = decode(DaemonStatus, answer)
        self._draw()

    def wait(self) -> bool:
        """Wait for the next time. False when a key was typed that leaves."""
        until = time.monotonic() + self._seconds
        while (left := until - time.monotonic()) > 0:
            typed = self._screen.keys(left)
            if typed == "" or (typed and "q" in typed.lower()):
                return False
            if typed and "m" in typed.lower():
                self._methods = not self._methods
                self._draw()
        return True

    def _draw(self) -> None:
        from port42_cli.views import status as view

        if self._facts is not None:
            keys = [view.keys(methods=self._methods)] if self._screen.has_keys else []
            self._screen.show([*view.status(self._facts, methods=self._methods), *keys])


def _pause(seconds: float) -> Callable[[], bool]:
    def pause() -> bool:
        time.sleep(seconds)
        return True

    return pause


def _statuses(daemon: Daemon, wait: Callable[[], bool]) -> Iterator[object]:
    """The answer to `status`, now and after each `wait` until that returns False, over the ends of daemons.

    Only the first call may start a daemon. Raises `NoDaemon` when a daemon is there and does not answer.
    """
    with daemon.client() as client:
        yield client.ask("status")
    with daemon.client(daemon.existing) as client:
        while wait():
            try:
                answer = client.ask("status")
            except NoDaemon:
                if daemon.listens():
                    raise
                daemon.await_next()
                continue
            yield answer
