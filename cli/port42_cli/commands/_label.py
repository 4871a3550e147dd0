"""Naming, tagging and pinning: the session that a ref means, changed, and how it is said."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import streams
from port42_client.client import Client
from port42_client.daemon import Daemon


def mark(daemon: Daemon, method: str, ref: str, agent: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    """Ask `method` of the session that `ref` means; gives its summary as the daemon does."""
    if ref == "last" and agent is None:
        raise click.UsageError("`last` needs --agent @AGENT: whose last session")
    asked = {"ref": ref} if agent is None else {"ref": ref, "agent": agent}
    with Client(daemon.connect) as client:
        session_id = client.ask("find_session", asked)["session_id"]
        summary: dict[str, Any] = client.ask(method, {"session_id": session_id, **changes})
    return summary


def say(summary: dict[str, Any], what: str, *, as_json: bool) -> None:
    """The whole summary, or in a line the id and what was changed."""
    if as_json:
        streams.as_json(summary)
        return
    from port42_cli.plain_text import one_line

    text = one_line(what) if streams.on_terminal() else what
    streams.lines([f"{summary['session_id']}: {text}"])
