"""`port42` alone: who there is, where each was left, and what to type next."""

from __future__ import annotations

import click

from port42_cli import output, plain
from port42_cli.autostart import Daemon
from port42_cli.client import Client
from port42_protocol import messages as m


@click.command()
@click.pass_obj
def overview(daemon: Daemon) -> None:
    """Show the agents, their last sessions, and what to type next."""
    with Client(daemon.connect) as client:
        known = client.call(m.ListAgents(), m.AgentList)
        last = [
            listed
            for agent in known.agents
            if agent.last_session
            for listed in client.call(m.ListSessions(agent=agent.agent, limit=1), m.SessionPage).sessions
        ]
    last.sort(key=lambda one: one.last_activity, reverse=True)
    fresh = [one.agent for one in known.agents if not one.last_session]
    if output.on_terminal():
        from port42_cli import render

        render.show(render.overview(tuple(last), fresh, output.now()))
    else:
        output.lines(plain.overview(tuple(last), fresh))
