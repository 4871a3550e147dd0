"""`port42 resume`: choose a session on a whole screen, and go on with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from port42_cli import streams
from port42_client.daemon import Daemon
from port42_client.errors import INTERRUPTED

if TYPE_CHECKING:
    from port42_cli.picker.matching import Choice


@click.command(epilog="`port42 possess @AGENT --pick` chooses among one agent's sessions.")
@click.argument("words", nargs=-1, metavar="[@AGENT] [WORD]…")
@click.pass_context
def resume(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Choose a session and go on with it.

    What is typed is matched against titles, names and ids letter by letter, and searched in the messages.
    WORDs are typed already when it opens.
    """
    from port42_cli.commands.possess import possess

    agent = words[0] if words and words[0].startswith("@") else None
    typed = " ".join(words[1:] if agent else words)
    picked = pick(ctx, agent, typed)
    ctx.invoke(possess, agent=f"@{picked.agent}", ref=picked.session_id)


def pick(ctx: click.Context, agent: str | None, typed: str = "") -> Choice:
    """The session that is chosen at the terminal. Leaving ends the command with exit code 130."""
    if not (sys.stdin.isatty() and streams.on_terminal()):
        raise click.UsageError("a session is picked at a terminal; `port42 sessions` lists them")
    daemon: Daemon = ctx.obj
    from port42_cli.picker.gathering import Gathering

    gathering = Gathering(daemon, agent)
    try:
        from port42_cli.picker.screen import Picker

        picked = Picker(gathering, typed).run()
    finally:
        gathering.close()
    if picked is None:
        ctx.exit(INTERRUPTED)
    return picked
