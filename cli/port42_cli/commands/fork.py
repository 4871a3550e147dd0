"""`port42 fork REF`: go on from a session, or from an earlier point of it, in a new one."""

from __future__ import annotations

import click

from port42_cli.commands import _arguments, _fork
from port42_cli.completion import complete
from port42_client.client import Client
from port42_client.daemon import Daemon


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@_arguments.whose
@click.option("--at", "at_seq", type=click.IntRange(min=1), metavar="SEQ", help="Its last record to keep.")
@click.option(
    "--to", "to_agent", metavar="@AGENT", shell_complete=complete.agents, help="Whose the new one is to be."
)
@click.option("--title", metavar="TEXT", help="The new one's title.")
@click.option("--json", "as_json", is_flag=True, help="The new session as JSON.")
@click.pass_obj
def fork(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    ref: str,
    agent: str | None,
    at_seq: int | None,
    to_agent: str | None,
    title: str | None,
    as_json: bool,
) -> None:
    """Begin a session with what was said in another.

    The other one stays as it is.

    REF is an id, a unique prefix of 4 or more characters, or a title. SEQ is a number that `port42 show`
    shows; without it everything is taken over. At a question, the question can be answered anew.
    """
    if ref == "last" and agent is None:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")
    with Client(daemon.connect) as client:
        found = client.ask("find_session", {"ref": ref, "agent": agent})
        asked = {"session_id": found["session_id"], "at_seq": at_seq, "to_agent": to_agent, "title": title}
        _fork.fork(client, asked, as_json=as_json)
