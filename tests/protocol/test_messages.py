"""The shapes that travel: what each kind of value takes and refuses, and what their types promise."""

import dataclasses
import inspect
import subprocess
import sys
from importlib import import_module
from typing import Any, get_type_hints

import msgspec
import pytest

from port42_protocol.messages.daemon import OpenRpc
from port42_protocol.messages.doctor_and_stats import Period, VariableName
from port42_protocol.messages.records import (
    Activity,
    EventRecord,
    Message,
    Record,
    Summary,
    UserMessage,
)
from port42_protocol.messages.sessions import CreateSession, GetSession, ListedSession, ListSessions
from port42_protocol.messages.turns import Possess
from port42_protocol.messages.types import (
    AgentName,
    BackendName,
    Capability,
    ClientName,
    Content,
    Cursor,
    Days,
    Folder,
    Key,
    MessageLimit,
    Prompt,
    RecordRole,
    Ref,
    RequestId,
    Role,
    Seq,
    SessionId,
    SessionLimit,
    State,
    Target,
    Text,
    Title,
    VersionText,
)
from port42_protocol.methods import METHODS

MODULES = [
    import_module(f"port42_protocol.messages.{module}")
    for module in (
        *(
            "types",
            "records",
            "events",
            "sessions",
            "search",
            "forks_and_trash",
            "turns",
            "transfer",
            "capture",
            "hub",
            "agents",
        ),
        *("daemon", "doctor_and_stats"),
    )
]
SHAPES = [
    one
    for module in MODULES
    for one in vars(module).values()
    if inspect.isclass(one)
    and one.__module__ == module.__name__
    and not one.__name__.startswith("_")
    and one not in {Record, Message, Activity}  # they have no fields of their own
]
REQUESTS = {row.params for row in METHODS.values()}


def named(kind: type) -> str:
    return kind.__name__


def fields(kind: Any) -> list[str]:
    """In the order in which they travel."""
    if kind in REQUESTS:
        return [field.name for field in dataclasses.fields(kind)]
    return list(kind.__struct_fields__)


def takes(kind: Any, value: object) -> bool:
    try:
        return msgspec.convert(value, kind) == value
    except msgspec.ValidationError:
        return False


def test_the_package_alone_imports_no_module_of_it() -> None:
    """A command pays for the messages it uses: nothing is exported again."""
    show = "import sys, port42_protocol.messages; print(*(n for n in sys.modules if '.messages.' in n))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- kinds of value -----------------------------------------------------------------------------

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
NO_NAMES = ["", " ", "a b", "a/b", "../a", "@a", "@@x", "a\n", "\na", "a\x00", "é", "-a", "_a", 1]

