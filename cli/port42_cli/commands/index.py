"""`port42 index`: shows the state of the index, and rebuilds it."""

from __future__ import annotations

import time

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_client.client import decode
from port42_client.daemon import Daemon

_LOOKS = 0.2
"""Seconds between two requests while it is rebuilt."""


@click.group(invoke_without_command=True)
@_shared.as_json("The daemon's answer as JSON.")
@click.pass_context
def index(ctx: click.Context, as_json: bool) -> None:
    """Show the state of the index.

    The index, index.db, is made from the session files, and used for lists and searches.
    """
    daemon: Daemon = ctx.obj
    if _shared.stands_alone(ctx, as_json):
        with daemon.client() as client:
            _print(client.ask("get_index_status"), as_json=as_json)


@index.command()
@_shared.as_json("How it stands at the end, as JSON.")
@click.pass_obj
def rebuild(daemon: Daemon, as_json: bool) -> None:
    """Rebuild the index from the session files, and wait for it. After Ctrl-C the daemon goes on."""
    most, shown = 0, streams.on_terminal() and not as_json
    with daemon.client() as client, views.progress("reading records", shown=shown) as moved:
        client.ask("rebuild_index")
        while not (answer := client.ask("get_index_status"))["complete"] and answer.get("reason") is None:
            # How many there are is known once every file was looked at.
            most = max(most, answer["records_behind"])
            moved(most - answer["records_behind"], most)
            time.sleep(_LOOKS)
    _print(answer, as_json=as_json)


def _print(answer: object, *, as_json: bool) -> None:
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import status as view
    from port42_protocol.messages.search import IndexStatus

    views.show(view.index(decode(IndexStatus, answer)))
