"""`port42 agents`: who there is, and making somebody known."""

from __future__ import annotations

import click

from port42_cli import output
from port42_cli.autostart import Daemon
from port42_cli.client import Client, decode


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="The daemon's answer as JSON.")
@click.pass_context
def agents(ctx: click.Context, as_json: bool) -> None:
    """List the agents, or make one known.

    For each: what answers for it, how many sessions it has, the last one.
    """
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError("--json goes behind the subcommand")
        return
    daemon: Daemon = ctx.obj
    with Client(daemon.connect) as client:
        answer = client.ask("list_agents")
    if as_json:
        output.as_json(answer)
        return
    from port42_protocol.messages import AgentList

    found = decode(AgentList, answer)
    if output.on_terminal():
        from port42_cli import render

        render.show(render.agents(found.agents))
    else:
        from port42_cli import plain

        output.lines(plain.agents(found.agents))
    if found.config_error:
        output.notice(f"config.toml is not in force as it stands: {found.config_error}")


@agents.command()
@click.argument("name", metavar="NAME")
@click.option("--system", metavar="TEXT", help="Its persona.")
@click.option("--json", "as_json", is_flag=True, help="The agent as JSON.")
@click.pass_obj
def add(daemon: Daemon, name: str, system: str | None, as_json: bool) -> None:
    """Make NAME known: it is written into config.toml."""
    asked = {"agent": name} if system is None else {"agent": name, "system": system}
    with Client(daemon.connect) as client:
        agent = client.ask("add_agent", asked)
    if as_json:
        output.as_json(agent)
    else:
        output.banner(f'@{agent["agent"]} is known now: port42 possess @{agent["agent"]} "…"')
