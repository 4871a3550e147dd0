"""Shared by commands: their options and arguments, resolving a REF, confirmation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_cli.plain_text import one_line
from port42_client.client import Client, decode
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, DaemonError
from port42_client.wire import Session
from port42_protocol import paths

if TYPE_CHECKING:
    from port42_protocol.messages.records import Summary


class Integer(click.IntRange):
    """An integer in a range: in errors and help texts click's own is an "integer range"."""

    name = "integer"


ref = click.argument("ref", shell_complete=complete.refs)
agent = click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)


def agent_option(*names: str) -> Callable[[Any], Any]:
    return click.option(
        *names,
        metavar="@AGENT",
        shell_complete=complete.agents,
        help="Whose: `last` is then this agent's, and another's session is refused.",
    )


whose = agent_option("-a", "--agent")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
limit = click.option("-n", "--limit", type=Integer(min=1), default=20, show_default=True, help="How many.")
lines = click.option("-n", "--lines", type=Integer(min=0), default=50, show_default=True, help="How many.")

full = click.option(
    "--full",
    "detail",
    flag_value="full",
    default="folded",
    help="Tool calls, thoughts, … with all their text.",
)
no_tools = click.option("--no-tools", "detail", flag_value="hidden", help="Without tool calls, thoughts, …")


def as_json(text: str) -> Callable[[Any], Any]:
    return click.option("--json", "as_json", is_flag=True, help=text)


def check_agent(client: Client, agent: str | None) -> None:
    """Raises `DaemonError` for an agent that is unknown: an empty list would not say that it was mistyped."""
    if agent is not None:
        client.ask("get_agent", {"agent": agent})


class WithText(click.Command):
    """A command with free text that may begin with a dash: click reads ``-sorry`` as ``-s orry``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {name for param in self.params for name in param.opts if not getattr(param, "is_flag", True)}
        for before, word in pairwise(["", *args]):
            if word == "--":
                break
            head, *more = word.split(maxsplit=1)[:2] or [""]
            if more and head.startswith("-") and "=" not in head and before not in valued:
                raise click.NoSuchOption(word, ctx=ctx)
        return super().parse_args(ctx, args)


def path_there(daemon: Daemon, typed: str, what: str) -> str:
    """The path of `typed` for the daemon, which has another current folder.

    On another machine the person's folders are unknown: raises `click.UsageError` for a relative path.
    """
    if daemon.host is None:
        return os.path.abspath(os.path.expanduser(typed))  # noqa: PTH100, PTH111 - no pathlib on this path
    if not typed.startswith("/"):
        raise click.UsageError(f"{what}: expected an absolute path on {daemon.host}, got {typed}")
    return typed


def current_folder(host: str | None) -> str:
    """For ``--here``. Raises `BadInput` where no session can have it, or where sessions are on `host`."""
    if host is not None:
        raise BadInput(f"--here: the current folder is on this machine, and the sessions are on {host}")
    if folder := paths.current_folder():
        return folder
    raise BadInput("--here: expected a folder that still exists and whose path is one line of text")


def find(client: Client, ref: str, agent: str | None) -> Summary:
    """The session that `ref` means. A notice says which one a last session is. Raises `DaemonError`."""
    # Imported here: a command that prints the daemon's JSON needs no msgspec.
    from port42_protocol.messages.records import Summary

    return decode(Summary, ask_for(client, ref, agent))


def ask_for(client: Client, ref: str, agent: str | None) -> Session:
    """As `find`; the session as the daemon's JSON has it."""
    try:
        session: Session = client.ask("find_session", {"ref": ref, "agent": agent})
    except DaemonError as error:
        if error.kind == "no_sessions":
            check_agent(client, error.data.get("agent"))
        raise
    if agent is None and ref in {"last", f"@{session['agent']}"}:
        title = f" ({session['title']})" if session["title"] else ""
        streams.notice(f"{ref}: {session['session_id']} of @{session['agent']}{title}")
    return session


def stands_alone(ctx: click.Context, as_json: bool) -> bool:
    """Whether no subcommand follows a group. Raises `click.UsageError` for --json in front of one."""
    if ctx.invoked_subcommand is not None and as_json:
        raise click.UsageError("--json goes behind the subcommand")
    return ctx.invoked_subcommand is None


def check_confirmable(agreed: bool) -> None:
    """Raises `click.UsageError` when confirmation is needed and stdin is not a terminal."""
    if not agreed and not sys.stdin.isatty():
        raise click.UsageError("stdin is not a terminal, so this cannot be confirmed: expected -y")


def confirmed(question: str) -> bool:
    if click.confirm(one_line(question), err=True):
        return True
    streams.banner("Nothing was changed.")
    return False
