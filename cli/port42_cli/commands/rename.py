"""`port42 rename REF TITLE`: another title for a session."""

from __future__ import annotations

import click

from port42_cli.commands import _arguments, _label
from port42_cli.completion import complete
from port42_client.daemon import Daemon


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@click.argument("title", nargs=-1, required=True)
@_arguments.whose
@click.option("--json", "as_json", is_flag=True, help="The session as JSON.")
@click.pass_obj
def rename(daemon: Daemon, ref: str, title: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Give a session another TITLE. REF is an id, a unique prefix of 4 or more characters, or a title."""
    summary = _label.mark(daemon, "rename_session", ref, agent, {"title": " ".join(title)})
    _label.say(summary, summary["title"] or "", as_json=as_json)
