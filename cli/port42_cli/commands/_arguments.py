"""The option that says whose session a REF means, the same in every command."""

from __future__ import annotations

import click

from port42_cli.completion import complete

whose = click.option(
    "-a",
    "--agent",
    metavar="@AGENT",
    shell_complete=complete.agents,
    help="Whose; REF may then be `last`.",
)
