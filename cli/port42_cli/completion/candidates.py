"""Completion candidates from the running daemon, as value and description."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from port42_cli.plain_text import one_line
from port42_client.client import Client, decode
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError
from port42_protocol.messages.records import Summary

_PATIENCE = 0.3
"""Seconds from the key to the answer of the daemon, at most."""
_PATIENCE_ELSEWHERE = 1.0
"""As `_PATIENCE`, for the daemon of another machine."""
_MOST = 50
_SHORTEST_PREFIX = 4
"""Characters with which the daemon looks for a session among all (its `find_session`)."""


def items(
    ctx: click.Context, look: Callable[..., Iterator[tuple[str, str]]], *typed: str | None
) -> list[CompletionItem]:
    """The result of `look`, called with a client and `typed`; empty without a daemon that answers soon."""
    os.environ["PORT42_DEBUG"] = "0"  # a trace would be written over what is being typed
    signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        if (daemon := _daemon(ctx.find_root().params)) is None:
            return []
        if daemon.host is not None:
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE_ELSEWHERE)
        with daemon.client(daemon.existing) as client:
            return [
                CompletionItem(value, help=one_line(text) or None) for value, text in look(client, *typed)
            ]
    except Exception:
        return []  # no daemon, a slow one, another version's: errors would disturb the command line
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _daemon(typed: Mapping[str, Any]) -> Daemon | None:
    """The daemon that the command would ask; None for another machine's to which no connection is open."""
    if typed.get("socket") or not (host := typed.get("host") or os.environ.get("PORT42_HOST")):
        return Daemon(typed.get("socket"), os.environ)
    from port42_client.remote import RemoteDaemon

    daemon = RemoteDaemon(host, os.environ)
    return daemon if daemon.is_near() else None


def _raise_timeout(*_: object) -> None:
    raise TimeoutError


def agents(client: Client, typed: str) -> Iterator[tuple[str, str]]:
    """Names with what answers for each and the title of its last session."""
    at = "" if typed and not typed.startswith("@") else "@"
    titles = {session.session_id: session.title for session in _newest(client, None)}
    for agent in client.ask("list_agents")["agents"]:
        if (name := at + agent["agent"]).startswith(typed):
            yield name, " · ".join(filter(None, (agent["backend"], titles.get(agent["last_session"]))))


def backends(client: Client, typed: str) -> Iterator[tuple[str, str]]:
    """Those that answer for an agent."""
    for name in {agent["backend"]: None for agent in client.ask("list_agents")["agents"]}:
        if name.startswith(typed):
            yield name, "of config.toml"


def models(client: Client, typed: str, agent: str, backend: str | None = None) -> Iterator[tuple[str, str]]:
    """Those of the agent's back end, or of another `backend`."""
    answer = client.ask("list_models", {"agent": agent} | ({"backend": backend} if backend else {}))
    for name in answer["models"]:
        if name.startswith(typed):
            yield name, answer["backend"]


def modes(client: Client, typed: str, agent: str) -> Iterator[tuple[str, str]]:
    """Ids with their names, of those that the back end is known to have."""
    for mode in client.ask("get_agent", {"agent": agent}).get("modes", ()):
        if mode["id"].startswith(typed):
            yield mode["id"], mode["name"]


def sessions(client: Client, typed: str, agent: str | None) -> Iterator[tuple[str, str]]:
    """Ids with their titles, those used last first."""
    newest = [session for session in _newest(client, agent) if session.session_id.startswith(typed)]
    for session in newest or _fitting(client, typed, agent):
        whose = "" if agent else f"@{session.agent} "
        yield session.session_id, f"{whose}{session.title or '(untitled)'}"


def trashed(client: Client, typed: str) -> Iterator[tuple[str, str]]:
    """Ids with their titles, those deleted last first."""
    for session in decode(list[Summary], client.ask("list_trash", {"limit": _MOST})["sessions"]):
        if session.session_id.startswith(typed):
            yield session.session_id, f"@{session.agent} {session.title or '(untitled)'}"


def tools(client: Client, typed: str) -> Iterator[tuple[str, str]]:
    """Names of tools that can be captured, with their folders."""
    for tool in client.ask("get_capture")["tools"]:
        if tool["name"].startswith(typed):
            yield tool["name"], f"{'on' if tool['on'] else 'off'} · {tool['path']}"


def _newest(client: Client, agent: str | None) -> list[Summary]:
    page = client.ask("list_sessions", {"agent": agent, "limit": _MOST})
    return decode(list[Summary], page["sessions"])


def _fitting(client: Client, typed: str, agent: str | None) -> list[Summary]:
    """Those of all sessions that `typed` may mean: by id, or the one whose title it is or begins."""
    if len(typed) < _SHORTEST_PREFIX:
        return []
    try:
        return [decode(Summary, client.ask("find_session", {"ref": typed, "agent": agent}))]
    except DaemonError as error:
        # Of several that only a title makes candidates a shell would insert what their ids begin with.
        candidates = decode(list[Summary], error.data.get("candidates", []))
        return [session for session in candidates if session.session_id.startswith(typed)]
