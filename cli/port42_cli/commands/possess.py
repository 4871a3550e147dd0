"""`port42 possess`, `resume`: send a message to an agent, in a new session or an existing one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

import click

from port42_cli import plain_text, streams
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.conversation import message_input
from port42_cli.conversation.send import (
    go_on,
    mark_used,
    retry,
    send,
    show_reply,
    tell_outcome,
)
from port42_cli.conversation.show import TurnResult
from port42_cli.conversation.turn import Detached
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import INTERRUPTED, BadInput, CommandError, DaemonError
from port42_client.wire import Session

if TYPE_CHECKING:
    from port42_protocol.messages.records import Summary


_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_TYPED = "port42_cli.commands.possess.typed"
"""Under which the context keeps the arguments as they were typed."""


class Possess(_shared.WithText):
    """Says what to type where the agent was left out: a guess would send a message to the wrong one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            raise _agent_left_out(ctx) from None

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
        except DaemonError as error:
            no_agent = error.kind == "unknown_agent" or error.data.get("field") == "agent"
            agent = ctx.params["agent"]
            if not no_agent or error.data.get("suggestions") or not agent or agent.startswith("@"):
                raise
            raise _agent_left_out(ctx) from None


def _agent_left_out(ctx: click.Context) -> click.UsageError:
    import shlex  # for this error only

    agent, whose = "ai-engineer", ""
    with suppress(CommandError), ctx.obj.client(ctx.obj.existing) as client:
        ref = ctx.params.get("ref") or "last"
        agent = client.ask("find_session", {"ref": ref})["agent"]
        whose = ", which was used last" if ref == "last" else ", whose session that is"
    command = plain_text.one_line(shlex.join(["port42", "possess", f"@{agent}", *ctx.meta[_TYPED]]))
    return click.UsageError(f"expected @AGENT first. For @{agent}{whose}:\n\n  {command}", ctx)


