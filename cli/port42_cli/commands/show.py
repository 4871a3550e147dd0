"""`port42 show REF`: a whole transcript, however many pages it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.plain_text import typed
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError
from port42_protocol.counting import count
from port42_protocol.errors import InvalidParams, SessionNotFound
from port42_protocol.messages.records import ACTIVITIES
from port42_protocol.messages.sessions import GetSession

if TYPE_CHECKING:
    from port42_cli.views.activities import Detail


@click.command()
@_shared.ref
@_shared.whose
@click.option("--events", is_flag=True, help="With what happened to it: resumed, ended, …")
@_shared.full
@_shared.no_tools
@_shared.as_json("One transcript as JSON, all pages in it.")
@click.pass_obj
def show(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, ref: str, agent: str | None, events: bool, detail: Detail, as_json: bool
) -> None:
    """Show a session. REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last.

    What the agent did besides speaking (tool calls, thoughts, plans, permissions) is shown in a line each.
    """
    hidden = {*(() if events else ("event",)), *(ACTIVITIES if detail == "hidden" else ())}
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        with_events = events or detail != "hidden"
        if as_json:
            pages = client.ask_pages("get_session", {"session_id": session.session_id, "events": with_events})
            whole = next(pages)
            for page in pages:
                whole["messages"] += page["messages"]
            whole["messages"] = [record for record in whole["messages"] if record["role"] not in hidden]
            streams.as_json({**whole, "next_after_seq": None})
            return
        from port42_cli.views import transcript as view

        views.show(view.heading(session, streams.now()))
        pages = client.pages(GetSession(session.session_id, events=with_events))
        records = (record for page in pages for record in page.messages)
        views.show(view.messages((record for record in records if record.role not in hidden), detail))
        if number := _sub_agents(client, session.session_id):
            agents = count(number, "sub-agent")
            streams.notice(f"{agents} of this session: {typed(f'sessions --parent {session.session_id}')}")
        if session.parent:
            streams.notice(_sub_agent_of(client, session.parent.session_id))


def _sub_agent_of(client: Client, session_id: str) -> str:
    try:
        client.ask("find_session", {"ref": session_id})
    except DaemonError as error:
        if error.code != SessionNotFound.code:
            raise
        return f"This is a sub-agent's session; the one that began it, {session_id}, is not here."
    return f"This is a sub-agent's session: {typed(f'show {session_id}')}"


def _sub_agents(client: Client, session_id: str) -> int:
    try:
        page = client.ask_rows("list_sessions", {"parent": session_id}, "sessions")
    except DaemonError as error:
        if error.code == InvalidParams.code:
            return 0  # a daemon of an earlier version
        raise
    return len(page["sessions"])
