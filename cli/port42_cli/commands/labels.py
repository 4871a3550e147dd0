"""`port42 rename`, `tag`, `pin`, `unpin`."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.plain_text import one_line
from port42_client.daemon import Daemon
from port42_client.wire import Session

_AS_JSON = _shared.as_json("The session as JSON.")


@click.command(cls=_shared.WithText)
@_shared.ref
@click.argument("title", nargs=-1, required=True)
@_shared.whose
@_AS_JSON
@click.pass_obj
def rename(daemon: Daemon, ref: str, title: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Change the TITLE of a session.

    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last.
    """
    session = _change(daemon, ref, agent, "rename_session", title=" ".join(title))
    _show(session, session["title"] or "", as_json=as_json)


# A tag to take off looks like an option, so there are no short ones here but -h.
@click.command(context_settings={"ignore_unknown_options": True})
@_shared.ref
@click.argument("tags", nargs=-1, type=click.UNPROCESSED, metavar="[[+]TAG | -TAG]…")
@_shared.agent_option("--agent")
@_AS_JSON
@click.pass_obj
def tag(daemon: Daemon, ref: str, tags: tuple[str, ...], agent: str | None, as_json: bool) -> None:
    """Add and remove tags of a session.

    TAG and +TAG add a tag, -TAG removes it; without any, the session's tags are shown.
    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last.
    """
    add = [name.removeprefix("+") for name in tags if not name.startswith("-")]
    remove = [name.removeprefix("-") for name in tags if name.startswith("-")]
    session = _change(daemon, ref, agent, "tag_session", add=add, remove=remove)
    _show(session, " ".join(session["tags"]) or "no tags", as_json=as_json)


@click.command()
@_shared.ref
@_shared.whose
@_AS_JSON
@click.pass_obj
def pin(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Pin a session.

    It is exempt from pruning, and `sessions --pinned` lists it.
    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last.
    """
    _show(_change(daemon, ref, agent, "pin_session", pinned=True), "pinned", as_json=as_json)


@click.command()
@_shared.ref
@_shared.whose
@_AS_JSON
@click.pass_obj
def unpin(daemon: Daemon, ref: str, agent: str | None, as_json: bool) -> None:
    """Unpin a session.

    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last.
    """
    _show(_change(daemon, ref, agent, "pin_session", pinned=False), "not pinned", as_json=as_json)


def _change(daemon: Daemon, ref: str, agent: str | None, method: str, **params: Any) -> Session:
    with daemon.client() as client:
        session = _shared.find(client, ref, agent)
        changed: Session = client.ask(method, {"session_id": session.session_id, **params})
    return changed


def _show(session: Session, label: str, *, as_json: bool) -> None:
    if as_json:
        streams.as_json(session)
    else:
        streams.lines([f"{session['session_id']}: {one_line(label) if streams.on_terminal() else label}"])
