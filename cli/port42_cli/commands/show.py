"""`port42 show REF`: a whole transcript, however many pages it has."""

from __future__ import annotations

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_client.daemon import Daemon
from port42_protocol.messages.sessions import GetSession


@click.command()
@_shared.ref
@_shared.whose
@click.option("--events", is_flag=True, help="With what happened to it: resumed, ended, …")
@_shared.as_json("One transcript as JSON, all pages in it.")
@click.pass_obj
def show(daemon: Daemon, ref: str, agent: str | None, events: bool, as_json: bool) -> None:
    """Show a session. REF is an id, a unique prefix of 4 or more characters, or a title."""
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        if as_json:
            pages = client.ask_pages("get_session", {"session_id": session.session_id, "events": events})
            whole = next(pages)
            for page in pages:
                whole["messages"] += page["messages"]
            streams.as_json({**whole, "next_after_seq": None})
            return
        from port42_cli.views import transcript as view

        views.show(view.heading(session, streams.now()))
        for page in client.pages(GetSession(session.session_id, events=events)):
            views.show(view.messages(page.messages))
