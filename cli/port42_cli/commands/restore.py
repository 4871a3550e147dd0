"""`port42 restore REF`: bring a session back from the trash."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import plain_text, streams
from port42_cli.commands._trash_pages import everything
from port42_cli.completion import complete
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import Refused

_SHORTEST_PREFIX = 4


@click.command()
@click.argument("ref", shell_complete=complete.trashed)
@click.option("--json", "as_json", is_flag=True, help="The session as JSON.")
@click.pass_obj
def restore(daemon: Daemon, ref: str, as_json: bool) -> None:
    """Bring a session back. REF is an id, a unique prefix of 4 or more characters, or a title."""
    with Client(daemon.connect) as client:
        session_id = _meant(everything(client), ref)
        session = client.ask("restore_session", {"session_id": session_id})
    if as_json:
        streams.as_json(session)
    else:
        streams.banner(f"{session_id} is back.", plain_text.to_go_on(session["agent"], session_id))


def _meant(trashed: list[dict[str, Any]], ref: str) -> str:
    """The id that `ref` stands for, as `find_session` would have it. Raises `Refused`."""
    ids = {str(one["session_id"]): one["title"] for one in trashed}
    if ref in ids:
        return ref
    found = [one for one in ids if len(ref) >= _SHORTEST_PREFIX and one.startswith(ref)]
    found = found or [one for one, title in ids.items() if (title or "").casefold() == ref.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(f"{ref} fits several sessions in the trash: {', '.join(found[:10])}")
    raise Refused(f"no session in the trash fits {ref}; to see them: port42 trash")
