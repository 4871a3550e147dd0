"""What `possess` and the conversation share: the session that goes on, and saying something in it."""

from __future__ import annotations

from uuid import uuid4

from port42_cli import output, plain
from port42_cli.client import Client
from port42_cli.folder import sendable
from port42_protocol import messages as m

CLIENT = "cli"
"""What the ids of sessions that begin here start with."""


def resume(client: Client, agent: str, ref: str, *, cwd: str | None = None) -> m.Summary:
    """The session of `agent` that `ref` means, announced, and its last used one from now on.

    `cwd` narrows ``last`` to the sessions begun in that folder. Raises `DaemonError`.
    """
    if ref == "last":
        session = client.call(m.GetLastSession(agent, cwd), m.Summary)
    else:
        session = client.call(m.FindSession(ref, agent), m.Summary)
    output.banner(plain.resuming(session))
    return session


def mark_used(client: Client, session: m.Summary) -> m.Summary:
    """Make `session` its agent's last used one; a message does that by itself."""
    return client.call(m.UpdateLastSession(session.agent, session.session_id), m.Summary)


def say(client: Client, agent: str, message: str, session_id: str | None) -> m.Possessed:
    """Say `message` in that session, or in a new one that begins in this folder."""
    asked = m.Possess(
        agent=agent,
        message=message,
        session_id=session_id,
        client=CLIENT,
        cwd=None if session_id else sendable(),
        # With a key, a message that a stopping daemon may have recorded can be sent again.
        idempotency_key=uuid4().hex,
    )
    return client.call(asked, m.Possessed)
