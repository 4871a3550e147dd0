"""`port42 index`: how far the index is, and rebuilding it."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from port42_cli import streams
from port42_client.client import Client, decode
from port42_client.daemon import Daemon

_LOOKS = 0.2
"""Seconds between two requests while it is rebuilt."""


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
    with daemon.client() as client:
        _say(client.ask("get_index_status"), as_json=as_json)


@index.command()
@click.option("--json", "as_json", is_flag=True, help="How it stands at the end, as JSON.")
@click.pass_obj
def rebuild(daemon: Daemon, as_json: bool) -> None:
    """Rebuild the index from the session files, and wait for it. After Ctrl-C the daemon goes on."""
    with daemon.client() as client:
        client.ask("rebuild_index")
        if streams.on_terminal() and not as_json:
            from port42_cli.views.rich_printer import progress

            with progress("reading records") as moved:
                answer = _completed(client, moved)
        else:
            answer = _completed(client, lambda _done, _total: None)
    _say(answer, as_json=as_json)


def _completed(client: Client, moved: Callable[[int, int], None]) -> object:
    """The status once the index is complete."""
    most = 0
    while not (answer := client.ask("get_index_status"))["complete"]:
        # How many there are is known once every file was looked at.
        most = max(most, answer["records_behind"])
        moved(most - answer["records_behind"], most)
        time.sleep(_LOOKS)
    return answer


def _say(answer: object, *, as_json: bool) -> None:
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli import views
    from port42_cli.views import status as view
    from port42_protocol.messages.search import IndexStatus

    views.show(view.index(decode(IndexStatus, answer)))
