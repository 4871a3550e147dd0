"""`port42 mcp`: an MCP server for agents, and the configuration of their programs."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.mcp_clients import edit
from port42_cli.mcp_clients.known import CLIENTS, McpClient, Server
from port42_cli.service.files import Change, shown
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, Refused

MAX_DEPTH = 2

_ALLOW_ASK = click.option(
    "--allow-ask",
    is_flag=True,
    help="Also a tool that asks other agents; they cost tokens and may change files.",
)
_MAX_DEPTH = click.option(
    "--max-depth",
    type=_shared.Integer(1, 8),
    default=MAX_DEPTH,
    show_default=True,
    help="How many agents may ask one another.",
)
_CLIENT = click.argument("client", metavar="CLIENT", shell_complete=complete.mcp_clients)
_PATH = click.option("--path", metavar="FILE", help="The configuration file, if not the usual one.")
_DRY = click.option("--dry-run", is_flag=True, help="Only show what would be changed.")


@click.group(invoke_without_command=True)
@_ALLOW_ASK
@_MAX_DEPTH
@click.pass_context
def mcp(ctx: click.Context, allow_ask: bool, max_depth: int) -> None:
    """Serve the sessions to an agent by MCP, on stdin and stdout.

    Its tools search, list and read sessions, through a socket that can change nothing. An agent's program
    starts it by itself: `port42 mcp install claude` tells it how.
    """
    if ctx.invoked_subcommand is not None:
        if allow_ask or max_depth != MAX_DEPTH:
            raise click.UsageError("--allow-ask and --max-depth go behind the subcommand")
        return
    try:
        from port42_mcp import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types", "anyio", "pydantic"}:
            raise
        raise Refused(
            "the MCP SDK is not installed",
            f"  To install it: {sys.executable} -m pip install 'mcp>=2.3,<3'",
            "  It is in Port42's extra `mcp`, too: uv tool install '.[mcp]', or pipx install '.[mcp]'",
        ) from None
    from port42_mcp.depth import current_depth
    from port42_mcp.source import Source

    if sys.stdin.isatty():
        streams.notice(
            "This speaks MCP on stdin and stdout, for programs. `port42 mcp install` connects one;"
            " Ctrl-C ends this."
        )
    gc.enable()  # `__main__` disabled it for commands that end soon
    source = Source(ctx.obj, current_depth(os.environ), max_depth)
    server.build(source, allow_ask=allow_ask).run()


@mcp.command()
@_CLIENT
@_ALLOW_ASK
@_MAX_DEPTH
@_PATH
@_DRY
@_shared.yes
@click.pass_obj
def install(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    client: str,
    allow_ask: bool,
    max_depth: int,
    path: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Have the agent program CLIENT use this server: show the change of its configuration, and write it.

    CLIENT is claude, claude-desktop, codex, copilot, cursor, gemini, opencode or vscode. What else is in the
    file stays, and a copy of it as it was is kept beside it.
    """
    options = ["--allow-ask"] if allow_ask else []
    options += ["--max-depth", str(max_depth)] if max_depth != MAX_DEPTH else []
    known = _known(client)
    change = edit.planned(known, _file(known, path), _server(daemon, options))
    if _carried_out(change, f"{known.title} has Port42's server already.", yes=yes, dry_run=dry_run):
        streams.banner(f"{known.title} starts Port42's server from its next start on.")


@mcp.command()
@_CLIENT
@_PATH
@_DRY
@_shared.yes
def uninstall(client: str, path: str | None, dry_run: bool, yes: bool) -> None:
    """Take this server out of the configuration of the agent program CLIENT."""
    known = _known(client)
    change = edit.planned(known, _file(known, path), None)
    if _carried_out(change, f"{known.title} has no server of Port42's.", yes=yes, dry_run=dry_run):
        streams.banner(f"{known.title} no longer has Port42's server.")


def _known(name: str) -> McpClient:
    if name in CLIENTS:
        return CLIENTS[name]
    near = get_close_matches(name, CLIENTS, n=1)
    did_you_mean = f" Did you mean {near[0]}?" if near else ""
    raise BadInput(f"CLIENT: expected one of {', '.join(CLIENTS)}, got {name}.{did_you_mean}")


def _file(client: McpClient, path: str | None) -> Path:
    return Path(path).expanduser().absolute() if path else client.path(os.environ, Path.home())


def _server(daemon: Daemon, options: Sequence[str]) -> Server:
    """This very program, for the daemon that this command would reach."""
    program = Path(sys.argv[0]).absolute()
    started = program.name == "port42" and os.access(program, os.X_OK)
    argv = [str(program)] if started else [sys.executable, "-m", "port42_cli"]
    variables = {"PORT42_HOME": str(daemon.home)} if os.environ.get("PORT42_HOME") else {}
    if daemon.named is not None:
        variables["PORT42_SOCKET"] = daemon.named
    host = () if daemon.host is None else ("--host", daemon.host)
    return Server((*argv, *host, "mcp", *options), variables)


def _carried_out(change: Change, as_it_is: str, *, yes: bool, dry_run: bool) -> bool:
    """Show the change, ask, write it; False when nothing was written."""
    if change.kind == "keep":
        streams.banner(f"{as_it_is} ({change.path})")
        return False
    if dry_run:
        streams.lines(shown([change]))
        return False
    streams.banner(*shown([change]))
    _shared.check_confirmable(yes)
    if not yes and not _shared.confirmed("Write this?"):
        return False
    if backup := edit.write(change, streams.now()):
        streams.notice(f"As it was before: {backup}")
    return True
