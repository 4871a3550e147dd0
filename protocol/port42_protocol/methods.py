"""The table: every method, what it takes, what it gives, what it may answer instead.

Dispatch, the OpenRPC document, the CLI and the documentation are all derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from port42_protocol import errors as e
from port42_protocol import messages as m


@dataclass(frozen=True, slots=True)
class Method:
    """One row. `errors` are those it may answer beside the standard ones."""

    name: str
    params: type
    result: type
    errors: tuple[type[e.RpcError], ...] = ()

    @property
    def handler(self) -> str:
        """The name of the Python method that answers it (``rpc.discover`` → ``discover``)."""
        return self.name.removeprefix("rpc.")


_OWNED = (e.SessionNotFound, e.WrongAgent, e.SessionDamaged, e.StorageFailed)

METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method("get_last_session", m.GetLastSession, m.Summary, (e.NoSessions, *_OWNED)),
        Method("update_last_session", m.UpdateLastSession, m.Summary, _OWNED),
        Method("create_session", m.CreateSession, m.Summary, (e.SessionExists, e.StorageFailed)),
        Method("append_message", m.AppendMessage, m.Appended, _OWNED),
        Method("possess", m.Possess, m.Possessed, (e.UnknownAgent, *_OWNED)),
        Method("get_session", m.GetSession, m.Transcript, _OWNED),
        Method("find_session", m.FindSession, m.Summary, (e.NoSessions, e.AmbiguousSession, *_OWNED)),
        Method("list_sessions", m.ListSessions, m.SessionPage, (e.StorageFailed,)),
        Method("end_session", m.EndSession, m.Summary, _OWNED),
        Method("list_agents", m.ListAgents, m.AgentList, (e.StorageFailed,)),
        Method("add_agent", m.AddAgent, m.Agent, (e.ConfigRefused, e.StorageFailed)),
        Method("status", m.Status, m.DaemonStatus),
        Method("rpc.discover", m.Discover, m.OpenRpc),
    )
}
