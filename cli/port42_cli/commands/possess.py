"""`port42 possess`: say something to an agent, in a new session or in one that goes on."""

from __future__ import annotations

import os
import stat
import sys

import click

from port42_cli import folder, output
from port42_cli.autostart import Daemon
from port42_cli.client import Client
from port42_cli.errors import BadInput, DaemonError
from port42_cli.speaking import Session, mark_used, resume, say, tell_recorded
from port42_protocol.framing import REQUEST_LIMIT


@click.command()
@click.argument("agent", metavar="@AGENT")
@click.argument("words", nargs=-1, metavar="[MESSAGE]…")
@click.option("-s", "--session", "ref", metavar="last|REF", help="Go on with this one of its own.")
@click.option("-c", "--continue", "onward", is_flag=True, help="The same as --session last.")
@click.option("--here", is_flag=True, help="Go on with the last one begun in this folder.")
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_context
def possess(  # noqa: PLR0913, PLR0917 - a parameter for each option
    ctx: click.Context,
    agent: str,
    words: tuple[str, ...],
    ref: str | None,
    onward: bool,
    here: bool,
    as_json: bool,
) -> None:
    """Say MESSAGE to @AGENT, or open a conversation.

    A new session begins, unless --session, --continue or --here goes on with an old one.

    REF is a session id, a unique prefix of 4 or more characters, or a title. What is piped in joins
    the message. Without a message a terminal opens a conversation.
    """
    if onward or here:
        if ref not in {None, "last"}:
            raise click.UsageError(f"--session {ref} is one session, the last one another: name one")
        ref = "last"
    message = _message(words)
    talking = message is None and not as_json and sys.stdin.isatty() and output.on_terminal()
    if message is None and ref is None and not talking:
        raise click.UsageError("MESSAGE: expected one, as an argument or piped in")
    daemon: Daemon = ctx.obj
    with Client(daemon.connect) as client:
        session = None if ref is None else _resumed(ctx, client, agent, ref, here)
        if message is not None:
            _speak(client, agent, message, session, as_json)
            return
        if session is not None and (ref != "last" or here):
            session = mark_used(client, session)
        if talking:
            from port42_cli.converse import converse

            converse(client, agent, session["session_id"] if session else None, daemon)
        elif as_json:
            output.as_json(session)


def _resumed(ctx: click.Context, client: Client, agent: str, ref: str, here: bool) -> Session:
    cwd = folder.here() if here else None
    try:
        return resume(client, agent, ref, cwd=cwd)
    except DaemonError as error:
        if error.kind != "no_sessions":
            raise
        where = f" in {cwd}" if cwd else ""
        output.banner(f"No previous sessions found for @{error.data['agent']}{where}")
        ctx.exit(error.exit_code)


def _speak(client: Client, agent: str, message: str, session: Session | None, as_json: bool) -> None:
    said = say(client, agent, message, session["session_id"] if session else None)
    if as_json:
        output.as_json(said)
    else:
        tell_recorded(client, said)


def _message(words: tuple[str, ...]) -> str | None:
    """The words and, after a blank line, what was piped in; None when there is neither."""
    parts = [" ".join(words)] if words else []
    if piped := _piped():
        parts.append(piped)
    return "\n\n".join(parts) if parts else None


def _piped() -> str:
    """What a pipe or a file brings on stdin. A terminal and /dev/null bring nothing."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return ""  # stdin is closed, or there is none
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    data = sys.stdin.buffer.read(REQUEST_LIMIT + 1)
    if len(data) > REQUEST_LIMIT:
        raise BadInput(f"stdin: expected at most {REQUEST_LIMIT:,} bytes")
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin: expected UTF-8 text, and byte {error.start} is not") from None
