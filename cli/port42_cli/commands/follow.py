"""`port42 follow`: see a session live, from another terminal."""

from __future__ import annotations

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.views import transcript as view
from port42_cli.views.activities import Detail
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.following import Following
from port42_client.wire import Event
from port42_protocol.messages.records import Activity, convert_record


@click.command()
@click.argument("target", metavar="@AGENT|REF", shell_complete=complete.agents_or_sessions)
@click.option(
    "--since",
    type=_shared.Integer(min=0),
    metavar="SEQ",
    help="Begin with the records after this one; 0: with the first.",
)
@_shared.full
@_shared.no_tools
@_shared.as_json("Each event as a line of JSON.")
@click.pass_obj
def follow(daemon: Daemon, target: str, since: int | None, detail: Detail, as_json: bool) -> None:
    """Show a session, or all of an agent's, as they go on.

    It begins with what happens now, and ends with Ctrl-C (exit code 130). REF is a session id, a unique
    prefix of 4 or more characters, a title, or last. Piped, each message is printed once it is whole, as
    `port42 show` does; --json has every event, in the form of rpc.discover's SessionEvent. When the daemon
    restarts, it goes on where it was.
    """
    several = target.startswith("@")
    if several and since is not None:
        raise click.UsageError("--since counts in one session: expected a REF, not an agent")
    with daemon.client() as client:
        if several:
            agent = client.ask("get_agent", {"agent": target})["agent"]
            following, name = Following(daemon, agent), f"@{agent}"
        else:
            session = _shared.find(client, target, None)
            name = session.session_id
            following = Following(daemon, session, _begin(client, name, since) if since else since)
    if streams.on_terminal() and not as_json:
        streams.notice(f"Following {name}; Ctrl-C ends this.")
    if not as_json and streams.can_draw():
        _draw(following, several, detail)
        return
    for event in following.events():
        if as_json:
            streams.json_line(event)
        elif event is not None and event["kind"] == "message":
            _print(event, several, detail)


def _print(event: Event, several: bool, detail: Detail) -> None:
    record = convert_record(event["message"])
    if detail == "hidden" and isinstance(record, Activity):
        return
    if several:
        streams.lines([f"@{event['agent']} {event['session_id']}"])
    views.show(view.record(record, detail))


def _begin(client: Client, session_id: str, since: int) -> int:
    """`since`, or the last record where that is earlier; then it is said why nothing is shown."""
    params = {"session_id": session_id, "last": 1, "events": True}
    last: int = max((record["seq"] for record in client.ask("get_session", params)["messages"]), default=0)
    if since > last:
        streams.notice(
            f"{session_id} has nothing after {since} (its last record is {last}): waiting for more"
        )
    return min(since, last)


def _draw(following: Following, several: bool, detail: Detail) -> None:
    from port42_cli.conversation.live_sessions import LiveSessions
    from port42_cli.terminal import Drawing

    show = LiveSessions(several=several, detail=detail)
    with Drawing(show.clear):
        try:
            for event in following.events(lambda: show.interval):
                if event is None:
                    show.on_tick()
                else:
                    show.on_event(event)
        finally:
            show.close()
