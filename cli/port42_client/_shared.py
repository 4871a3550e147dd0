"""What the blocking and the asynchronous client have in common: their options, and what they send."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypedDict
from uuid import uuid4

from msgspec import to_builtins

from port42_client.daemon import Daemon
from port42_client.daemon_errors import MethodNotFound, MissingCapability
from port42_protocol import errors
from port42_protocol.messages.records import Reference
from port42_protocol.messages.sessions import GetSession, Transcript


class PossessOptions(TypedDict, total=False):
    """Parameters of `possess` beside the agent and the message.

    `session_id` is None for a new session; `cwd` the folder that it is about; `client` the script's name,
    with which ids of new sessions begin. Without an `idempotency_key` one is made, so that a message is
    recorded once though the daemon is restarted meanwhile. The others are as the method has them.
    """

    session_id: str | None
    client: str
    cwd: str | os.PathLike[str] | None
    references: Sequence[Reference]
    if_busy: Literal["wait", "error", "fork"]
    detach: bool
    idempotency_key: str


def possess_params(agent: str, message: str, options: PossessOptions) -> dict[str, Any]:
    """The params of `possess`, streamed."""
    params: dict[str, Any] = {"agent": agent, "message": message, "client": "python", "stream": True}
    params |= {name: value for name, value in options.items() if value is not None}
    if "cwd" in params:
        params["cwd"] = os.path.abspath(params["cwd"])  # noqa: PTH100 - text, as it travels
    if "references" in params:
        params["references"] = to_builtins(list(params["references"]))
    return {"idempotency_key": uuid4().hex, **params}


def last_record(session_id: str, agent: str | None) -> GetSession:
    """Asks for a session and its last record."""
    return GetSession(session_id, agent, events=True, last=1)


def last_seq(transcript: Transcript) -> int:
    return max((record.seq for record in transcript.messages), default=0)


@contextmanager
def hello_is_known(needs: Sequence[str]) -> Iterator[None]:
    """Around a `hello`. Raises `MissingCapability` also where the daemon is too old to have that."""
    try:
        yield
    except MethodNotFound:
        lacks = f"this daemon is older than 0.2.0, has no `hello` and may lack {', '.join(needs) or 'more'}"
        error = errors.MissingCapability(f"{lacks}: update port42d", ["hello", *needs], "port42d")
        raise MissingCapability(error.code, error.message, error.data) from None


def daemon_at(
    home: str | os.PathLike[str] | None,
    socket_path: str | os.PathLike[str] | None,
    *,
    start: bool,
    notice: Callable[[str], None],
) -> Daemon:
    """The daemon that a client's options name."""
    environ = dict(os.environ)
    if home is not None:
        environ["PORT42_HOME"] = os.path.abspath(os.path.expanduser(home))  # noqa: PTH100, PTH111 - text
        environ.pop("PORT42_SOCKET", None)  # of another home
    if not start:
        environ["PORT42_NO_AUTOSTART"] = "1"
    return Daemon(None if socket_path is None else os.fspath(socket_path), environ, notice)
