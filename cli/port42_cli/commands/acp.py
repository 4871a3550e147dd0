"""`port42 acp`: an agent of the Agent Client Protocol, for editors."""

from __future__ import annotations

import sys

import click

from port42_cli.commands import _shared
from port42_client.daemon import Daemon


@click.command()
@_shared.agent
@click.pass_obj
def acp(daemon: Daemon, agent: str | None) -> None:
    """Be an ACP agent on stdin and stdout, which an editor starts.

    \b
    Zed, in settings.json:
      "agent_servers": {
        "Port42": {"command": "port42", "args": ["acp", "@ai-engineer"]}
      }

    Its sessions are the daemon's: what begins in the editor goes on with `port42 possess`, and the other way
    round. Without @AGENT the editor chooses the agent of each new session.
    """
    if sys.stdin.isatty():
        raise click.UsageError("an editor starts this: stdin must not be a terminal (--help has an example)")
    # Imported here: `--help` needs no event loop.
    import asyncio
    import gc

    from port42_acp.agent import serve

    gc.enable()  # a command starts without it, but this one may run for days
    asyncio.run(serve(daemon, agent))
