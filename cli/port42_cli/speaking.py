"""What `possess` and the conversation share: the session that goes on, and saying something in it.

In plain values: building the protocol's dataclasses would cost the command that is typed most a third
of its start-up.
"""

from __future__ import annotations

from typing import Any, TypedDict
from uuid import uuid4

from port42_cli import output, plain
from port42_cli.client import Client
from port42_cli.folder import sendable

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


def resume(client: Client, agent: str, ref: str, *, cwd: str | None = None) -> Session:
    """The session of `agent` that `ref` means, announced.

    `cwd` narrows ``last`` to the sessions begun in that folder. Raises `DaemonError`.
    """
    if ref == "last":
        narrowed = {"cwd": cwd} if cwd else {}
        session: Session = client.ask("get_last_session", {"agent": agent, **narrowed})
    else:
        session = client.ask("find_session", {"ref": ref, "agent": agent})
    output.banner(plain.resuming(session["session_id"], session["agent"], session["message_count"]))
    return session


def mark_used(client: Client, session: Session) -> Session:
    """Make `session` its agent's last used one; a message does that by itself."""
    asked = {"agent": session["agent"], "session_id": session["session_id"]}
    marked: Session = client.ask("update_last_session", asked)
    return marked


def say(client: Client, agent: str, message: str, session_id: str | None) -> Said:
    """Say `message` in that session, or in a new one that begins in this folder and is announced."""
    # With a key, a message that a stopping daemon may have recorded can be sent again.
    asked: dict[str, Any] = {"agent": agent, "message": message, "idempotency_key": uuid4().hex}
    if session_id:
        asked["session_id"] = session_id
    else:
        asked |= {"client": CLIENT, "cwd": sendable()}
    said: Said = client.ask("possess", asked)
    if not session_id:
        output.banner(f"Session: {said['session_id']}")
    return said


def tell_recorded(client: Client, said: Said, *, briefly: bool = False) -> None:
    """Say that the message is kept and that nothing answers it."""
    session: Session = client.ask("find_session", {"ref": said["session_id"]})
    output.notice(plain.recorded(session["agent"], session["message_count"], briefly=briefly))