@click.command(
    cls=Possess,
    epilog="With --json each event of the turn is a line as it comes, in the form of rpc.discover's"
    " SessionEvent; every line has the session_id. The last one is the result, of the kind `result`; a"
    " turn that failed has a `message` of the role `error` instead, and exit code 1.",
)
@click.argument("agent", metavar="@AGENT", shell_complete=complete.agents)
@click.argument("words", nargs=-1, metavar="[MESSAGE]…")
@click.option(
    "-s",
    "--session",
    "ref",
    metavar="last|REF",
    shell_complete=complete.refs,
    help="Continue this session of @AGENT's.",
)
@click.option("-c", "--continue", "onward", is_flag=True, help="The same as --session last.")
@click.option("--here", is_flag=True, help="Go on with the last one begun in this folder.")
@click.option("--pick", is_flag=True, help="Choose the session to continue, on a whole screen.")
@click.option(
    "-r",
    "--ref",
    "references",
    metavar="TYPE:TARGET",
    multiple=True,
    help="Have it read file:PATH, session:REF, url:URL or - (stdin to its end), too; may be repeated.",
)
@click.option(
    "--model",
    metavar="NAME",
    shell_complete=complete.models,
    help="The model to ask, instead of the agent's own.",
)
@click.option(
    "--mode",
    metavar="ID",
    shell_complete=complete.modes,
    help="The mode in which the back end is to work, such as plan.",
)
@click.option("--retry", "again", is_flag=True, help="Ask again what the session's last turn failed on.")
@click.option(
    "--if-busy",
    type=click.Choice(["wait", "error", "follow", "fork"]),
    help="While another turn of the session is under way: wait for it, which is the default; end with an"
    " error; wait, and show it; continue in a fork of the session before it.",
)
@click.option("--detach", is_flag=True, help="Exit once the message is recorded; the turn continues.")
@click.option("--json", "as_json", is_flag=True, help="Each event of the turn, and its result, as JSON.")
@click.pass_context
def possess(  # noqa: PLR0913, PLR0917 - a parameter for each option
    ctx: click.Context,
    agent: str,
    words: tuple[str, ...],
    ref: str | None,
    onward: bool,
    here: bool,
    pick: bool,
    references: tuple[str, ...],
    model: str | None,
    mode: str | None,
    again: bool,
    if_busy: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Send MESSAGE to @AGENT, or open a conversation.

    Begins a new session, unless --session, --continue or --here continues an existing one.

    REF is a session id, a unique prefix of 4 or more characters, or a title. What is piped in is the
    message, or is read beside the MESSAGE. Without a message a terminal opens a conversation.
    """
    ref = _session_ref(ctx, agent, ref, onward or here, pick)
    daemon: Daemon = ctx.obj
    beside = [message_input.reference(typed, daemon.host) for typed in references if typed != "-"]
    message = None
    if again:
        _check_retry(ref, bool(words or beside or if_busy))
    else:
        message, piped = message_input.message(words, wait="-" in references)
        beside += piped
    talking = not (again or as_json) and message is None and sys.stdin.isatty() and streams.on_terminal()
    silent = message is None and not again
    if silent and (beside or detach or not (talking or (ref and not (model or mode)))):
        if not (agent.startswith("@") or _AGENT.fullmatch(agent)):
            raise _agent_left_out(ctx)
        raise click.UsageError("MESSAGE: expected one behind @AGENT, or piped in")
    if if_busy == "follow" and not (as_json or streams.on_terminal()):
        raise click.UsageError("--if-busy follow: expected a terminal, or --json")
    busy = if_busy or "wait"
    with daemon.client() as client:
        session = None if ref is None else _resumed(ctx, client, agent, ref, here)
        begun = session["session_id"] if session else None
        if message is not None:
            sending = partial(send, client, agent, message, begun, references=beside, model=model, mode=mode)
            _turn(ctx, client, partial(sending, if_busy=busy, detach=detach), as_json, busy == "follow")
            return
        if again and begun:
            asking = partial(retry, client, agent, begun, detach=detach, model=model, mode=mode)
            _turn(ctx, client, asking, as_json)
            return
        if session is not None and (ref != "last" or here):
            session = mark_used(client, session)
        if talking:
            # Imported here: only a conversation needs a prompt.
            from port42_cli.conversation.repl import converse
            from port42_cli.conversation.slash import Conversation

            run_command = partial(_run_command, ctx.find_root())
            converse(Conversation(client, daemon, run_command, agent, begun, busy, model, mode))
        elif as_json:
            streams.as_json(session)


@click.command(epilog="`port42 possess @AGENT --pick` chooses among one agent's sessions.")
@click.argument("words", nargs=-1, metavar="[@AGENT] [WORD]…")
@click.pass_context
def resume(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Choose a session and continue it.

    The search text is matched against titles, names and ids letter by letter, and searched in the messages.
    It is initially WORDS.
    """
    agent = words[0] if words and words[0].startswith("@") else None
    picked = _picked(ctx, agent, " ".join(words[1:] if agent else words))
    ctx.invoke(possess, agent=f"@{picked.agent}", ref=picked.session_id)


def _run_command(root: click.Context, words: Sequence[str]) -> None:
    """Run another command of the program, typed in a conversation."""
    name, *arguments = words
    command = cast("click.Group", root.command).get_command(root, name)
    assert command is not None  # noqa: S101 - the conversation names those that there are
    try:
        with command.make_context(name, arguments, parent=root) as ctx:
            command.invoke(ctx)
    except click.ClickException as error:
        raise BadInput(error.format_message()) from None
    except click.exceptions.Exit:
        return


def _picked(ctx: click.Context, agent: str | None, typed: str = "") -> Summary:
    """The session that is chosen on the screen. Leaving it ends the command."""
    from port42_cli.picker.screen import pick

    if (picked := pick(ctx.obj, agent, typed)) is None:
        ctx.exit(INTERRUPTED)
    return picked


def _session_ref(ctx: click.Context, agent: str, ref: str | None, last: bool, choose: bool) -> str | None:
    """The session to go on with, however it was named; None begins one."""
    if choose:
        if ref or last:
            raise click.UsageError("--pick lets you choose: expected no --session, --continue or --here")
        return _picked(ctx, agent).session_id
    if last and ref not in {None, "last"}:
        raise click.UsageError(f"--session {ref} is one session, the last one another: name one")
    return "last" if last else ref


def _check_retry(ref: str | None, more: bool) -> None:
    if ref is None:
        raise click.UsageError("--retry: expected --session, --continue or --here, to say where")
    if more:
        raise click.UsageError("--retry asks what was asked before: expected no MESSAGE, --ref or --if-busy")


def _resumed(ctx: click.Context, client: Client, agent: str, ref: str, here: bool) -> Session:
    cwd = _shared.current_folder(client.host) if here else None
    try:
        return go_on(client, agent, ref, cwd=cwd)
    except DaemonError as error:
        if error.kind != "no_sessions":
            raise
        if not agent.startswith("@"):
            _shared.check_agent(client, agent)
        where = f" in {cwd}" if cwd else ""
        streams.banner(f"No previous sessions found for @{error.data['agent']}{where}")
        ctx.exit(error.exit_code)


def _turn(
    ctx: click.Context, client: Client, run: Callable[..., TurnResult], as_json: bool, others: bool = False
) -> None:
    try:
        result = run(show=show_reply(as_json=as_json, with_others=others))
    except Detached as left:
        streams.notice(plain_text.detached(left.session_id))
        return
    if not as_json:
        tell_outcome(client, result)
    if result["status"] == "interrupted":
        ctx.exit(INTERRUPTED)
