"""`port42 search QUERY… [@AGENT]`: messages of any session, and how to continue it."""

from __future__ import annotations

import re
from itertools import islice

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.plain_text import typed
from port42_client.client import decode, given
from port42_client.daemon import Daemon

_AGENT = re.compile(r"@[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_NAMED = re.compile(r'(?<!\S)(?i:agent):"?@?([A-Za-z0-9._-]+)', re.ASCII)
"""An agent that the query names."""
_OPTION = re.compile(r"--.+|-n=?\d+|-h")


class _WithWords(click.Command):
    """A command whose words may begin with a dash: `-word` leaves out what has the word. click would read
    ``-agent:x`` as ``-n t:x`` behind three options that it does not know."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options: list[str] = []
        words: list[str] = []
        rest = iter(args)
        for arg in rest:
            if arg == "--":
                words.extend(rest)
            elif arg in {"-n", "--limit"}:
                options.extend((arg, *islice(rest, 1)))
            elif _OPTION.fullmatch(arg):
                options.append(arg)
            else:
                words.append(arg)
        return super().parse_args(ctx, [*options, "--", *words])


@click.command(cls=_WithWords)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="QUERY… [@AGENT]")
@_shared.limit
@_shared.as_json("A page as JSON, as search_sessions gives it.")
@click.pass_obj
def search(daemon: Daemon, words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Search every session, or @AGENT's.

    \b
    word word        both, in one message
    '"two words"'    as they stand
    begin*           a word that begins so
    -word            not that one
    agent:NAME       in that agent's sessions
    role:ROLE        user, assistant, error, tool, plan, thought, …
    tool:NAME        calls of a tool (bash)
    file:PATH        calls about a file (src/a.py)
    before:2025-09   before that day, month or year (UTC)
    after:2025       in it or later
    """
    *query, last = words
    agent = last if query and _AGENT.fullmatch(last) else None
    params = given(query=" ".join(query if agent else words), agent=agent)
    with daemon.client() as client:
        answer = client.ask_rows("search_sessions", params, "hits", limit=limit, per_page=100)
        if not answer["hits"]:
            for name in (agent, *_NAMED.findall(params["query"])):
                _shared.check_agent(client, name)
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import sessions as view
    from port42_protocol.messages.search import HitPage

    page = decode(HitPage, answer)
    if page.hits:
        views.show(view.hits(page.hits, streams.now()))
    else:
        streams.notice("Nothing found.")
    for hint in page.hints or ():
        streams.notice(hint)
    if not page.complete:
        reason = page.reason or "some messages are not indexed yet"
        streams.notice(f"There may be more: {reason}. `{typed('index')}` shows its state.")
    if page.next_cursor:
        streams.notice(f"There are more: -n {limit * 2} shows twice as many.")
