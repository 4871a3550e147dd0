"""`port42 help`, `version`, `completion`: what is about the commands themselves, and needs no daemon."""

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


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for SHELL.

    \b
    bash, in ~/.bashrc:
      source <(port42 completion bash)
    zsh, in ~/.zshrc, after compinit:
      source <(port42 completion zsh)
    fish, once:
      port42 completion fish > ~/.config/fish/completions/port42.fish

    Agents and sessions are those of the daemon that runs; none is started for it.
    """
    from port42_cli.completion.shells import script

    streams.lines([script(shell, ctx.find_root().command).rstrip("\n")])
