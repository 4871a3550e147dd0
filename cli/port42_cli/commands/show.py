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
        pages = client.pages(GetSession(session.session_id, events=events))
        if as_json:
            from msgspec import to_builtins
            from msgspec.structs import replace

            first = next(pages)
            rest = [message for page in pages for message in page.messages]
            whole = replace(first, messages=(*first.messages, *rest), next_after_seq=None)
            streams.as_json(to_builtins(whole))
            return
        from port42_cli.views import transcript as view

        views.show(view.heading(session, streams.now()))
        for page in pages:
            views.show(view.messages(page.messages))
