"""`port42 completion`: the script with which a shell completes what is typed behind ``port42``."""

from __future__ import annotations

import click

from port42_cli import streams


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
