"""`hello`: what the client is and needs, and what the daemon is and can do."""

from __future__ import annotations

import dataclasses
import difflib

from port42_daemon.events import Peer
from port42_daemon.settings import Settings
from port42_protocol import PROTOCOL_VERSION, __version__
from port42_protocol.errors import MissingCapability
from port42_protocol.messages.daemon import Hello, Welcome
from port42_protocol.methods import METHODS, REMOVED


class Handshake:
    """Handles `hello` on one socket; with `read_only`, on the one for reading."""

    def __init__(self, settings: Settings, *, read_only: bool = False) -> None:
        self._limits = settings.limits
        self._read_only = read_only

    def hello(self, request: Hello, peer: Peer) -> Welcome:
        """Raises `MissingCapability`, and then changes nothing."""
        self._require(request)
        if request.notifications is not None:
            peer.notifications = request.notifications
        return Welcome(
            version=__version__,
            protocol_version=PROTOCOL_VERSION,
            capabilities=tuple(filter(self._serves, METHODS)),
            limits=self._limits,
            read_only=self._read_only,
            notifications=peer.notifications,
        )

    def _serves(self, method: str) -> bool:
        return METHODS[method].read_only or not self._read_only

    def _require(self, request: Hello) -> None:
        needs = list(dict.fromkeys(request.needs or ()))
        unknown = [need for need in needs if not _exists(need)]
        removed = [need for need in unknown if need in REMOVED]
        newer = [need for need in unknown if need not in REMOVED]
        unserved = [need for need in needs if need not in unknown and not self._serves(_method_of(need))]
        missing = [*newer, *removed, *unserved]
        if not missing:
            return
        reasons, update = [], None
        if unserved:
            reasons.append(
                f"the socket for reading does not serve {', '.join(unserved)};"
                " `port42 socket-path` names the other one"
            )
        if removed:
            instead = ", ".join(f"{need} (instead: {REMOVED[need]})" for need in removed)
            reasons.insert(0, f"port42d {__version__} no longer has {instead}: update {_name(request)}")
            update = "client"
        if newer:
            hint = _hint(newer)
            needed = f"{', '.join(newer)}, which {_name(request)} needs"
            reasons.insert(0, f"port42d {__version__} does not have {needed}{hint}: update port42d")
            update = "port42d"
        raise MissingCapability("; ".join(reasons), missing, update)


def _method_of(need: str) -> str:
    """The method of ``METHOD`` or ``METHOD.PARAMETER``; one method has a dot itself."""
    return need if need in METHODS else need.rpartition(".")[0]


def _exists(need: str) -> bool:
    if need in METHODS:
        return True
    method, _, parameter = need.rpartition(".")
    return method in METHODS and parameter in {
        field.name for field in dataclasses.fields(METHODS[method].params)
    }


def _hint(unknown: list[str]) -> str:
    """For names that may be misspelled."""
    known = [
        name
        for row in METHODS.values()
        for name in (row.name, *(f"{row.name}.{field.name}" for field in dataclasses.fields(row.params)))
    ]
    similar = [name for need in unknown for name in difflib.get_close_matches(need, known, n=1)]
    return f" (did you mean {', '.join(similar)}?)" if similar else ""


def _name(request: Hello) -> str:
    return " ".join(part for part in (request.client or "the client", request.version) if part)
