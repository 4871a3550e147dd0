"""`port42 tree REF`: a session among its forks."""

from __future__ import annotations

import click

from port42_cli import arguments, completing, output
from port42_cli.autostart import Daemon
from port42_cli.client import Client, decode


@click.command()
@click.argument("ref", shell_complete=completing.refs)
@arguments.whose
@click.option("--json", "as_json", is_flag=True, help="The family as JSON, as session_tree gives it.")
@click.pass_obj
def tree(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Show what a session was forked from, and all forks. REF is an id, a prefix, or a title."""
    if ref == "last" and agent is None:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")
    with Client(daemon.connect) as client:
        found = client.ask("find_session", {"ref": ref, "agent": agent})
        family = client.ask("session_tree", {"session_id": found["session_id"]})
    if as_json:
        output.as_json(family)
        return
    from port42_protocol.messages import Family

    whole = decode(Family, family)
    if output.on_terminal():
        from port42_cli import render, render_families

        render.show(render_families.tree(whole.nodes, found["session_id"], output.now()))
    else:
        from port42_cli import plain

        output.lines(plain.tree(whole.nodes))
    if not whole.complete:
        output.notice(f"There are more: these are the first {len(whole.nodes):,}.")
