"""The table holds every method once, with types of its own and errors that can be told apart."""

import dataclasses
import inspect
from collections import Counter
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args

import pytest

from port42_protocol import errors, messages
from port42_protocol.errors import STANDARD, RpcError, StorageFailed
from port42_protocol.messages.agents import (
    AddAgent,
    Agent,
    AgentList,
    ConnectAgent,
    GetAgent,
    ListAgents,
    ListModels,
    Mode,
    ModelList,
    RemoveAgent,
    Removed,
)
from port42_protocol.messages.capture import (
    CapturedTool,
    CaptureStatus,
    GetCapture,
    Restored,
    RestoreOriginal,
    SetCapture,
)
from port42_protocol.messages.daemon import (
    AgentTurns,
    CancelRequest,
    CancelResult,
    DaemonStatus,
    Discover,
    ErrorCount,
    Hello,
    InternalFailure,
    Limits,
    MethodLatency,
    OpenRpc,
    ReloadConfig,
    Reloaded,
    StalledThread,
    Status,
    Vitals,
    Welcome,
)
from port42_protocol.messages.doctor_and_stats import (
    AgentStats,
    AgentUsage,
    CheckHome,
    Checkup,
    DiskUsage,
    Finding,
    ModelStats,
    Statistics,
    Stats,
    ToolStats,
    Usage,
)
from port42_protocol.messages.events import PermissionOption, Possessed
from port42_protocol.messages.forks_and_trash import (
    Deleted,
    DeleteSession,
    Family,
    ForkSession,
    ListTrash,
    Pruned,
    PruneSessions,
    RestoreSession,
    SessionNode,
    SessionTree,
    TrashedSession,
    TrashPage,
)
from port42_protocol.messages.hub import (
    GetHub,
    GetShares,
    HubMachine,
    HubStatus,
    HubSummary,
    HubTables,
    InitHub,
    JoinHub,
    LeaveHub,
    PauseHub,
    ResumeHub,
    SessionShares,
    Share,
    ShareSession,
    UnshareSession,
)
from port42_protocol.messages.records import (
    RECORDS,
    Activity,
    ForkPoint,
    Location,
    Message,
    Parent,
    PlanEntry,
    Record,
    Reference,
    Source,
    Summary,
    TurnRecord,
)
from port42_protocol.messages.search import (
    GetIndexStatus,
    Hit,
    HitPage,
    IndexStatus,
    Mark,
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
    ListedSession,
    ListSessions,
    SessionPage,
    Transcript,
    UpdateLastSession,
)
from port42_protocol.messages.transfer import (
    ExportPage,
    ExportSession,
    ImportedSession,
    ImportPage,
    ImportSessions,
    SkippedSource,
)
from port42_protocol.messages.turns import (
    AnswerPermission,
    Cancelled,
    CancelTurn,
    McpServer,
    Possess,
    RetryTurn,
    Subscribe,
    Subscribed,
    Taken,
    Unsubscribe,
    Variable,
)
from port42_protocol.methods import METHODS, NOTIFICATIONS, Method

ROWS = list(METHODS.values())


def named(row: Method) -> str:
    return row.name


