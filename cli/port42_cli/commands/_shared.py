"""What several commands share: the option that says whose session a REF means, finding it, confirming."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_cli.plain_text import one_line
from port42_client.client import Client, decode

if TYPE_CHECKING:
    from port42_protocol.messages.records import Summary

whose = click.option(
    "-a",
    "--agent",
    metavar="@AGENT",
    shell_complete=complete.agents,
    help="Whose; REF may then be `last`.",
)


def check_refs(agent: str | None, *refs: str) -> None:
    """Raises `click.UsageError` for ``last`` without an agent, before anything is asked of the daemon."""
    if agent is None and "last" in refs:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")


def find(client: Client, ref: str, agent: str | None) -> Summary:
    """The session that `ref` means. Raises `click.UsageError` and `DaemonError`."""
    # Imported here: a command that prints the daemon's JSON needs no msgspec.
    from port42_protocol.messages.records import Summary

    check_refs(agent, ref)
    return decode(Summary, client.ask("find_session", {"ref": ref, "agent": agent}))


def check_confirmable(agreed: bool) -> None:
    """Raises `click.UsageError` where it is not agreed to already and nobody can be asked."""
    if not agreed and not sys.stdin.isatty():
        raise click.UsageError("stdin is no terminal, so nobody can confirm: expected -y")


def confirmed(question: str) -> bool:
    if click.confirm(one_line(question), err=True):
        return True
    streams.banner("Nothing was changed.")
    return False
