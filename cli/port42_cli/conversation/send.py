"""What `possess` and the conversation share: the session that goes on, and saying something in it.

In plain values: building the protocol's dataclasses would cost the command that is typed most a third
of its start-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, cast
from uuid import uuid4

from port42_cli import plain_text, streams
from port42_cli.conversation.show import Show
from port42_cli.conversation.turn import Turn
from port42_cli.cwd import sendable
from port42_client.client import Client

CLIENT = "cli"
"""What the ids of sessions that begin here start with."""


class Session(TypedDict):
    """What is used here of a `messages.Summary`."""

    session_id: str
    agent: str
    message_count: int


class Said(TypedDict):
    """A `messages.Possessed`."""

    session_id: str
    seq: int
    status: str
    reply: str | None
    turn: dict[str, Any] | None


class Reference(TypedDict, total=False):
    """A `messages.Reference`."""

    type: str
    target: str
    content: str


def announce(session_id: str) -> None:
    """Say which session begins."""
    streams.banner(f"Session: {session_id}")


def go_on(client: Client, agent: str, ref: str, *, cwd: str | None = None) -> Session:
    """The session of `agent` that `ref` means, announced.

    `cwd` narrows ``last`` to the sessions begun in that folder. Raises `DaemonError`.
    """
    if ref == "last":
        narrowed = {"cwd": cwd} if cwd else {}
        session: Session = client.ask("get_last_session", {"agent": agent, **narrowed})
    else:
        session = client.ask("find_session", {"ref": ref, "agent": agent})
    streams.banner(plain_text.resuming(session["session_id"], session["agent"], session["message_count"]))
    return session


def mark_used(client: Client, session: Session) -> Session:
    """Make `session` its agent's last used one; a message does that by itself."""
    asked = {"agent": session["agent"], "session_id": session["session_id"]}
    marked: Session = client.ask("update_last_session", asked)
    return marked


def say(  # noqa: PLR0913 - a message and how it is to be said
    client: Client,
    agent: str,
    message: str,
    session_id: str | None,
    show: Show,
    *,
    references: list[Reference] | None = None,
    if_busy: str = "wait",
    detach: bool = False,
    begun: Callable[[str], None] = announce,
) -> Said:
    """Say `message` in that session, or in a new one that begins in this folder; `begun` is told its id.

    `if_busy` may be ``follow``: the turns before this one are shown, too. Raises `DaemonError`, and
    `Detached` where it is to go on without us.
    """
    # With a key, a message that a stopping daemon may have recorded can be sent again.
    asked: dict[str, Any] = {"agent": agent, "message": message, "idempotency_key": uuid4().hex}
    if session_id:
        asked["session_id"] = session_id
    else:
        asked |= {"client": CLIENT, "cwd": sendable()}
    if references:
        asked["references"] = references
    if detach:
        asked["detach"] = True
    if if_busy in {"error", "fork"}:
        asked["if_busy"] = if_busy
    asked["stream"] = True
    following = if_busy == "follow" and session_id is not None
    return cast("Said", Turn(client, show, asked, begun, among_others=following).run("possess"))


def retry(client: Client, agent: str, session_id: str, show: Show, *, detach: bool = False) -> Said:
    """Ask the session's last question again, whose turn failed."""
    asked = {"agent": agent, "session_id": session_id, "stream": True, "detach": detach}
    return cast("Said", Turn(client, show, asked, announce).run("retry_turn"))


def tell_outcome(client: Client, said: Said, *, briefly: bool = False) -> None:
    """Say what the reply itself does not: that there is none, or that it was stopped."""
    if said["status"] == "recorded":
        _tell_recorded(client, said, briefly)
    elif said["status"] == "interrupted":
        streams.notice("Interrupted. What was said so far is kept.")


def _tell_recorded(client: Client, said: Said, briefly: bool) -> None:
    session: Session = client.ask("find_session", {"ref": said["session_id"]})
    streams.notice(plain_text.recorded(session["agent"], session["message_count"], briefly=briefly))
