"""`port42 search QUERY… [@AGENT]`: what was said in any session, and how to go on with it."""

from __future__ import annotations

import re
from typing import Any

import click

from port42_cli import streams
from port42_client.client import Client, decode
from port42_client.daemon import Daemon

PAGE = 100
"""Hits that one request may ask for."""
_AGENT = re.compile(r"@[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


# `-word` leaves out what has the word: it is no option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="QUERY… [@AGENT]")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="A page as JSON, as search_sessions gives it.")
@click.pass_obj
def search(daemon: Daemon, words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Search every session, or @AGENT's.

    \b
    word word          both, in one message        '"two words"'   as they stand
    begin*             a word that begins so       -word           not that one
    agent:NAME         in that agent's sessions    role:ROLE       user, assistant, error, title …
    before:2025-09     before that day or month    after:2025      in it or later (UTC)
    """
    asked: dict[str, Any] = {"query": " ".join(words)}
    if len(words) > 1 and _AGENT.fullmatch(words[-1]):
        asked = {"query": " ".join(words[:-1]), "agent": words[-1]}
    with Client(daemon.connect) as client:
        page = _page(client, asked, limit)
    if as_json:
        streams.as_json(page)
        return
    from port42_protocol.messages.search import HitPage

    found = decode(HitPage, page)
    if not found.hits:
        streams.notice("Nothing found.")
    elif streams.on_terminal():
        from port42_cli.views import terminal

        terminal.show(terminal.hits(found.hits, streams.now()))
    else:
        from port42_cli import plain_text

        streams.lines(plain_text.hits(found.hits))
    if not found.complete:
        streams.notice("Some messages are not indexed yet, so there may be more: port42 index")
    if found.next_cursor:
        streams.notice(f"There are more: -n {limit * 2} shows twice as many.")


def _page(client: Client, asked: dict[str, Any], limit: int) -> dict[str, Any]:
    """The first `limit` hits as one page, however many requests it takes."""
    hits: list[Any] = []
    cursor, complete = None, True
    while len(hits) < limit:
        wanted = {**asked, "limit": min(PAGE, limit - len(hits))}
        page = client.ask("search_sessions", {**wanted, "cursor": cursor} if cursor else wanted)
        hits += page["hits"]
        complete = complete and page["complete"]
        if not (cursor := page["next_cursor"]):
            break
    return {"hits": hits, "next_cursor": cursor, "complete": complete}
