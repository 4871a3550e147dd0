"""The table: every method, what it takes, what it gives, what it may answer instead.

Dispatch, the OpenRPC document, the CLI and the documentation are all derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from port42_protocol import errors as e
from port42_protocol.messages.agents import (
    AddAgent,
    Agent,
    AgentList,
    ConnectAgent,
    GetAgent,
    ListAgents,
    RemoveAgent,
    Removed,
)
from port42_protocol.messages.daemon import DaemonStatus, Discover, OpenRpc, ReloadConfig, Reloaded, Status
from port42_protocol.messages.doctor_and_stats import CheckHome, Checkup, DiskUsage, Statistics, Stats, Usage
from port42_protocol.messages.events import Possessed, SessionEvent
from port42_protocol.messages.forks_and_trash import (
    Deleted,
    DeleteSession,
    Family,
    ForkSession,
    ListTrash,
    Pruned,
    PruneSessions,
    RestoreSession,
    SessionTree,
    TrashPage,
)
from port42_protocol.messages.records import Summary
from port42_protocol.messages.search import (
    GetIndexStatus,
    HitPage,
    IndexStatus,
    PinSession,
    RebuildIndex,
    RenameSession,
    SearchSessions,
    TagSession,
)
from port42_protocol.messages.sessions import (
    Appended,
    AppendMessage,
    CreateSession,
    EndSession,
    FindSession,
    GetLastSession,
    GetSession,
    ListSessions,
    SessionPage,
    Transcript,
    UpdateLastSession,
)
from port42_protocol.messages.transfer import ExportPage, ExportSession, ImportPage, ImportSessions
from port42_protocol.messages.turns import (
    AnswerPermission,
    Cancelled,
    CancelTurn,
    Possess,
    RetryTurn,
    Subscribe,
    Subscribed,
    Taken,
    Unsubscribe,
)


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

_TURN = (e.SessionBusy, e.BackendFailed, e.ConfigRefused, *_OWNED)

METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method("get_last_session", GetLastSession, Summary, (e.NoSessions, *_OWNED)),
        Method("update_last_session", UpdateLastSession, Summary, _OWNED),
        Method("create_session", CreateSession, Summary, (e.SessionExists, e.StorageFailed)),
        Method("append_message", AppendMessage, Appended, _OWNED),
        Method("possess", Possess, Possessed, (e.UnknownAgent, *_TURN)),
        Method("retry_turn", RetryTurn, Possessed, _TURN),
        Method("cancel_turn", CancelTurn, Cancelled),
        Method("answer_permission", AnswerPermission, Taken),
        Method("subscribe", Subscribe, Subscribed, _OWNED),
        Method("unsubscribe", Unsubscribe, Subscribed),
        Method("get_session", GetSession, Transcript, _OWNED),
        Method("find_session", FindSession, Summary, (e.NoSessions, e.AmbiguousSession, *_OWNED)),
        Method("list_sessions", ListSessions, SessionPage, (e.StorageFailed,)),
        Method("end_session", EndSession, Summary, _OWNED),
        Method("search_sessions", SearchSessions, HitPage, (e.StorageFailed,)),
        Method("rename_session", RenameSession, Summary, _OWNED),
        Method("tag_session", TagSession, Summary, _OWNED),
        Method("pin_session", PinSession, Summary, _OWNED),
        Method("get_index_status", GetIndexStatus, IndexStatus, (e.StorageFailed,)),
        Method("rebuild_index", RebuildIndex, IndexStatus, (e.StorageFailed,)),
        Method(
            "fork_session", ForkSession, Summary, (e.UnknownAgent, e.ConfigRefused, e.SessionExists, *_OWNED)
        ),
        Method("session_tree", SessionTree, Family, (e.SessionNotFound, e.StorageFailed)),
        Method("delete_session", DeleteSession, Deleted, (e.SessionBusy, *_OWNED)),
        Method("restore_session", RestoreSession, Summary, (e.SessionExists, *_OWNED)),
        Method("list_trash", ListTrash, TrashPage, (e.StorageFailed,)),
        Method("prune_sessions", PruneSessions, Pruned, (e.StorageFailed,)),
        Method("export_session", ExportSession, ExportPage, _OWNED),
        Method("import_sessions", ImportSessions, ImportPage, (e.StorageFailed,)),
        Method("list_agents", ListAgents, AgentList, (e.StorageFailed,)),
        Method("get_agent", GetAgent, Agent, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("add_agent", AddAgent, Agent, (e.ConfigRefused, e.StorageFailed)),
        Method("connect_agent", ConnectAgent, Agent, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("remove_agent", RemoveAgent, Removed, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("reload_config", ReloadConfig, Reloaded, (e.ConfigRefused,)),
        Method("status", Status, DaemonStatus),
        Method("check_home", CheckHome, Checkup, (e.StorageFailed,)),
        Method("stats", Stats, Statistics, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("disk_usage", DiskUsage, Usage, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("rpc.discover", Discover, OpenRpc),
    )
}

NOTIFICATIONS: dict[str, Any] = {"session_event": SessionEvent}
"""What the daemon says without being asked, to those who subscribed or stream a turn, and its params."""