TAKEN = [
    (AgentName, ["a", "7", "ai-engineer", "A.b_c-d", "a" * 64, LETTERS]),
    (SessionId, ["a", "7", "cli-1757350466684", "A_b-c", "a" * 64, LETTERS]),
    (ClientName, ["rpc", "cli", "Vim_9-x", "a" * 32]),
    (Folder, ["/", "/srv", "/a b/é", "/" + "x" * 4095]),
    (Title, ["x", " x", "build a parser", "é→📌", "x" * 200, "📌" * 200]),
    (Key, ["x", "two\nlines", "x" * 128]),
    (Ref, ["last", "cli-1", "x", "a title of several words", "x" * 200]),
    (Content, ["", "x", "two\nlines", "\x00", "x" * 1_000_000]),
    (Prompt, ["x", " x\n"]),
    (Seq, [0, 1, 2**53 - 1]),
    (SessionLimit, [1, 50, 500]),
    (MessageLimit, [1, 1000, 10_000]),
    (Cursor, ["x", "x" * 200]),
    (Target, ["/a", "cli-1", "https://example.org/", "x" * 4096]),
    (Text, ["", "x" * 262_144]),
    (VersionText, ["1", "0.2.0", "1.0.0-rc.1+linux_x64", "x" * 64]),
    (Capability, ["possess", "possess.depth", "$/cancel", "x" * 128]),
    (RequestId, [0, -1, "", "a", 2**53]),
    (BackendName, ["claude", "claude-acp", "a" * 64]),
    (Period, [1, 30, 3660]),
    (Days, [0, 36_500]),
    (VariableName, ["HOME", "x" * 256]),
    (Role, ["user", "assistant", "system", "error"]),
    (RecordRole, ["user", "assistant", "system", "error", "event"]),
    (State, ["active", "ended"]),
]
REFUSED = [
    (AgentName, [*NO_NAMES, "a" * 65, ".a"]),
    (SessionId, [*NO_NAMES, "a" * 65, "a.b", "..", "x" * 10_000]),
    (ClientName, [*NO_NAMES, "a" * 33, "a.b"]),
    (Folder, ["", "srv", "./srv", "~", "/a\x00", "/a\n", "/a\nb", "/" + "x" * 4096]),
    (Title, ["", " ", "\u2003", "a\n", "a\nb", "a\tb", "a\x00", "\x7f", "\x1b[31m", "x" * 201, None]),
    (Key, ["", "x" * 129, 1]),
    (Ref, ["", "x" * 201, None]),
    (Content, [None, 1, ["x"]]),
    (Prompt, ["", " ", "\n\t", "\u2003", None]),
    (Seq, [-1, 2**53, 1.0, "1", True, None]),
    (SessionLimit, [0, 501, -1, 1.5, "50", True]),
    (MessageLimit, [0, 10_001, -1, True]),
    (Cursor, ["", "x" * 201]),
    (Target, ["", "x" * 4097, None]),
    (Text, ["x" * 262_145, None]),
    (VersionText, ["", "1 2", ".1", "1\n", "x" * 65, 1, None]),
    (Capability, ["", "x" * 129, None]),
    (RequestId, [None, 1.5, True, [], {}]),
    (BackendName, NO_NAMES),
    (Period, [0, 3661, 1.5, "7", True]),
    (Days, [-1, 36_501, 1.5, "7", True]),
    (VariableName, ["", "x" * 257, None, 1]),
    (Role, ["", "User", "event", "moved", None]),
    (RecordRole, ["", "moved", None]),
    (State, ["", "open", "Active", None]),
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in TAKEN for value in values])
def test_taken(kind: Any, value: object) -> None:
    assert takes(kind, value)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in REFUSED for value in values])
def test_refused(kind: Any, value: object) -> None:
    assert not takes(kind, value)


# --- shapes -------------------------------------------------------------------------------------

