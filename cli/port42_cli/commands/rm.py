"""`port42 rm REF…`: to the trash, from which `port42 restore` brings back."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import plain_text, streams
from port42_cli.commands import _confirm
from port42_cli.completion import complete
from port42_client.client import Client
from port42_client.daemon import Daemon


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="REF…", shell_complete=complete.refs)
@click.option(
    "-a",
    "--agent",
    metavar="@AGENT",
    shell_complete=complete.agents,
    help="Whose; a REF may then be `last`.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show which sessions are meant.")
@click.option("--json", "as_json", is_flag=True, help="What was moved, as a JSON array.")
@click.pass_obj
def rm(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, refs: tuple[str, ...], agent: str | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Move sessions to the trash.

    REF is an id, a unique prefix of 4 or more characters, or a title. Where one of them is not found,
    nothing is moved. An agent whose last session goes, goes on with the one it used before.
    """
    if "last" in refs and agent is None:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")
    _confirm.check(yes or dry_run)
    with Client(daemon.connect) as client:
        found = [client.ask("find_session", {"ref": ref, "agent": agent}) for ref in refs]
        meant = list({one["session_id"]: one for one in found}.values())
        if dry_run:
            _show(meant, as_json)
            return
        if not yes:
            streams.banner(*(plain_text.meant(one) for one in meant))
            question = f"Move {plain_text.count(len(meant), 'session')} to the trash?"
            if not _confirm.agreed(question):
                return
        moved = []
        for one in meant:
            moved.append(client.ask("delete_session", {"session_id": one["session_id"]}))
            if not as_json:
                streams.banner(f"In the trash. To bring it back: port42 restore {one['session_id']}")
    if as_json:
        streams.as_json(moved)


def _show(meant: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        streams.as_json(meant)
    else:
        streams.lines(plain_text.meant(one) for one in meant)
        streams.notice("Nothing was moved.")
