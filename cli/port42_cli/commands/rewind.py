"""`port42 rewind REF`: go on from an earlier point; what came after it stays in the original."""

from __future__ import annotations

from typing import Any

import click

from port42_cli.commands import _arguments, _fork
from port42_cli.completion import complete
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import Refused

_WINDOW = 64
"""Records before the end that are looked at first; twice as many each time."""


@click.command()
@click.argument("ref", shell_complete=complete.refs)
@click.argument("seq", required=False, type=click.IntRange(min=1))
@_arguments.whose
@click.option("--turns", type=click.IntRange(min=1), metavar="N", help="Without the last N questions.")
@click.option("--json", "as_json", is_flag=True, help="The new session as JSON.")
@click.pass_obj
def rewind(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, ref: str, seq: int | None, agent: str | None, turns: int | None, as_json: bool
) -> None:
    """Go on from an earlier point of a session.

    A fork begins, with everything through record SEQ, or without the last N turns.

    Nothing is lost: the original stays as it is. REF is an id, a unique prefix of 4 or more characters, or
    a title.
    """
    if (seq is None) == (turns is None):
        raise click.UsageError("expected SEQ or --turns N, one of them")
    if ref == "last" and agent is None:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")
    with Client(daemon.connect) as client:
        found = client.ask("find_session", {"ref": ref, "agent": agent})
        if turns is not None:
            seq = _before(client, found, turns)
        _fork.fork(client, {"session_id": found["session_id"], "at_seq": seq}, as_json=as_json)


def _before(client: Client, session: dict[str, Any], turns: int) -> int:
    """The seq before the question that began the last `turns` turns. Raises `Refused`."""
    # A session has at least as many records as messages, so its end is not before that.
    window = max(_WINDOW, 4 * turns)
    while True:
        after = max(0, session["message_count"] - window)
        asked = [one["seq"] for one in _after(client, session["session_id"], after) if one["role"] == "user"]
        if len(asked) >= turns and asked[-turns] > 1:
            return int(asked[-turns]) - 1
        if not after:
            there = len(asked) if not asked or asked[0] > 1 else len(asked) - 1
            raise Refused(f"--turns: expected at most {there}, so that something is left of the session")
        window *= 2


def _after(client: Client, session_id: str, seq: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    onward: int | None = seq
    while onward is not None:
        page = client.ask("get_session", {"session_id": session_id, "after_seq": onward})
        found += page["messages"]
        onward = page["next_after_seq"]
    return found
