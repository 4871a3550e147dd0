"""`port42 rename`, `tag`, `pin`, `unpin`."""

from __future__ import annotations

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import one_line
from port42_client.daemon import Daemon

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="The session as JSON.")


@click.command(cls=_shared.WithText)
@click.argument("ref", shell_complete=complete.refs)
@click.argument("title", nargs=-1, required=True)
@_shared.whose
@_AS_JSON
@click.pass_obj
def rename(daemon: Daemon, ref: str, title: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Change the TITLE of a session. REF is an id, a unique prefix of 4 or more characters, or a title."""
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        renamed = client.ask("rename_session", {"session_id": session.session_id, "title": " ".join(title)})
    _show(renamed, renamed["title"] or "", as_json=as_json)


# A tag to take off looks like an option, so there are no short ones here but -h.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("ref", shell_complete=complete.refs)
@click.argument("tags", nargs=-1, type=click.UNPROCESSED, metavar="[[+]TAG | -TAG]…")
@click.option(
    "--agent", metavar="@AGENT", shell_complete=complete.agents, help="Whose; REF may then be `last`."
)
@_AS_JSON
@click.pass_obj
def tag(daemon: Daemon, ref: str, tags: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Add and remove tags of a session.

    TAG and +TAG add a tag, -TAG removes it; without any, the session's tags are shown.
    REF is an id, a unique prefix of 4 or more characters, or a title.
    """
    changes = {
        "add": [name.removeprefix("+") for name in tags if not name.startswith("-")],
        "remove": [name.removeprefix("-") for name in tags if name.startswith("-")],
    }
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        tagged = client.ask("tag_session", {"session_id": session.session_id, **changes})
    _show(tagged, " ".join(tagged["tags"]) or "no tags", as_json=as_json)


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@_shared.whose
@_AS_JSON
@click.pass_obj
def pin(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Pin a session.

    It is exempt from pruning, and `sessions --pinned` lists it.
    REF is an id, a unique prefix of 4 or more characters, or a title.
    """
    _pin(daemon, ref, agent, pinned=True, as_json=as_json)


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@_shared.whose
@_AS_JSON
@click.pass_obj
def unpin(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Unpin a session.

    REF is an id, a unique prefix of 4 or more characters, or a title.
    """
    _pin(daemon, ref, agent, pinned=False, as_json=as_json)


def _pin(daemon: Daemon, ref: str, agent: str | None, *, pinned: bool, as_json: bool) -> None:
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        changed = client.ask("pin_session", {"session_id": session.session_id, "pinned": pinned})
    _show(changed, "pinned" if pinned else "not pinned", as_json=as_json)


def _show(session: dict[str, object], label: str, *, as_json: bool) -> None:
    if as_json:
        streams.as_json(session)
    else:
        streams.lines([f"{session['session_id']}: {one_line(label) if streams.on_terminal() else label}"])
