"""A client of the daemon: connects, starts it where need be, calls its methods.

What scripts use is named here, and loaded when it is used: the CLI, which starts often, imports only the
modules that it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from port42_client.asynchronous import AsyncClient, AsyncTurn
    from port42_client.blocking import Client, Turn
    from port42_client.daemon_errors import (
        AmbiguousSession,
        BackendFailed,
        BatchTooLarge,
        ConfigRefused,
        FrameTooLarge,
        HubUnavailable,
        InternalError,
        InvalidParams,
        InvalidRequest,
        MethodNotFound,
        MissingCapability,
        NoSessions,
        Overloaded,
        ParseError,
        ReadOnly,
        RequestCancelled,
        RestartNeeded,
        SessionBusy,
        SessionDamaged,
        SessionExists,
        SessionNotFound,
        ShuttingDown,
        StorageFailed,
        UnknownAgent,
        WrongAgent,
    )
    from port42_client.errors import BadInput, CommandError, DaemonError, NoDaemon

_MODULES = {
    "asynchronous": ("AsyncClient", "AsyncTurn"),
    "blocking": ("Client", "Turn"),
    "errors": ("BadInput", "CommandError", "DaemonError", "NoDaemon"),
    "daemon_errors": (
        *("AmbiguousSession", "BackendFailed", "BatchTooLarge", "ConfigRefused", "FrameTooLarge"),
        "HubUnavailable",
        *("InternalError", "InvalidParams", "InvalidRequest", "MethodNotFound", "MissingCapability"),
        *("NoSessions", "Overloaded", "ParseError", "ReadOnly", "RequestCancelled", "RestartNeeded"),
        *("SessionBusy", "SessionDamaged", "SessionExists", "SessionNotFound", "ShuttingDown"),
        *("StorageFailed", "UnknownAgent", "WrongAgent"),
    ),
}

__all__ = [
    "AmbiguousSession",
    "AsyncClient",
    "AsyncTurn",
    "BackendFailed",
    "BadInput",
    "BatchTooLarge",
    "Client",
    "CommandError",
    "ConfigRefused",
    "DaemonError",
    "FrameTooLarge",
    "HubUnavailable",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "MethodNotFound",
    "MissingCapability",
    "NoDaemon",
    "NoSessions",
    "Overloaded",
    "ParseError",
    "ReadOnly",
    "RequestCancelled",
    "RestartNeeded",
    "SessionBusy",
    "SessionDamaged",
    "SessionExists",
    "SessionNotFound",
    "ShuttingDown",
    "StorageFailed",
    "Turn",
    "UnknownAgent",
    "WrongAgent",
]


def __getattr__(name: str) -> Any:
    """What is in `__all__`, from its module."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"port42_client.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
