"""`port42` alone: the agents, their last sessions, and what to type next."""

from __future__ import annotations

import click

from port42_cli import streams, views
from port42_cli.views import sessions as view
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_protocol.messages.agents import ListAgents
from port42_protocol.messages.sessions import ListSessions


@click.command()
@click.pass_obj
def overview(daemon: Daemon) -> None:
    """Show the agents, their last sessions, and what to type next."""
    with Client(daemon.connect) as client:
        known = client.call(ListAgents())
        last = [
            listed
            for agent in known.agents
            if agent.last_session
            for listed in client.call(ListSessions(agent=agent.agent, limit=1)).sessions
        ]
    last.sort(key=lambda session: session.last_activity, reverse=True)
    unused = [agent.agent for agent in known.agents if not agent.last_session]
    views.show(view.overview(last, unused, streams.now()))
