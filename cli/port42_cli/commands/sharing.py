"""`port42 share`, `unshare`: which other people at the same hub have a session, too."""

from __future__ import annotations

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_client.daemon import Daemon

_AS_JSON = _shared.as_json("Whom it is shared with, as JSON.")


@click.command()
@_shared.ref
@click.argument("role", required=False)
@click.option(
    "--may-write", is_flag=True, help="ROLE may write to it; otherwise what ROLE adds becomes a fork."
)
@_shared.whose
@_AS_JSON
@click.pass_obj
def share(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, ref: str, role: str | None, may_write: bool, agent: str | None, as_json: bool
) -> None:
    """Share a session with ROLE at the same hub.

    ROLE is another person or a group: a role of the hub's PostgreSQL; a leading @ is stripped. The session
    is on their machines within a second. Without ROLE, show whom it is shared with.
    """
    if may_write and role is None:
        raise click.UsageError("--may-write: expected ROLE, who may")
    with daemon.client() as client:
        session_id = _shared.find(client, ref, agent).session_id
        if role is None:
            answer = client.ask("get_shares", {"session_id": session_id})
        else:
            params = {"session_id": session_id, "grantee": role.removeprefix("@")}
            answer = client.ask("share_session", params | ({"may": "write"} if may_write else {}))
    _print(answer, as_json=as_json)


@click.command()
@_shared.ref
@click.argument("role")
@_shared.whose
@_AS_JSON
@click.pass_obj
def unshare(daemon: Daemon, ref: str, role: str, agent: str | None, as_json: bool) -> None:
    """Stop sharing a session with ROLE. What is on their machines stays there."""
    with daemon.client() as client:
        session_id = _shared.find(client, ref, agent).session_id
        params = {"session_id": session_id, "grantee": role.removeprefix("@")}
        answer = client.ask("unshare_session", params)
    _print(answer, as_json=as_json)


def _print(answer: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        streams.as_json(answer)
        return
    from port42_client.client import decode
    from port42_protocol.messages.hub import SessionShares

    shares = decode(SessionShares, answer)
    streams.lines(f"{share.grantee}\t{share.may}" for share in shares.shares)
    if not shares.shares:
        streams.banner(f"{shares.session_id} is shared with nobody.")
