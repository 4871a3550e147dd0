"""`port42 follow`: see a session live, from another terminal."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_cli.conversation.follow import Following
from port42_client.client import Client
from port42_client.daemon import Daemon


@click.command()
@click.argument("target", metavar="@AGENT|REF", shell_complete=complete.agents_or_sessions)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="SEQ",
    help="Begin with the records after this one; 0: with the first.",
)
@click.option("--json", "as_json", is_flag=True, help="Each event as a line of JSON.")
@click.pass_obj
def follow(daemon: Daemon, target: str, since: int | None, as_json: bool) -> None:
    """Show a session, or all of an agent's, as they go on.

    It begins with what happens now, and ends with Ctrl-C (exit code 130). REF is a session id, a unique
    prefix of 4 or more characters, or a title. Piped, each message is printed once it is whole, as
    `port42 show` does; --json has every event, in the form of rpc.discover's SessionEvent. When the daemon
    restarts, it goes on where it was.
    """
    if target.startswith("@"):
        if since is not None:
            raise click.UsageError("--since counts in one session: expected a REF, not an agent")
        with Client(daemon.connect) as client:
            agent = client.ask("get_agent", {"agent": target})
        following = Following(daemon, {"agent": agent["agent"]}, None)
    else:
        with Client(daemon.connect) as client:
            session = client.ask("find_session", {"ref": target})
        asked: dict[str, Any] = {"session_id": session["session_id"]}
        if since is not None:
            asked["since_seq"] = since
        following = Following(daemon, asked, session)
    several = target.startswith("@")
    if as_json:
        for event in following.events():
            streams.json_line(event)
    elif streams.on_terminal():
        _live(following, several)
    else:
        _plain(following, several)


def _live(following: Following, several: bool) -> None:
    from port42_cli.conversation.live_sessions import LiveSessions

    show = LiveSessions(several=several)
    try:
        for event in following.events(lambda: show.interval):
            if event is None:
                show.on_tick()
            else:
                show.on_event(event)
    finally:
        show.close()


def _plain(following: Following, several: bool) -> None:
    from msgspec import convert

    from port42_cli import views
    from port42_cli.views import transcript as view
    from port42_protocol.messages.records import Message

    for event in following.events():
        if event is not None and event["kind"] == "message":
            if several:
                streams.lines([f"@{event['agent']} {event['session_id']}"])
            views.show(view.record(convert(event["message"], Message)))
