"""The method table: each method's params, result and errors.

Dispatch, the OpenRPC document, the CLI and the documentation are all derived from it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from port42_protocol import errors as e
from port42_protocol.messages import (
    agents,
    capture,
    daemon,
    doctor_and_stats,
    forks_and_trash,
    hub,
    search,
    sessions,
    transfer,
    turns,
)
from port42_protocol.messages.events import SessionEvent
from port42_protocol.request import Request, handler_of, method_of, result_of


class Method(Struct, frozen=True):
    """One method. `errors` are those it can return besides `STANDARD`.

    One that is `read_only` changes nothing that is kept, starts no program and asks no back end: the socket
    for reading serves these alone.
    """

    name: str
    params: type
    result: type
    errors: tuple[type[e.RpcError], ...] = ()
    read_only: bool = False

    @property
    def handler(self) -> str:
        """The name of the Python method that handles it, and of its file in ``examples/``."""
        return handler_of(self.params)


def _row(params: type[Request[Any]], *errors: type[e.RpcError], read_only: bool = False) -> Method:
    return Method(method_of(params), params, result_of(params), errors, read_only)


def _reading(params: type[Request[Any]], *errors: type[e.RpcError]) -> Method:
    return _row(params, *errors, read_only=True)


_OWNED = (e.SessionNotFound, e.WrongAgent, e.SessionDamaged, e.StorageFailed)

_TURN = (e.SessionBusy, e.BackendFailed, e.ConfigRefused, *_OWNED)

METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        _reading(sessions.GetLastSession, e.NoSessions, *_OWNED),
        _row(sessions.UpdateLastSession, *_OWNED),
        _row(sessions.CreateSession, e.SessionExists, e.StorageFailed),
        _row(sessions.AppendMessage, *_OWNED),
        _row(turns.Possess, e.UnknownAgent, *_TURN),
        _row(turns.RetryTurn, *_TURN),
        _row(turns.CancelTurn),
        _row(turns.AnswerPermission),
        _reading(turns.Subscribe, *_OWNED),
        _reading(turns.Unsubscribe),
        _reading(sessions.GetSession, *_OWNED),
        _reading(sessions.FindSession, e.NoSessions, e.AmbiguousSession, *_OWNED),
        _reading(sessions.ListSessions, e.StorageFailed),
        _row(sessions.EndSession, *_OWNED),
        _reading(search.SearchSessions, e.StorageFailed),
        _row(search.RenameSession, *_OWNED),
        _row(search.TagSession, *_OWNED),
        _row(search.PinSession, *_OWNED),
        _reading(search.GetIndexStatus, e.StorageFailed),
        _row(search.RebuildIndex, e.StorageFailed),
        _row(forks_and_trash.ForkSession, e.UnknownAgent, e.ConfigRefused, e.SessionExists, *_OWNED),
        _reading(forks_and_trash.SessionTree, e.SessionNotFound, e.StorageFailed),
        _row(forks_and_trash.DeleteSession, e.SessionBusy, *_OWNED),
        _row(forks_and_trash.RestoreSession, e.SessionExists, *_OWNED),
        _row(forks_and_trash.ListTrash, e.StorageFailed),
        _row(forks_and_trash.PruneSessions, e.StorageFailed),
        _reading(transfer.ExportSession, *_OWNED),
        _row(transfer.ImportSessions, e.StorageFailed),
        _row(capture.GetCapture, e.ConfigRefused, e.StorageFailed),
        _row(capture.SetCapture, e.ConfigRefused, e.StorageFailed),
        _row(capture.RestoreOriginal, *_OWNED),
        _row(hub.GetHub, e.ConfigRefused),
        _row(hub.InitHub, e.HubUnavailable, e.ConfigRefused),
        _row(hub.JoinHub, e.HubUnavailable, e.ConfigRefused, e.StorageFailed),
        _row(hub.PauseHub, e.HubUnavailable, e.ConfigRefused, e.StorageFailed),
        _row(hub.ResumeHub, e.HubUnavailable, e.ConfigRefused, e.StorageFailed),
        _row(hub.LeaveHub, e.ConfigRefused, e.StorageFailed),
        _row(hub.GetShares, e.HubUnavailable, *_OWNED),
        _row(hub.ShareSession, e.HubUnavailable, *_OWNED),
        _row(hub.UnshareSession, e.HubUnavailable, *_OWNED),
        _row(agents.ListAgents, e.StorageFailed),
        _row(agents.GetAgent, e.UnknownAgent, e.ConfigRefused, e.StorageFailed),
        _row(agents.ListModels, e.UnknownAgent, e.ConfigRefused, e.StorageFailed),
        _row(agents.AddAgent, e.ConfigRefused, e.StorageFailed),
        _row(agents.ConnectAgent, e.UnknownAgent, e.ConfigRefused, e.StorageFailed),
        _row(agents.RemoveAgent, e.UnknownAgent, e.ConfigRefused, e.StorageFailed),
        _row(daemon.ReloadConfig, e.ConfigRefused),
        _reading(daemon.Status),
        _row(doctor_and_stats.CheckHome, e.StorageFailed),
        _reading(doctor_and_stats.Stats, e.UnknownAgent, e.ConfigRefused, e.StorageFailed),
        _reading(doctor_and_stats.DiskUsage, e.UnknownAgent, e.ConfigRefused, e.StorageFailed),
        _reading(daemon.Discover),
        _reading(daemon.Hello, e.MissingCapability),
        _reading(daemon.CancelRequest),
    )
}

NOTIFICATIONS: dict[str, Any] = {"session_event": SessionEvent}
"""Notifications to clients that subscribed or stream a turn, with their params."""

DEPRECATED: dict[str, str] = {}
"""By ``method``, ``method.parameter`` or ``Type.field``, what to use instead. It is still served."""

REMOVED: dict[str, str] = {}
"""By ``method`` or ``method.parameter``, what to use instead of what earlier versions served."""