SUMMARY = (
    "session_id agent title state created_at last_activity message_count cwd tags pinned forked_from parent"
)
FIELDS = {
    "ExportSession": "session_id agent format redact cursor activities",
    "ExportPage": "text next_cursor redactions",
    "ImportSessions": "path agent format dry_run cursor again",
    "ImportedSession": "session_id agent title source messages change parent",
    "SkippedSource": "source reason",
    "GetCapture": "count",
    "SetCapture": "name on agent path folders",
    "RestoreOriginal": "session_id agent force generation",
    "CaptureStatus": "tools watching problem",
    "CapturedTool": "name on agent path folders available sources sessions source_bytes original_bytes"
    " waiting last_read problem scanned",
    "Restored": "session_id path bytes resume generation generations",
    "GetHub": "",
    "InitHub": "url service",
    "JoinHub": "url service password_env password_file password_keyring machine agents folders redact",
    "PauseHub": "",
    "ResumeHub": "",
    "LeaveHub": "",
    "HubStatus": "state problem address owner machine waiting to_pull busy lag_ms sessions bytes machines"
    " forks",
    "HubSummary": "state problem waiting to_pull lag_ms",
    "HubMachine": "name version seen_seconds behind waiting this",
    "HubTables": "applied",
    "GetShares": "session_id agent",
    "ShareSession": "session_id grantee may agent",
    "UnshareSession": "session_id grantee agent",
    "SessionShares": "session_id shares",
    "Share": "grantee may",
    "ImportPage": "format imported skipped unchanged done total next_cursor",
    "GetLastSession": "agent cwd",
    "UpdateLastSession": "agent session_id",
    "CreateSession": "agent session_id client title cwd metadata",
    "AppendMessage": "agent session_id role content idempotency_key",
    "Reference": "type target content",
    "Possess": "agent message session_id client cwd references stream if_busy detach idempotency_key depth"
    " model mode mcp_servers",
    "Variable": "name value",
    "McpServer": "name type command args env url headers",
    "RetryTurn": "agent session_id stream detach model mode client",
    "CancelTurn": "session_id",
    "AnswerPermission": "session_id permission_id option_id",
    "Subscribe": "agent session_id since_seq",
    "Unsubscribe": "agent session_id",
    "GetSession": "session_id agent after_seq limit events last",
    "FindSession": "ref agent",
    "ListSessions": "agent cwd state limit cursor tag pinned parent",
    "SearchSessions": "query agent limit cursor",
    "RenameSession": "session_id title agent",
    "TagSession": "session_id add remove agent",
    "PinSession": "session_id pinned agent",
    "GetIndexStatus": "",
    "RebuildIndex": "",
    "Mark": "start end",
    "Hit": "session seq role timestamp snippet marks author",
    "HitPage": "hits next_cursor complete reason hints",
    "IndexStatus": "complete sessions sessions_behind messages records_behind bytes reason",
    "EndSession": "session_id agent",
    "ListAgents": "",
    "AddAgent": "agent system",
    "GetAgent": "agent",
    "ListModels": "agent backend",
    "ConnectAgent": "agent backend model",
    "RemoveAgent": "agent",
    "ReloadConfig": "",
    "Status": "",
    "Hello": "client version needs notifications",
    "Welcome": "version protocol_version capabilities limits read_only notifications",
    "CancelRequest": "id",
    "CancelResult": "cancelled",
    "Discover": "",
    "TurnRecord": "backend model asked_model persona native_id input_tokens output_tokens first_ms"
    " total_ms left_out mode",
    "UserMessage": "seq role content timestamp references key author",
    "AssistantMessage": "seq role content timestamp status question turn key author",
    "SystemMessage": "seq role content timestamp key author",
    "ErrorMessage": "seq role content timestamp kind question key author",
    "EventRecord": "seq role event timestamp title tags pinned content turn author prompts",
    "ToolRecord": "seq role timestamp id name title kind state input output duration_ms locations"
    " input_omitted output_omitted question author",
    "ThoughtRecord": "seq role timestamp content omitted question author",
    "PlanRecord": "seq role timestamp entries question author",
    "PermissionRecord": "seq role timestamp title kind options chosen by question author",
    "PlanEntry": "content state",
    "Location": "path line",
    "Parent": "session_id seq",
    "ForkPoint": "session_id seq",
    "Source": "format id",
    "Summary": SUMMARY,
    "ListedSession": f"{SUMMARY} short_id",
    "SessionPage": "sessions next_cursor unreadable",
    "Transcript": "session client metadata messages next_after_seq",
    "Appended": "session_id seq",
    "Possessed": "session_id seq status reply reply_seq turn",
    "Cancelled": "cancelled",
    "Taken": "taken",
    "Subscribed": "subscriptions",
    "PermissionOption": "id name kind",
    "MessageEvent": "session_id agent message",
    "WaitingEvent": "session_id agent position machine",
    "StartedEvent": "session_id agent backend model",
    "TextEvent": "session_id agent text",
    "ThoughtEvent": "session_id agent text",
    "ToolEvent": "session_id agent text tool_id state tool_kind",
    "UsageEvent": "session_id agent input_tokens output_tokens",
    "NoticeEvent": "session_id agent text",
    "PermissionEvent": "session_id agent text permission_id options tool_id tool_kind "
    "input input_omitted locations",
    "EndedEvent": "session_id agent",
    "OverflowEvent": "session_id agent",
    "DeletedEvent": "session_id agent",
    "RestoredEvent": "session_id agent",
    "Agent": "agent source system backend model health detail session_count last_session models modes mode"
    " takes_mcp_servers",
    "Mode": "id name",
    "AgentList": "agents available config_error",
    "ModelList": "agent backend model models detail",
    "Removed": "agent",
    "Reloaded": "agents backends",
    "Limits": "request_bytes page_bytes nesting batch connections",
    "DaemonStatus": "version protocol_version pid uptime_seconds home socket sessions connections"
    " requests turns limits config_error started_at started_by python index sessions_by_agent subscriptions"
    " bytes_in bytes_out turns_by_agent latencies errors internal_errors vitals stalled_threads read_socket"
    " hub",
    "AgentTurns": "agent running waiting",
    "MethodLatency": "method count errors p50_us p90_us p99_us max_us",
    "ErrorCount": "code kind count",
    "InternalFailure": "error_id method at",
    "StalledThread": "name seconds",
    "Vitals": "resident_bytes peak_bytes open_files threads disk_free_bytes",
    "ForkSession": "session_id at_seq to_agent title client cwd agent",
    "SessionTree": "session_id",
    "SessionNode": "session_id parent at_seq session trashed",
    "Family": "nodes complete",
    "DeleteSession": "session_id agent",
    "Deleted": "session last_session",
    "RestoreSession": "session_id agent",
    "ListTrash": "agent limit cursor",
    "TrashedSession": f"{SUMMARY} trashed_at bytes",
    "TrashPage": "sessions next_cursor",
    "PruneSessions": "older_than_days trash_older_than_days agent dry_run",
    "Pruned": "dry_run trashed deleted bytes more original_bytes sub_agents",
    "CheckHome": "environment fix cursor",
    "DiskUsage": "agent",
    "Stats": "agent days",
    "AgentStats": "agent sessions user_messages assistant_messages failed_turns input_tokens output_tokens"
    " bytes days tool_calls failed_tool_calls",
    "ModelStats": "backend model turns input_tokens output_tokens",
    "ToolStats": "name calls failed total_ms",
    "Statistics": "since days hours agents models complete tools zone",
    "Finding": "level about what do mendable fixed",
    "Checkup": "findings examined remaining backup next_cursor",
    "AgentUsage": "agent sessions session_bytes trash_bytes leftover_bytes total_bytes",
    "Usage": "agents index_bytes log_bytes backup_bytes other_bytes total_bytes free_bytes original_bytes",
    "OpenRpc": "openrpc info methods components",
}


