"""`port42 index`: how far the index has come, and making it anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from port42_cli import streams
from port42_client.client import Client
from port42_client.daemon import Daemon

_LOOKS = 0.2
"""Seconds between two looks at how far a rebuild is."""


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_context
def index(ctx: click.Context, as_json: bool) -> None:
    """Show how far the index is.

    It is what lists and searches are answered from: index.db, made of the session files.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json goes behind the subcommand")
        return
    daemon: Daemon = ctx.obj
    with Client(daemon.connect) as client:
        _say(client.ask("get_index_status"), as_json=as_json)


@index.command()
@click.option("--json", "as_json", is_flag=True, help="How it stands at the end, as JSON.")
@click.pass_obj
def rebuild(daemon: Daemon, as_json: bool) -> None:
    """Make the index anew from the session files, and wait for it. Ctrl-C leaves the daemon at it."""
    with Client(daemon.connect) as client:
        client.ask("rebuild_index")
        looks = _until_complete(client)
        if streams.on_terminal() and not as_json:
            from port42_cli.views.index_progress import watch

            last = watch(looks)
        else:
            *_, last = looks
    _say(last, as_json=as_json)


def _until_complete(client: Client) -> Iterator[dict[str, Any]]:
    """How it stands, again and again; complete is the last."""
    while True:
        status: dict[str, Any] = client.ask("get_index_status")
        yield status
        if status["complete"]:
            return
        time.sleep(_LOOKS)


def _say(status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        streams.as_json(status)
        return
    from port42_cli import plain_text

    streams.lines(plain_text.index(status))
