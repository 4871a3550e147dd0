"""The table holds every method once, with types of its own and errors that can be told apart."""

import dataclasses
import inspect
from collections import Counter

import pytest

from port42_protocol import errors, messages
from port42_protocol.errors import STANDARD, RpcError, StorageFailed
from port42_protocol.methods import METHODS, NOTIFICATIONS, Method

ROWS = list(METHODS.values())


def named(row: Method) -> str:
    return row.name


def test_the_methods() -> None:
    assert {name: (row.params, row.result) for name, row in METHODS.items()} == {
        "get_last_session": (messages.GetLastSession, messages.Summary),
        "update_last_session": (messages.UpdateLastSession, messages.Summary),
        "create_session": (messages.CreateSession, messages.Summary),
        "append_message": (messages.AppendMessage, messages.Appended),
        "possess": (messages.Possess, messages.Possessed),
        "retry_turn": (messages.RetryTurn, messages.Possessed),
        "cancel_turn": (messages.CancelTurn, messages.Cancelled),
        "answer_permission": (messages.AnswerPermission, messages.Taken),
        "subscribe": (messages.Subscribe, messages.Subscribed),
        "unsubscribe": (messages.Unsubscribe, messages.Subscribed),
        "get_session": (messages.GetSession, messages.Transcript),
        "find_session": (messages.FindSession, messages.Summary),
        "list_sessions": (messages.ListSessions, messages.SessionPage),
        "end_session": (messages.EndSession, messages.Summary),
        "search_sessions": (messages.SearchSessions, messages.HitPage),
        "rename_session": (messages.RenameSession, messages.Summary),
        "tag_session": (messages.TagSession, messages.Summary),
        "pin_session": (messages.PinSession, messages.Summary),
        "get_index_status": (messages.GetIndexStatus, messages.IndexStatus),
        "rebuild_index": (messages.RebuildIndex, messages.IndexStatus),
        "fork_session": (messages.ForkSession, messages.Summary),
        "session_tree": (messages.SessionTree, messages.Family),
        "delete_session": (messages.DeleteSession, messages.Deleted),
        "restore_session": (messages.RestoreSession, messages.Summary),
        "list_trash": (messages.ListTrash, messages.TrashPage),
        "prune_sessions": (messages.PruneSessions, messages.Pruned),
        "export_session": (messages.ExportSession, messages.ExportPage),
        "import_sessions": (messages.ImportSessions, messages.ImportPage),
        "list_agents": (messages.ListAgents, messages.AgentList),
        "add_agent": (messages.AddAgent, messages.Agent),
        "get_agent": (messages.GetAgent, messages.Agent),
        "connect_agent": (messages.ConnectAgent, messages.Agent),
        "remove_agent": (messages.RemoveAgent, messages.Removed),
        "reload_config": (messages.ReloadConfig, messages.Reloaded),
        "status": (messages.Status, messages.DaemonStatus),
        "check_home": (messages.CheckHome, messages.Checkup),
        "stats": (messages.Stats, messages.Statistics),
        "disk_usage": (messages.DiskUsage, messages.Usage),
        "rpc.discover": (messages.Discover, messages.OpenRpc),
    }


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_row_stands_under_its_own_name(row: Method) -> None:
    assert METHODS[row.name] is row


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_names_are_what_python_and_json_rpc_can_say(row: Method) -> None:
    """JSON-RPC 2.0, 4.3 keeps names that begin with ``rpc.`` for extensions such as OpenRPC's."""
    assert row.handler.isidentifier()
    assert row.handler == row.handler.lower()
    assert row.name in (row.handler, "rpc.discover")


def test_handlers_are_told_apart() -> None:
    assert METHODS["rpc.discover"].handler == "discover"
    assert METHODS["status"].handler == "status"
    assert len({row.handler for row in ROWS}) == len(ROWS)


def test_every_method_has_params_of_its_own() -> None:
    assert Counter(row.params for row in ROWS).most_common(1)[0][1] == 1


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_params_that_are_wanted_come_first(row: Method) -> None:
    """By position, nobody should have to give what may be left out."""
    optional = [one.default is not dataclasses.MISSING for one in dataclasses.fields(row.params)]
    assert optional == sorted(optional)


def test_every_dataclass_belongs_to_a_method() -> None:
    """As params, as a result, or as a part of one of them; or it is a notification."""
    exported = [getattr(messages, name) for name in dir(messages)]
    shapes = {one for one in exported if dataclasses.is_dataclass(one)}
    used = {kind for row in ROWS for kind in (row.params, row.result)}
    parts = {
        messages.Message,
        messages.TurnRecord,
        messages.Reference,
        messages.ListedSession,
        messages.ForkPoint,
        messages.SessionNode,
        messages.TrashedSession,
        messages.Source,
        messages.ImportedSession,
        messages.SkippedSource,
        messages.Limits,
        messages.Finding,
        messages.AgentUsage,
        messages.AgentStats,
        messages.ModelStats,
        messages.Hit,
        messages.Mark,
        messages.PermissionOption,
        messages.AgentTurns,
        messages.MethodLatency,
        messages.ErrorCount,
        messages.InternalFailure,
        messages.Vitals,
    }
    assert shapes == used | parts | set(NOTIFICATIONS.values())


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
    assert without == {"status", "rpc.discover"} | turns_and_settings


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["status"].name = "state"
