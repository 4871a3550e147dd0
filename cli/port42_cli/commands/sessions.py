"""`port42 sessions`; `port42` alone: the agents, their last sessions, and what to type next."""

from __future__ import annotations

import os

import click

from port42_cli import plain_text, streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_client.client import decode, given
from port42_client.daemon import Daemon
from port42_protocol.counting import count

_RECENT = 100
_KEYS = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}
"""The variables with which these back ends answer for the built-in agents, when the daemon has them."""


@click.command()
@_shared.agent
@_shared.limit
@click.option("--here", is_flag=True, help="Only those begun in this folder.")
@click.option("--state", type=click.Choice(["active", "ended"]), help="Only those in this state.")
@click.option("--tag", metavar="TAG", help="Only those with this tag.")
@click.option("--pinned", is_flag=True, help="Only those that are pinned.")
@click.option("--parent", metavar="REF", shell_complete=complete.refs, help="Those of its sub-agents.")
@_shared.as_json("A page as JSON, as list_sessions gives it.")
@click.pass_obj
def sessions(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    agent: str | None,
    limit: int,
    here: bool,
    state: str | None,
    tag: str | None,
    pinned: bool,
    parent: str | None,
    as_json: bool,
) -> None:
    """List sessions: short id, agent, title, messages, last use."""
    folder = _shared.current_folder(daemon.host) if here else None
    params = given(agent=agent, cwd=folder, state=state, tag=tag, pinned=pinned or None)
    with daemon.client() as client:
        if parent is not None:
            params["parent"] = _shared.find(client, parent, agent).session_id
        page = client.ask_rows("list_sessions", params, "sessions", limit=limit)
        if not page["sessions"]:
            _shared.check_agent(client, agent)
    if as_json:
        streams.as_json(page)
        return
    from port42_cli.views import sessions as view
    from port42_protocol.messages.sessions import SessionPage

    listed = decode(SessionPage, page)
    if listed.sessions:
        views.show(view.sessions(listed.sessions, streams.now()))
    elif parent is not None:
        streams.notice(f"{params['parent']} has no sub-agents.")
    elif here or state or tag or pinned:
        streams.notice("No session fits: without options, all are listed.")
    else:
        begin = plain_text.typed('possess @AGENT "…"')
        streams.notice(f"No sessions. `{begin}` begins one.")
    if listed.unreadable:
        number = count(listed.unreadable, "session")
        streams.notice(f"{number} could not be read, or not yet: `{plain_text.typed('doctor')}` says more.")
    if listed.next_cursor:
        streams.notice(f"There are more: -n {limit * 2} shows twice as many.")


@click.command()
@click.pass_obj
def overview(daemon: Daemon) -> None:
    """Show the agents, their last sessions, and what to type next."""
    from port42_cli.views.overview import overview as view
    from port42_protocol.messages.agents import ListAgents
    from port42_protocol.messages.sessions import ListSessions

    with daemon.client() as client:
        known = client.call(ListAgents())
        # As they are listed: by last use, which a clock that was set back does not change.
        recent = client.call(ListSessions(limit=_RECENT)).sessions
        last = {session.agent: session for session in reversed(recent)}
        older = [
            session
            for agent in known.agents
            if agent.last_session and agent.agent not in last
            for session in client.call(ListSessions(agent=agent.agent, limit=1)).sessions
        ]
    older.sort(key=lambda session: session.last_activity, reverse=True)
    rows = [*(session for session in recent if last[session.agent] is session), *older]
    keys = [key for name, key in _KEYS.items() if os.environ.get(key) and name not in known.available]
    views.show(view(rows, known, keys, streams.now()))
