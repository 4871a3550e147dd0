"""`port42 tree REF`: a session among its forks."""

from __future__ import annotations

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_client.client import Client, decode
from port42_client.daemon import Daemon


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@_shared.whose
@click.option("--json", "as_json", is_flag=True, help="The family as JSON, as session_tree gives it.")
@click.pass_obj
def tree(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Show what a session was forked from, and all forks. REF is an id, a prefix, or a title."""
    with Client(daemon.connect) as client:
        session = _shared.find(client, ref, agent)
        answer = client.ask("session_tree", {"session_id": session.session_id})
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import forks_and_trash as view
    from port42_protocol.messages.forks_and_trash import Family

    family = decode(Family, answer)
    views.show(view.tree(family.nodes, session.session_id, streams.now()))
    if not family.complete:
        streams.notice(f"There are more: these are the first {len(family.nodes):,}.")
