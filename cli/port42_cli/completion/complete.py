"""What a shell may complete: agents and sessions, as the daemon that runs knows them.

A key was pressed and somebody waits: no daemon is started, nothing is said when there is none, and after
`_PATIENCE` there is nothing to complete. Values are names and ids only, never a title: what is put on a
command line must not be able to mean anything to the shell.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

    from port42_client.client import Client

_PATIENCE = 0.3
"""Seconds from the key to the answer of the daemon, at most."""
_MOST = 50
_SHORTEST_PREFIX = 4
"""Characters with which the daemon looks for a session among all (its `find_session`)."""


def agents(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The agents' names, with what answers for each and what its last session is about."""
    return _ask(ctx, lambda client: _agents(client, typed))


def sessions(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Ids of the sessions used last, their titles beside them; what begins a title stands for its id."""
    return _ask(ctx, lambda client: _sessions(client, typed, _agent_of(ctx)))


def refs(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """As `sessions`, and ``last``, which is one of them once an agent is named."""
    from click.shell_completion import CompletionItem

    last = CompletionItem("last", help="the one used last")
    return [last] * "last".startswith(typed) + sessions(ctx, _, typed)


def trashed(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Ids of the sessions thrown away last, their titles beside them."""
    return _ask(ctx, lambda client: _trashed(client, typed))


def agents_or_sessions(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Both, agents first."""
    return agents(ctx, _, typed) + ([] if typed.startswith("@") else sessions(ctx, _, typed))


def _ask(ctx: click.Context, look: Callable[[Client], Iterator[tuple[str, str]]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from port42_cli.plain_text import one_line
    from port42_client.client import Client
    from port42_client.daemon import Daemon

    os.environ["PORT42_DEBUG"] = "0"  # a trace would be written over what is being typed
    try:
        with _in_time(), Client(Daemon(ctx.find_root().params.get("socket"), os.environ).existing) as client:
            return [CompletionItem(value, help=one_line(said) or None) for value, said in look(client)]
    except Exception:
        return []  # no daemon, a slow one, another version's: whatever it is, nobody asked to be told


@contextmanager
def _in_time() -> Iterator[None]:
    """Raise TimeoutError in here after `_PATIENCE`, whatever is being waited for."""

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _agents(client: Client, typed: str) -> Iterator[tuple[str, str]]:
    at = "" if typed and not typed.startswith("@") else "@"
    titles = {one["session_id"]: one["title"] for one in _newest(client, None)}
    for one in client.ask("list_agents")["agents"]:
        if (name := at + one["agent"]).startswith(typed):
            yield name, " · ".join(filter(None, (one["backend"], titles.get(one["last_session"]))))


def _sessions(client: Client, typed: str, agent: str | None) -> Iterator[tuple[str, str]]:
    found = [one for one in _newest(client, agent) if one["session_id"].startswith(typed)]
    for one in found or _found(client, typed, agent):
        whose = "" if agent else f"@{one['agent']} "
        yield one["session_id"], f"{whose}{one['title'] or '(untitled)'}"


def _trashed(client: Client, typed: str) -> Iterator[tuple[str, str]]:
    for one in client.ask("list_trash", {"limit": _MOST})["sessions"]:
        if one["session_id"].startswith(typed):
            yield one["session_id"], f"@{one['agent']} {one['title'] or '(untitled)'}"


def _newest(client: Client, agent: str | None) -> list[dict[str, Any]]:
    of = {"agent": agent} if agent else {}
    page: list[dict[str, Any]] = client.ask("list_sessions", {**of, "limit": _MOST})["sessions"]
    return page


def _found(client: Client, typed: str, agent: str | None) -> list[dict[str, Any]]:
    """Those of all sessions that `typed` may mean: by id, or the one whose title it is or begins."""
    from port42_client.errors import DaemonError

    if len(typed) < _SHORTEST_PREFIX:
        return []
    try:
        return [client.ask("find_session", {"ref": typed, **({"agent": agent} if agent else {})})]
    except DaemonError as error:
        # Of several that only a title makes candidates a shell would insert what their ids begin with.
        candidates: list[dict[str, Any]] = error.data.get("candidates", [])
        return [one for one in candidates if one["session_id"].startswith(typed)]


def _agent_of(ctx: click.Context) -> str | None:
    """The agent that was named before on this line."""
    # Behind an option that still lacks its value, click leaves the arguments where it found them.
    named = ctx.params.get("agent") or next((one for one in ctx.args if one.startswith("@")), None)
    return named if isinstance(named, str) and named else None