def test_fields_and_their_order() -> None:
    """The order is the wire's: params by position follow it, so a new field goes to the end."""
    found = {kind.__name__: " ".join(fields(kind)) for kind in SHAPES}
    assert found == FIELDS


@pytest.mark.parametrize("kind", SHAPES, ids=named)
def test_requests_are_frozen_dataclasses_and_all_else_frozen_structs(kind: Any) -> None:
    if kind in REQUESTS:
        assert kind.__dataclass_params__.frozen
        assert "__slots__" in vars(kind)
    else:
        assert kind.__struct_config__.frozen


@pytest.mark.parametrize("kind", SHAPES, ids=named)
def test_said_in_words(kind: type) -> None:
    """The first line is the method's summary in the OpenRPC document."""
    first = inspect.getdoc(kind).split("\n")[0]
    assert not first.startswith(f"{kind.__name__}(")
    assert first.endswith((".", ":"))


@pytest.mark.parametrize("kind", SHAPES, ids=named)
def test_annotations_resolve(kind: type) -> None:
    assert set(get_type_hints(kind)) == set(fields(kind))


def test_defaults() -> None:
    assert CreateSession("a").client == Possess("a", "hello").client == "rpc"
    assert GetSession("cli-1") == GetSession("cli-1", None, 0, 1000, False)
    assert ListSessions() == ListSessions(None, None, None, 50, None)
    assert Possess("a", "hello") == Possess("a", "hello", None, "rpc", None, None, False, "wait", False)
    assert OpenRpc("1.3.2", {}, []).components == {}


def test_a_message_leaves_out_what_it_has_not() -> None:
    said = UserMessage(seq=1, content="hello", timestamp="2026-11-23T03:37:11.042Z")
    assert msgspec.json.encode(said) == (
        b'{"seq":1,"role":"user","content":"hello","timestamp":"2026-11-23T03:37:11.042Z"}'
    )
    event = EventRecord(seq=2, event="ended", timestamp="2026-11-23T03:37:11.042Z")
    assert msgspec.json.encode(event) == (
        b'{"seq":2,"role":"event","event":"ended","timestamp":"2026-11-23T03:37:11.042Z"}'
    )


def test_a_message_is_built_by_name_only() -> None:
    with pytest.raises(TypeError):
        UserMessage(1, "hello")


def test_a_listed_session_is_a_summary() -> None:
    summary = ("cli-1", "a", None, "active", "t", "t", 0, None)
    listed = ListedSession(*summary, short_id="cli-")
    assert isinstance(listed, Summary)
    assert listed != Summary(*summary)
    assert listed.short_id == "cli-"
