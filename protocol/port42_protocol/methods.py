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

_TURN = (e.SessionBusy, e.BackendFailed, *_OWNED)

METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method("get_last_session", m.GetLastSession, m.Summary, (e.NoSessions, *_OWNED)),
        Method("update_last_session", m.UpdateLastSession, m.Summary, _OWNED),
        Method("create_session", m.CreateSession, m.Summary, (e.SessionExists, e.StorageFailed)),
        Method("append_message", m.AppendMessage, m.Appended, _OWNED),
        Method("possess", m.Possess, m.Possessed, (e.UnknownAgent, *_TURN)),
        Method("retry_turn", m.RetryTurn, m.Possessed, _TURN),
        Method("cancel_turn", m.CancelTurn, m.Cancelled),
        Method("answer_permission", m.AnswerPermission, m.Taken),
        Method("subscribe", m.Subscribe, m.Subscribed, _OWNED),
        Method("unsubscribe", m.Unsubscribe, m.Subscribed),
        Method("get_session", m.GetSession, m.Transcript, _OWNED),
        Method("find_session", m.FindSession, m.Summary, (e.NoSessions, e.AmbiguousSession, *_OWNED)),
        Method("list_sessions", m.ListSessions, m.SessionPage, (e.StorageFailed,)),
        Method("end_session", m.EndSession, m.Summary, _OWNED),
        Method("search_sessions", m.SearchSessions, m.HitPage, (e.StorageFailed,)),
        Method("rename_session", m.RenameSession, m.Summary, _OWNED),
        Method("tag_session", m.TagSession, m.Summary, _OWNED),
        Method("pin_session", m.PinSession, m.Summary, _OWNED),
        Method("get_index_status", m.GetIndexStatus, m.IndexStatus, (e.StorageFailed,)),
        Method("rebuild_index", m.RebuildIndex, m.IndexStatus, (e.StorageFailed,)),
        Method("fork_session", m.ForkSession, m.Summary, (e.UnknownAgent, e.SessionExists, *_OWNED)),
        Method("session_tree", m.SessionTree, m.Family, (e.SessionNotFound, e.StorageFailed)),
        Method("delete_session", m.DeleteSession, m.Deleted, (e.SessionBusy, *_OWNED)),
        Method("restore_session", m.RestoreSession, m.Summary, (e.SessionExists, *_OWNED)),
        Method("list_trash", m.ListTrash, m.TrashPage, (e.StorageFailed,)),
        Method("prune_sessions", m.PruneSessions, m.Pruned, (e.StorageFailed,)),
        Method("export_session", m.ExportSession, m.ExportPage, _OWNED),
        Method("import_sessions", m.ImportSessions, m.ImportPage, (e.StorageFailed,)),
        Method("list_agents", m.ListAgents, m.AgentList, (e.StorageFailed,)),
        Method("get_agent", m.GetAgent, m.Agent, (e.UnknownAgent, e.StorageFailed)),
        Method("add_agent", m.AddAgent, m.Agent, (e.ConfigRefused, e.StorageFailed)),
        Method("connect_agent", m.ConnectAgent, m.Agent, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("remove_agent", m.RemoveAgent, m.Removed, (e.UnknownAgent, e.ConfigRefused, e.StorageFailed)),
        Method("reload_config", m.ReloadConfig, m.Reloaded, (e.ConfigRefused,)),
        Method("status", m.Status, m.DaemonStatus),
        Method("check_home", m.CheckHome, m.Checkup, (e.StorageFailed,)),
        Method("stats", m.Stats, m.Statistics, (e.UnknownAgent, e.StorageFailed)),
        Method("disk_usage", m.DiskUsage, m.Usage, (e.UnknownAgent, e.StorageFailed)),
        Method("rpc.discover", m.Discover, m.OpenRpc),
    )
}

NOTIFICATIONS: dict[str, type] = {"session_event": m.SessionEvent}
"""What the daemon says without being asked, to those who subscribed or stream a turn."""
