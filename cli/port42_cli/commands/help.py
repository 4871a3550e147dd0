"""`port42 help`, `version`."""

from __future__ import annotations

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_protocol import __version__


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]…", shell_complete=complete.commands)
@click.pass_context
def show_help(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show this help, or a COMMAND's."""
    context = ctx.find_root()
    command, rest = context.command, list(words)
    while rest:
        if not isinstance(command, click.Group):
            raise click.UsageError(f"{context.command_path} has no commands of its own")
        name, command, rest = _resolved(command, context, rest)
        context = click.Context(command, info_name=name, parent=context)
    streams.lines([command.get_help(context)])


def _resolved(
    group: click.Group, context: click.Context, words: list[str]
) -> tuple[str, click.Command, list[str]]:
    name, command, rest = group.resolve_command(context, words)
    assert name is not None and command is not None  # noqa: S101, PT018 - what is unknown raises
    return name, command, rest


@click.command()
def version() -> None:
    """Show the version."""
    streams.lines([f"port42 {__version__}"])
