"""`port42 rename REF TITLE`: another title for a session."""

from __future__ import annotations

import click

from port42_cli import arguments, completing, marking
from port42_cli.autostart import Daemon


@click.command()
@click.argument("ref", shell_complete=completing.refs)
@click.argument("title", nargs=-1, required=True)
@arguments.whose
@click.option("--json", "as_json", is_flag=True, help="The session as JSON.")
@click.pass_obj
def rename(daemon: Daemon, ref: str, title: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Give a session another TITLE. REF is an id, a unique prefix of 4 or more characters, or a title."""
    summary = marking.mark(daemon, "rename_session", ref, agent, {"title": " ".join(title)})
    marking.say(summary, summary["title"] or "", as_json=as_json)
