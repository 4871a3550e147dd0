"""What the blocking and the asynchronous client have in common: their options, and what they send."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypedDict
from uuid import uuid4

from msgspec import to_builtins

from port42_client.client import given
from port42_client.daemon import Daemon
from port42_client.daemon_errors import MethodNotFound, MissingCapability
from port42_client.errors import BadInput
from port42_client.wire import JsonObject
from port42_protocol import errors
from port42_protocol.messages.records import Reference
from port42_protocol.messages.sessions import GetSession, Transcript
from port42_protocol.messages.turns import McpServer


class RetryOptions(TypedDict, total=False):
    """Parameters of `retry_turn` beside the agent and the session, as the method has them.

    `client` is the script's name.
    """

    client: str
    detach: bool
    model: str | None
    mode: str | None


class PossessOptions(RetryOptions, total=False):
    """Parameters of `possess` beside the agent and the message.

    `session_id` is None for a new session; `cwd` the folder that it is about; ids of new sessions begin with
    `client`. Without an `idempotency_key` one is made, so that a message is
    recorded once though the daemon is restarted meanwhile. The others are as the method has them.
    """

    session_id: str | None
    cwd: str | os.PathLike[str] | None
    references: Sequence[Reference]
    if_busy: Literal["wait", "error", "fork"]
    idempotency_key: str
    depth: int
    mcp_servers: Sequence[McpServer]


def retry_params(agent: str, session_id: str, options: RetryOptions) -> JsonObject:
    """The params of `retry_turn`, streamed. Raises TypeError for an option that there is not."""
    _check_known(options, RetryOptions)
    params: JsonObject = {"agent": agent, "session_id": session_id, "client": "python", "stream": True}
    return params | given(**options)


def possess_params(agent: str, message: str, options: PossessOptions) -> JsonObject:
    """The params of `possess`, streamed. Raises TypeError for an option that there is not."""
    _check_known(options, PossessOptions)
    params: JsonObject = {"agent": agent, "message": message, "client": "python", "stream": True}
    params |= given(**options)
    if "cwd" in params:
        params["cwd"] = os.path.abspath(params["cwd"])  # noqa: PTH100 - text, as it travels
    for name in ("references", "mcp_servers"):
        if name in params:
            params[name] = to_builtins(list(params[name]))
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


class ClientOptions(TypedDict, total=False):
    """Which daemon a client means, and how it finds it.

    That of `home` (else of ``PORT42_HOME``, else of ``~/.port42``), the one that listens at `socket_path`, or
    another machine's: `host` is as for ``--host``. Without `start` (default: true) no daemon is started, and
    `NoDaemon` is raised where none answers. `notice` is told what a person might want to know meanwhile.
    """

    home: str | os.PathLike[str]
    socket_path: str | os.PathLike[str]
    host: str
    start: bool
    notice: Callable[[str], None]


def daemon_of(options: ClientOptions) -> Daemon:
    """Raises `BadInput`, and TypeError for an option that there is not."""
    _check_known(options, ClientOptions)
    environ = dict(os.environ)
    if (home := options.get("home")) is not None:
        environ["PORT42_HOME"] = os.path.abspath(os.path.expanduser(home))  # noqa: PTH100, PTH111 - text
        environ.pop("PORT42_SOCKET", None)  # of another home
    if not options.get("start", True):
        environ["PORT42_NO_AUTOSTART"] = "1"
    notice, path = options.get("notice", _silent), options.get("socket_path")
    if (host := options.get("host")) is None:
        return Daemon(None if path is None else os.fspath(path), environ, notice)
    if path is not None:
        raise BadInput("host: expected none where socket_path names a daemon of this machine")
    from port42_client.remote import RemoteDaemon  # what starts ssh is not for everybody

    return RemoteDaemon(host, environ, notice)


def _check_known(options: Iterable[str], kind: type) -> None:
    if unknown := set(options) - kind.__annotations__.keys():
        raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")


def _silent(_notice: str) -> None:
    """The default for `notice`."""
