"""All errors of the protocol: code, kind, whether a retry can help, and message.

    RpcError
    ├── ParseError, InvalidRequest, MethodNotFound, InvalidParams, InternalError   (JSON-RPC 2.0, 5.1)
    ├── Overloaded, ShuttingDown                                                   (retryable)
    ├── FrameTooLarge, BatchTooLarge, RestartNeeded, ReadOnly, RequestCancelled
    └── NoSessions, SessionNotFound, AmbiguousSession, WrongAgent, SessionBusy, UnknownAgent,
        BackendFailed, StorageFailed, SessionExists, SessionDamaged, ConfigRefused,
        MissingCapability, HubUnavailable                                          (Port42's own)

Messages are for people; programs read `code` and `data.kind`. Neither contains a traceback, an address or a
path that the caller did not send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class RpcError(Exception):
    """An error response. `data` always has `kind` and `retryable`."""

    code: ClassVar[int]
    kind: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = {"kind": self.kind, "retryable": self.retryable, **details}


class ParseError(RpcError):
    """The line is not JSON."""

    code, kind = -32700, "parse_error"


class InvalidRequest(RpcError):
    """JSON, but not a JSON-RPC 2.0 request."""

    code, kind = -32600, "invalid_request"


class MethodNotFound(RpcError):
    """No such method; `suggestions` has those with similar names."""

    code, kind = -32601, "method_not_found"

    def __init__(self, method: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__("Method not found", method=method, suggestions=list(suggestions))


class InvalidParams(RpcError):
    """A parameter is missing, unknown or invalid: `field` names it, `expected` says what is valid."""

    code, kind = -32602, "invalid_params"

    def __init__(self, message: str, *, field: str | None, expected: str) -> None:
        super().__init__(message, field=field, expected=expected)

    @classmethod
    def expecting(cls, field: str, expected: str, *, got: str = "", why: str = "") -> InvalidParams:
        """``FIELD: expected EXPECTED, got GOT: WHY``; the last two are optional."""
        message = f"{field}: expected {expected}" + (f", got {got}" if got else "")
        return cls(message + (f": {why}" if why else ""), field=field, expected=expected)

    @classmethod
    def missing(cls, field: str, expected: str) -> InvalidParams:
        """``FIELD parameter required``."""
        return cls(f"{field} parameter required", field=field, expected=expected)


class InternalError(RpcError):
    """A bug in the daemon. Its log has the traceback with the same `error_id`."""

    code, kind = -32603, "internal_error"

    def __init__(self, error_id: str) -> None:
        super().__init__(f"Internal error {error_id}; the daemon's log says more", error_id=error_id)


class Overloaded(RpcError):
    """Too many connections or requests at once."""

    code, kind, retryable = -32001, "overloaded", True


class ShuttingDown(RpcError):
    """The daemon is stopping; a retry reaches the next one."""

    code, kind, retryable = -32002, "shutting_down", True

    def __init__(self) -> None:
        super().__init__("the daemon is shutting down")


class RestartNeeded(RpcError):
    """Port42's files were replaced or removed since the daemon started: a module cannot be loaded."""

    code, kind = -32005, "restart_needed"

    def __init__(self) -> None:
        super().__init__(
            "port42 was reinstalled or removed while this daemon was running; `port42 daemon restart` starts"
            " the installed version"
        )


class FrameTooLarge(RpcError):
    """A request line over the limit (bytes). The connection is closed after the answer."""

    code, kind = -32003, "frame_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"a request line may have at most {limit:,} bytes", limit=limit)


class BatchTooLarge(RpcError):
    """Too many requests in one batch."""

    code, kind = -32004, "batch_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a batch may have at most {limit} requests, this one has {size}", limit=limit)


class ReadOnly(RpcError):
    """The method can change something, and the connection is to the socket for reading."""

    code, kind = -32006, "read_only"

    def __init__(self, method: str) -> None:
        super().__init__(
            f"{method} can change something, and this socket is for reading only;"
            " `port42 socket-path` names the other one",
            method=method,
        )


class RequestCancelled(RpcError):
    """The client cancelled the request with `$/cancel`. The code is the Language Server Protocol's."""

    code, kind = -32800, "request_cancelled"

    def __init__(self) -> None:
        super().__init__("the request was cancelled")


class NoSessions(RpcError):
    """The agent has no session (in that folder, where one was given).

    Where `agent` is null, no agent has one.
    """

    code, kind = 1001, "no_sessions"

    def __init__(self, agent: str | None, cwd: str | None = None) -> None:
        whose = f" for {agent}" if agent else ""
        here = f" in {cwd}" if cwd else ""
        super().__init__(f"No sessions found{whose}{here}", agent=agent)