def test_the_methods() -> None:
    assert {name: (row.params, row.result) for name, row in METHODS.items()} == {
        "get_last_session": (GetLastSession, Summary),
        "update_last_session": (UpdateLastSession, Summary),
        "create_session": (CreateSession, Summary),
        "append_message": (AppendMessage, Appended),
        "possess": (Possess, Possessed),
        "retry_turn": (RetryTurn, Possessed),
        "cancel_turn": (CancelTurn, Cancelled),
        "answer_permission": (AnswerPermission, Taken),
        "subscribe": (Subscribe, Subscribed),
        "unsubscribe": (Unsubscribe, Subscribed),
        "get_session": (GetSession, Transcript),
        "find_session": (FindSession, Summary),
        "list_sessions": (ListSessions, SessionPage),
        "end_session": (EndSession, Summary),
        "search_sessions": (SearchSessions, HitPage),
        "rename_session": (RenameSession, Summary),
        "tag_session": (TagSession, Summary),
        "pin_session": (PinSession, Summary),
        "get_index_status": (GetIndexStatus, IndexStatus),
        "rebuild_index": (RebuildIndex, IndexStatus),
        "fork_session": (ForkSession, Summary),
        "session_tree": (SessionTree, Family),
        "delete_session": (DeleteSession, Deleted),
        "restore_session": (RestoreSession, Summary),
        "list_trash": (ListTrash, TrashPage),
        "prune_sessions": (PruneSessions, Pruned),
        "export_session": (ExportSession, ExportPage),
        "import_sessions": (ImportSessions, ImportPage),
        "get_capture": (GetCapture, CaptureStatus),
        "set_capture": (SetCapture, CaptureStatus),
        "restore_original": (RestoreOriginal, Restored),
        "get_hub": (GetHub, HubStatus),
        "init_hub": (InitHub, HubTables),
        "join_hub": (JoinHub, HubStatus),
        "pause_hub": (PauseHub, HubStatus),
        "resume_hub": (ResumeHub, HubStatus),
        "leave_hub": (LeaveHub, HubStatus),
        "get_shares": (GetShares, SessionShares),
        "share_session": (ShareSession, SessionShares),
        "unshare_session": (UnshareSession, SessionShares),
        "list_agents": (ListAgents, AgentList),
        "add_agent": (AddAgent, Agent),
        "get_agent": (GetAgent, Agent),
        "list_models": (ListModels, ModelList),
        "connect_agent": (ConnectAgent, Agent),
        "remove_agent": (RemoveAgent, Removed),
        "reload_config": (ReloadConfig, Reloaded),
        "status": (Status, DaemonStatus),
        "check_home": (CheckHome, Checkup),
        "stats": (Stats, Statistics),
        "disk_usage": (DiskUsage, Usage),
        "rpc.discover": (Discover, OpenRpc),
        "hello": (Hello, Welcome),
        "$/cancel": (CancelRequest, CancelResult),
    }


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_row_stands_under_its_own_name(row: Method) -> None:
    assert METHODS[row.name] is row


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_names_are_what_python_and_json_rpc_can_say(row: Method) -> None:
    """But for two: OpenRPC's, and the one for which the Language Server Protocol set the example."""
    assert row.handler.isidentifier()
    assert row.handler == row.handler.lower()
    assert row.name in (row.handler, "rpc.discover", "$/cancel")


def test_handlers_are_told_apart() -> None:
    assert METHODS["rpc.discover"].handler == "discover"
    assert METHODS["$/cancel"].handler == "cancel_request"
    assert METHODS["status"].handler == "status"
    assert len({row.handler for row in ROWS}) == len(ROWS)


def test_every_method_has_params_of_its_own() -> None:
    assert Counter(row.params for row in ROWS).most_common(1)[0][1] == 1


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_params_that_are_wanted_come_first(row: Method) -> None:
    """By position, nobody should have to give what may be left out."""
    optional = [one.default is not dataclasses.MISSING for one in dataclasses.fields(row.params)]
    assert optional == sorted(optional)


def test_every_shape_belongs_to_a_method() -> None:
    """As params, as a result, or as a part of one of them; or it is a notification."""
    modules = [
        import_module(found.name) for found in iter_modules(messages.__path__, f"{messages.__name__}.")
    ]
    shapes = {
        one
        for module in modules
        for one in vars(module).values()
        if inspect.isclass(one) and one.__module__ == module.__name__ and not one.__name__.startswith("_")
    }
    used = {kind for row in ROWS for kind in (row.params, row.result)}
    parts = {
        Record,
        Message,
        Activity,
        *RECORDS.values(),
        Location,
        PlanEntry,
        Parent,
        TurnRecord,
        Reference,
        ListedSession,
        ForkPoint,
        SessionNode,
        TrashedSession,
        Source,
        ImportedSession,
        SkippedSource,
        CapturedTool,
        HubMachine,
        Share,
        Activity,
        Parent,
        Location,
        PlanEntry,
        Limits,
        Mode,
        McpServer,
        Variable,
        Finding,
        AgentUsage,
        AgentStats,
        ModelStats,
        ToolStats,
        Hit,
        Mark,
        PermissionOption,
        AgentTurns,
        MethodLatency,
        ErrorCount,
        InternalFailure,
        StalledThread,
        Vitals,
        HubSummary,
    }
    events = {event for union in NOTIFICATIONS.values() for event in get_args(union)}
    assert shapes == used | parts | events


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_errors_are_the_applications_own_and_named_once(row: Method) -> None:
    assert all(issubclass(one, RpcError) for one in row.errors)
    assert not set(row.errors) & set(STANDARD)
    assert len(row.errors) == len(set(row.errors))


def test_every_error_can_be_answered_by_somebody() -> None:
    kinds = {
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, RpcError) and one is not RpcError
    }
    assert {*STANDARD, *(one for row in ROWS for one in row.errors)} == kinds


def test_whatever_reads_or_writes_sessions_can_say_that_the_disk_failed() -> None:
    without = {row.name for row in ROWS if StorageFailed not in row.errors}
    turns_and_settings = {"cancel_turn", "answer_permission", "unsubscribe", "reload_config"}
    turns_and_settings |= {"get_hub", "init_hub"}
    assert without == {"status", "rpc.discover", "hello", "$/cancel"} | turns_and_settings


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        METHODS["status"].name = "state"
