"""`port42 prune`: what is long unused to the trash, what is long there for good; only when asked for."""

from __future__ import annotations

import re
from typing import Any

import click

from port42_cli import plain_text, streams
from port42_cli.commands import _confirm
from port42_cli.completion import complete
from port42_client.client import Client
from port42_client.daemon import Daemon

_DAYS = re.compile(r"(\d{1,5})d?")


def _days(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """``90d`` or ``90``."""
    if value is None:
        return None
    if fits := _DAYS.fullmatch(value):
        return int(fits[1])
    raise click.BadParameter(f"expected a number of days, like 90d, got {value!r}", ctx, param)


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option(
    "--older-than",
    metavar="DAYS",
    callback=_days,
    help="Sessions not used for so long go to the trash (90d).",
)
@click.option(
    "--trash-older-than",
    metavar="DAYS",
    callback=_days,
    help="What was so long in the trash is deleted for good.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--json", "as_json", is_flag=True, help="What prune_sessions answered, a line a call.")
@click.pass_obj
def prune(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    agent: str | None,
    older_than: int | None,
    trash_older_than: int | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make room, after showing what goes. Pinned sessions stay, and those that are being answered."""
    if older_than is None and trash_older_than is None:
        raise click.UsageError("expected --older-than or --trash-older-than: nothing goes by itself")
    _confirm.check(yes or dry_run)
    asked = {"agent": agent, "older_than_days": older_than, "trash_older_than_days": trash_older_than}
    with Client(daemon.connect) as client:
        preview = client.ask("prune_sessions", asked)
        if as_json and dry_run:
            streams.as_json(preview)
            return
        if not (preview["trashed"] or preview["deleted"]):
            streams.notice("There is nothing to prune.")
            return
        if not as_json:
            streams.lines(plain_text.pruning(preview))
        if not dry_run and (yes or _confirm.agreed("Go on?")):
            _prune(client, asked, as_json)


def _prune(client: Client, asked: dict[str, Any], as_json: bool) -> None:
    trashed = deleted = size = 0
    more = True
    while more:
        done = client.ask("prune_sessions", {**asked, "dry_run": False})
        trashed, deleted = trashed + len(done["trashed"]), deleted + len(done["deleted"])
        size += done["bytes"]
        if as_json:
            streams.json_line(done)
        # What cannot be moved (its file is damaged) would come again and again.
        more = done["more"] and bool(done["trashed"] or done["deleted"])
    if not as_json:
        streams.banner(
            f"{plain_text.count(trashed, 'session')} moved to the trash,"
            f" {plain_text.count(deleted, 'session')} ({size:,} bytes) deleted for good."
        )
