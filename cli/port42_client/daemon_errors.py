"""The daemon's errors by kind: a class for each, so that a program can tell them apart by `except`.

What their `data` has beside ``kind`` and ``retryable`` is in `port42_protocol.errors`. Imported where there
is an error, or where one is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from port42_client.errors import DaemonError
from port42_protocol import errors


class ParseError(DaemonError):
    """The line is not JSON."""


class InvalidRequest(DaemonError):
    """JSON, but not a JSON-RPC 2.0 request."""


class MethodNotFound(DaemonError):
    """No such method; `suggestions` has those with similar names."""


class InvalidParams(DaemonError):
    """A parameter is missing, unknown or invalid: `field` names it, `expected` says what is valid."""


class InternalError(DaemonError):
    """A bug in the daemon. Its log has the traceback with the same `error_id`."""


class Overloaded(DaemonError):
    """Too many connections or requests at once."""


class ShuttingDown(DaemonError):
    """The daemon is stopping; a retry reaches the next one."""


class RestartNeeded(DaemonError):
    """Port42's files were replaced or removed since the daemon started: a module cannot be loaded."""


class FrameTooLarge(DaemonError):
    """A request line over the limit (bytes). The connection is closed after the answer."""


class BatchTooLarge(DaemonError):
    """Too many requests in one batch."""


class ReadOnly(DaemonError):
    """The method can change something, and the connection is to the socket for reading."""


class RequestCancelled(DaemonError):
    """The client cancelled the request with `$/cancel`. The code is the Language Server Protocol's."""


class NoSessions(DaemonError):
    """The agent has no session (in that folder, where one was given)."""


class SessionNotFound(DaemonError):
    """No session matches the reference; with `vanished`, its file was deleted."""


class AmbiguousSession(DaemonError):
    """A prefix or title matches several sessions; `candidates` has summaries of up to ten."""


class WrongAgent(DaemonError):
    """The session belongs to another agent; nothing was changed."""


class SessionBusy(DaemonError):
    """Another turn of the session is running, and the request does not wait."""


class UnknownAgent(DaemonError):
    """No agent has that name; `suggestions` has similar names."""


class BackendFailed(DaemonError):
    """The agent's back end failed. The message (`seq`) and the failure are recorded."""


class StorageFailed(DaemonError):
    """Writing to or reading from the disk failed. With `session_id` and `seq`, that message is recorded."""


class SessionExists(DaemonError):
    """A session with that id exists already."""


class SessionDamaged(DaemonError):
    """The session's file is damaged; it was not changed."""


class ConfigRefused(DaemonError):
    """`config.toml` is invalid: `reason` names the key and what was expected."""


class MissingCapability(DaemonError):
    """The daemon does not have what the client needs: `missing` names it, `update` the side to update."""


class HubUnavailable(DaemonError):
    """The hub cannot be reached, or cannot be used as it is; sessions here go on without it."""


_BY_CODE: dict[int, type[DaemonError]] = {
    getattr(errors, kind.__name__).code: kind
    for kind in (
        *(ParseError, InvalidRequest, MethodNotFound, InvalidParams, InternalError, Overloaded),
        *(ShuttingDown, RestartNeeded, FrameTooLarge, BatchTooLarge, ReadOnly, RequestCancelled),
        *(NoSessions, SessionNotFound, AmbiguousSession, WrongAgent, SessionBusy, UnknownAgent),
        *(BackendFailed, StorageFailed, SessionExists, SessionDamaged, ConfigRefused, MissingCapability),
        *(HubUnavailable,),
    )
}
"""The classes here have the names of the protocol's."""


def of(code: int, message: str, data: Mapping[str, Any] | None) -> DaemonError:
    """The error of that code; a `DaemonError` for one that only a newer daemon knows."""
    return _BY_CODE.get(code, DaemonError)(code, message, data)
