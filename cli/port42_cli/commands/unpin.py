"""`port42 unpin REF`: the end of a pin."""

from __future__ import annotations

import click

from port42_cli.commands import _arguments, _label
from port42_cli.completion import complete
from port42_client.daemon import Daemon


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@_arguments.whose
@click.option("--json", "as_json", is_flag=True, help="The session as JSON.")
@click.pass_obj
def unpin(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Let a pinned session go.

    REF is an id, a unique prefix of 4 or more characters, or a title.
    """
    summary = _label.mark(daemon, "pin_session", ref, agent, {"pinned": False})
    _label.say(summary, "not pinned", as_json=as_json)
