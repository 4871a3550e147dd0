"""`port42 sessions`: what there is, newest use first."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import cwd, streams
from port42_cli.completion import complete
from port42_client.client import Client, decode
from port42_client.daemon import Daemon

PAGE = 500
"""Sessions that one request may ask for."""


@click.command()
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--here", is_flag=True, help="Only those begun in this folder.")
@click.option("--state", type=click.Choice(["active", "ended"]), help="Only those in this state.")
@click.option("--tag", metavar="TAG", help="Only those with this tag.")
@click.option("--pinned", is_flag=True, help="Only those that are pinned.")
@click.option("--json", "as_json", is_flag=True, help="A page as JSON, as list_sessions gives it.")
@click.pass_obj
def sessions(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    agent: str | None,
    limit: int,
    here: bool,
    state: str | None,
    tag: str | None,
    pinned: bool,
    as_json: bool,
) -> None:
    """List sessions: short id, agent, title, messages, last use."""
    asked: dict[str, Any] = {"agent": agent, "cwd": cwd.here() if here else None, "state": state}
    asked |= {"tag": tag, "pinned": pinned or None}
    wanted = {name: value for name, value in asked.items() if value is not None}
    with Client(daemon.connect) as client:
        page = _page(client, wanted, limit)
    if as_json:
        streams.as_json(page)
        return
    from port42_protocol.messages.sessions import SessionPage

    found = decode(SessionPage, page)
    if not found.sessions:
        streams.notice('No sessions. `port42 possess @AGENT "…"` begins one.')
    elif streams.on_terminal():
        from port42_cli.views import terminal

        terminal.show(terminal.sessions(found.sessions, streams.now()))
    else:
        from port42_cli import plain_text

        streams.lines(plain_text.sessions(found.sessions))
    if found.next_cursor:
        streams.notice(f"There are more: -n {limit * 2} shows twice as many.")


def _page(client: Client, wanted: dict[str, Any], limit: int) -> dict[str, Any]:
    """The first `limit` sessions as one page, however many requests it takes."""
    listed: list[Any] = []
    cursor = None
    while len(listed) < limit:
        asked: dict[str, Any] = {**wanted, "limit": min(PAGE, limit - len(listed))}
        page = client.ask("list_sessions", {**asked, "cursor": cursor} if cursor else asked)
        listed += page["sessions"]
        if not (cursor := page["next_cursor"]):
            break
    return {"sessions": listed, "next_cursor": cursor}
