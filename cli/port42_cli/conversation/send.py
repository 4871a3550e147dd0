"""Shared by `possess` and the conversation: resume a session, send a message to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, cast
from uuid import uuid4

from port42_cli import plain_text, streams
from port42_cli.conversation.show import BareReply, JsonLines, Show, TurnResult, Unseen
from port42_cli.conversation.turn import Turn
from port42_client.client import Client
from port42_client.wire import JsonObject, Session
from port42_protocol import paths

CLIENT = "cli"  # the prefix of ids of new sessions


class Reference(TypedDict, total=False):
    """A `messages.Reference` as JSON has it."""

    type: str
    target: str
    content: str


def show_reply(*, as_json: bool = False, with_others: bool = False) -> Show:
    """For this stdout; `with_others`, also the other turns of the session."""
    if not streams.can_be_written():
        return Unseen()
    if as_json:
        return JsonLines()
    if not streams.can_draw():
        return BareReply()
    # rich and msgspec are for terminals only.
    if with_others:
        from port42_cli.conversation.live_sessions import LiveSessions

        return LiveSessions()
    from port42_cli.conversation.live import LiveReply

    return LiveReply()


def folder_for(client: Client) -> str | None:
    """The current folder for a new session; None on another machine, where that would be another folder."""
    return None if client.host is not None else paths.current_folder()


def announce(session_id: str) -> None:
    streams.banner(f"Session: {session_id}")


def go_on(client: Client, agent: str, ref: str, *, cwd: str | None = None) -> Session:
    """The session of `agent` that `ref` means, announced.

    `cwd` narrows ``last`` to the sessions begun in that folder. Raises `DaemonError`.
    """
    session: Session
    if ref == "last":
        session = client.ask("get_last_session", {"agent": agent} | ({"cwd": cwd} if cwd else {}))
    else:
        session = client.ask("find_session", {"ref": ref, "agent": agent})
    streams.banner(plain_text.resuming(session["session_id"], session["agent"], session["message_count"]))
    return session


def mark_used(client: Client, session: Session) -> Session:
    """Make `session` its agent's last used one; a message does that by itself."""
    params = {"agent": session["agent"], "session_id": session["session_id"]}
    return cast("Session", client.ask("update_last_session", params))


def send(  # noqa: PLR0913 - a message and how it is to be sent
    client: Client,
    agent: str,
    message: str,
    session_id: str | None,
    show: Show,
    *,
    references: list[Reference] | None = None,
    model: str | None = None,
    mode: str | None = None,
    if_busy: str = "wait",
    detach: bool = False,
    on_begin: Callable[[str], None] = announce,
) -> TurnResult:
    """Send `message` to that session, or to a new one in this folder, with whose id `on_begin` is called.

    With the `if_busy` ``follow`` the turns before this one are shown, too. Raises `DaemonError`, and with
    `detach` `Detached`.
    """
    # With a key, a message that a stopping daemon may have recorded can be sent again.
    params: JsonObject = {
        "agent": agent,
        "message": message,
        "idempotency_key": uuid4().hex,
        "stream": True,
        "client": CLIENT,
        "cwd": folder_for(client),
    }
    params |= {"session_id": session_id} if session_id else {}
    params |= {"references": references} if references else {}
    params |= {"model": model} if model is not None else {}
    params |= {"mode": mode} if mode is not None else {}
    # A network breaks more often than a daemon does: there the turn continues without us.
    params |= {"detach": True} if detach or client.host else {}
    params |= {"if_busy": if_busy} if if_busy in {"error", "fork"} else {}
    following = if_busy == "follow" and session_id is not None
    return Turn(client, show, params, on_begin, among_others=following, detach=detach).run("possess")


def retry(  # noqa: PLR0913 - as above
    client: Client,
    agent: str,
    session_id: str,
    show: Show,
    *,
    detach: bool = False,
    model: str | None = None,
    mode: str | None = None,
) -> TurnResult:
    stays = detach or client.host is not None
    params = {"agent": agent, "session_id": session_id, "client": CLIENT, "stream": True, "detach": stays}
    params |= {"model": model} if model is not None else {}
    params |= {"mode": mode} if mode is not None else {}
    return Turn(client, show, params, announce, detach=detach).run("retry_turn")


def tell_outcome(client: Client, result: TurnResult, *, briefly: bool = False) -> None:
    """Say when there is no reply, or only a part of it."""
    if result["status"] == "recorded":
        session: Session = client.ask("find_session", {"ref": result["session_id"]})
        streams.notice(plain_text.recorded(session["agent"], session["message_count"], briefly=briefly))
    elif result["status"] == "interrupted":
        streams.notice("Interrupted. The reply so far is kept.")