class SessionNotFound(RpcError):
    """No session matches the reference; with `vanished`, its file was deleted."""

    code, kind = 1002, "session_not_found"

    def __init__(self, ref: str, *, vanished: bool = False) -> None:
        text = f"session {ref} no longer exists" if vanished else f"session {ref} not found"
        super().__init__(text, ref=ref)


class AmbiguousSession(RpcError):
    """A prefix or title matches several sessions; `candidates` has summaries of up to ten."""

    code, kind = 1003, "ambiguous_session"

    def __init__(self, ref: str, candidates: Sequence[Mapping[str, Any]]) -> None:
        names = ", ".join(str(summary["session_id"]) for summary in candidates)
        super().__init__(f"{ref} fits several sessions: {names}", ref=ref, candidates=list(candidates))


class WrongAgent(RpcError):
    """The session belongs to another agent; nothing was changed."""

    code, kind = 1004, "wrong_agent"

    def __init__(self, session_id: str, agent: str, owner: str) -> None:
        super().__init__(
            f"session {session_id} belongs to @{owner}, not to @{agent}",
            session_id=session_id,
            agent=agent,
            owner=owner,
        )


class SessionBusy(RpcError):
    """Another turn of the session is running, and the request does not wait.

    `machine`: the name of the machine that runs it, where that is another one.
    """

    code, kind, retryable = 1005, "session_busy", True

    def __init__(self, session_id: str, waiting: int, machine: str | None = None) -> None:
        also = f" and {waiting} waiting" if waiting else ""
        elsewhere = f" on {machine}" if machine else ""
        super().__init__(
            f"session {session_id} is busy: a turn is under way{elsewhere}{also}",
            session_id=session_id,
            waiting=waiting,
            **({"machine": machine} if machine else {}),
        )


class UnknownAgent(RpcError):
    """No agent has that name; `suggestions` has similar names."""

    code, kind = 1006, "unknown_agent"

    def __init__(self, agent: str, suggestions: Sequence[str]) -> None:
        near = " or ".join(f"@{name}" for name in suggestions)
        did_you_mean = f" Did you mean {near}?" if near else ""
        super().__init__(
            f"unknown agent {agent}.{did_you_mean} `port42 agents add {agent}` makes it known",
            agent=agent,
            suggestions=list(suggestions),
        )


class BackendFailed(RpcError):
    """The agent's back end failed. The message (`seq`) and the failure are recorded.

    `data.kind` is the failure's: missing, needs_auth, network, rate_limit, refused, crashed, timeout.
    """

    code, kind = 1007, "backend_failed"

    def __init__(self, failure: str, message: str, session_id: str, seq: int) -> None:
        super().__init__(message, session_id=session_id, seq=seq)
        self.data["kind"] = failure
        self.data["retryable"] = failure in {"network", "rate_limit", "timeout", "crashed"}


class StorageFailed(RpcError):
    """Writing to or reading from the disk failed. With `session_id` and `seq`, that message is recorded."""

    code, kind, retryable = 1008, "storage_failed", True


class SessionExists(RpcError):
    """A session with that id exists already."""

    code, kind = 1009, "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id} exists already", session_id=session_id)


class SessionDamaged(RpcError):
    """The session's file is damaged; it was not changed."""

    code, kind = 1010, "session_damaged"

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(f"session {session_id} cannot be read: {reason}", session_id=session_id)


class ConfigRefused(RpcError):
    """`config.toml` is invalid: `reason` names the key and what was expected."""

    code, kind = 1011, "config_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(f"config.toml: {reason}", reason=reason)


class MissingCapability(RpcError):
    """The daemon does not have what the client needs: `missing` names it, `update` the side to update.

    `update` is null where an update does not help: on the socket for reading, and for a misspelled name.
    """

    code, kind = 1012, "missing_capability"

    def __init__(self, reason: str, missing: Sequence[str], update: str | None) -> None:
        super().__init__(reason, missing=list(missing), update=update)


class HubUnavailable(RpcError):
    """The hub cannot be reached, or cannot be used as it is; sessions here go on without it."""

    code, kind, retryable = 1013, "hub_unavailable", True

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.data["retryable"] = retryable


STANDARD: tuple[type[RpcError], ...] = (
    ParseError,
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    InternalError,
    Overloaded,
    ShuttingDown,
    FrameTooLarge,
    BatchTooLarge,
    RestartNeeded,
    ReadOnly,
    RequestCancelled,
)
"""Errors that every method can return."""
