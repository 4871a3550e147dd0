"""`port42` alone: who there is, where each was left, and what to type next."""

from __future__ import annotations

import click

from port42_cli import plain_text, streams
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
    last.sort(key=lambda one: one.last_activity, reverse=True)
    fresh = [one.agent for one in known.agents if not one.last_session]
    if streams.on_terminal():
        from port42_cli.views import terminal

        terminal.show(terminal.overview(tuple(last), fresh, streams.now()))
    else:
        streams.lines(plain_text.overview(tuple(last), fresh))
