"""`port42 tree REF`: a session among its forks."""

from __future__ import annotations

import click

from port42_cli import streams
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
        family = client.ask("session_tree", {"session_id": session.session_id})
    if as_json:
        streams.as_json(family)
        return
    from port42_protocol.messages.forks_and_trash import Family

    whole = decode(Family, family)
    if streams.on_terminal():
        from port42_cli.views import forks_terminal, terminal

        terminal.show(forks_terminal.tree(whole.nodes, session.session_id, streams.now()))
    else:
        from port42_cli import plain_text

        streams.lines(plain_text.tree(whole.nodes))
    if not whole.complete:
        streams.notice(f"There are more: these are the first {len(whole.nodes):,}.")
