"""`port42 show REF`: a whole transcript, however many pages it has."""

from __future__ import annotations

from collections.abc import Iterator

import click

from port42_cli import arguments, completing, output, plain
from port42_cli.autostart import Daemon
from port42_cli.client import Client
from port42_protocol import messages as m


@click.command()
@click.argument("ref", shell_complete=completing.refs)
@arguments.whose
@click.option("--events", is_flag=True, help="With what happened to it: resumed, ended, …")
@click.option("--json", "as_json", is_flag=True, help="One transcript as JSON, all pages in it.")
@click.pass_obj
def show(daemon: Daemon, ref: str, agent: str | None, events: bool, as_json: bool) -> None:
    """Show a session. REF is an id, a unique prefix of 4 or more characters, or a title."""
    if ref == "last" and agent is None:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")
    with Client(daemon.connect) as client:
        found = client.call(m.FindSession(ref, agent), m.Summary)
        pages = _pages(client, found.session_id, events)
        if as_json:
            _print_json(pages)
            return
        if output.on_terminal():
            from port42_cli import render

            render.show(render.heading(found, output.now()))
            for page in pages:
                render.show(render.messages(page.messages))
        else:
            for page in pages:
                output.lines(plain.message(one) for one in page.messages)


def _pages(client: Client, session_id: str, events: bool) -> Iterator[m.Transcript]:
    onward: int | None = 0
    while onward is not None:
        asked = m.GetSession(session_id, after_seq=onward, events=events)
        page = client.call(asked, m.Transcript)
        yield page
        onward = page.next_after_seq


def _print_json(pages: Iterator[m.Transcript]) -> None:
    """The first page with every page's messages: the shape of `get_session`."""
    from dataclasses import replace

    from msgspec import to_builtins

    first = next(pages)
    rest = [one for page in pages for one in page.messages]
    whole = replace(first, messages=(*first.messages, *rest), next_after_seq=None)
    output.as_json(to_builtins(whole))
