"""Every request, result and record as a frozen dataclass: the shapes that travel and are kept.

A request's fields are its JSON-RPC params, by name or, in field order, by position. `Annotated`
types carry what a value must look like; `codec` turns a breach into an error that names the field.
Times are RFC 3339 in UTC with milliseconds (``2026-11-23T03:37:11.042Z``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from port42_protocol.messages.agents import AddAgent as AddAgent
    from port42_protocol.messages.agents import Agent as Agent
    from port42_protocol.messages.agents import AgentList as AgentList
    from port42_protocol.messages.agents import ConnectAgent as ConnectAgent
    from port42_protocol.messages.agents import GetAgent as GetAgent
    from port42_protocol.messages.agents import ListAgents as ListAgents
    from port42_protocol.messages.agents import RemoveAgent as RemoveAgent
    from port42_protocol.messages.agents import Removed as Removed
    from port42_protocol.messages.care import AgentStats as AgentStats
    from port42_protocol.messages.care import AgentUsage as AgentUsage
    from port42_protocol.messages.care import CheckHome as CheckHome
    from port42_protocol.messages.care import Checkup as Checkup
    from port42_protocol.messages.care import DiskUsage as DiskUsage
    from port42_protocol.messages.care import Finding as Finding
    from port42_protocol.messages.care import ModelStats as ModelStats
    from port42_protocol.messages.care import Period as Period
    from port42_protocol.messages.care import Statistics as Statistics
    from port42_protocol.messages.care import Stats as Stats
    from port42_protocol.messages.care import Usage as Usage
    from port42_protocol.messages.care import VariableName as VariableName
    from port42_protocol.messages.daemon import AgentTurns as AgentTurns
    from port42_protocol.messages.daemon import DaemonStatus as DaemonStatus
    from port42_protocol.messages.daemon import Discover as Discover
    from port42_protocol.messages.daemon import ErrorCount as ErrorCount
    from port42_protocol.messages.daemon import InternalFailure as InternalFailure
    from port42_protocol.messages.daemon import Limits as Limits
    from port42_protocol.messages.daemon import MethodLatency as MethodLatency
    from port42_protocol.messages.daemon import OpenRpc as OpenRpc
    from port42_protocol.messages.daemon import ReloadConfig as ReloadConfig
    from port42_protocol.messages.daemon import Reloaded as Reloaded
    from port42_protocol.messages.daemon import Status as Status
    from port42_protocol.messages.daemon import Vitals as Vitals
    from port42_protocol.messages.finding import GetIndexStatus as GetIndexStatus
    from port42_protocol.messages.finding import Hit as Hit
    from port42_protocol.messages.finding import HitPage as HitPage
    from port42_protocol.messages.finding import IndexStatus as IndexStatus
    from port42_protocol.messages.finding import Mark as Mark
    from port42_protocol.messages.finding import PinSession as PinSession
    from port42_protocol.messages.finding import RebuildIndex as RebuildIndex
    from port42_protocol.messages.finding import RenameSession as RenameSession
    from port42_protocol.messages.finding import SearchSessions as SearchSessions
    from port42_protocol.messages.finding import TagSession as TagSession
    from port42_protocol.messages.kinds import AgentName as AgentName
    from port42_protocol.messages.kinds import BackendName as BackendName
    from port42_protocol.messages.kinds import ClientName as ClientName
    from port42_protocol.messages.kinds import Content as Content
    from port42_protocol.messages.kinds import Cursor as Cursor
    from port42_protocol.messages.kinds import Days as Days
    from port42_protocol.messages.kinds import Folder as Folder
    from port42_protocol.messages.kinds import HitLimit as HitLimit
    from port42_protocol.messages.kinds import IndexState as IndexState
    from port42_protocol.messages.kinds import Key as Key
    from port42_protocol.messages.kinds import MessageLimit as MessageLimit
    from port42_protocol.messages.kinds import Pattern as Pattern
    from port42_protocol.messages.kinds import Prompt as Prompt
    from port42_protocol.messages.kinds import RecordRole as RecordRole
    from port42_protocol.messages.kinds import RecordSeq as RecordSeq
    from port42_protocol.messages.kinds import Ref as Ref
    from port42_protocol.messages.kinds import Role as Role
    from port42_protocol.messages.kinds import Seq as Seq
    from port42_protocol.messages.kinds import SessionId as SessionId
    from port42_protocol.messages.kinds import SessionLimit as SessionLimit
    from port42_protocol.messages.kinds import StartedBy as StartedBy
    from port42_protocol.messages.kinds import State as State
    from port42_protocol.messages.kinds import Tag as Tag
    from port42_protocol.messages.kinds import Tags as Tags
    from port42_protocol.messages.kinds import Target as Target
    from port42_protocol.messages.kinds import Text as Text
    from port42_protocol.messages.kinds import Title as Title
    from port42_protocol.messages.kinds import TurnStatus as TurnStatus
    from port42_protocol.messages.lineage import Deleted as Deleted
    from port42_protocol.messages.lineage import DeleteSession as DeleteSession
    from port42_protocol.messages.lineage import Family as Family
    from port42_protocol.messages.lineage import ForkSession as ForkSession
    from port42_protocol.messages.lineage import ListTrash as ListTrash
    from port42_protocol.messages.lineage import Pruned as Pruned
    from port42_protocol.messages.lineage import PruneSessions as PruneSessions
    from port42_protocol.messages.lineage import RestoreSession as RestoreSession
    from port42_protocol.messages.lineage import SessionNode as SessionNode
    from port42_protocol.messages.lineage import SessionTree as SessionTree
    from port42_protocol.messages.lineage import TrashedSession as TrashedSession
    from port42_protocol.messages.lineage import TrashPage as TrashPage
    from port42_protocol.messages.records import ForkPoint as ForkPoint
    from port42_protocol.messages.records import Message as Message
    from port42_protocol.messages.records import Reference as Reference
    from port42_protocol.messages.records import Source as Source
    from port42_protocol.messages.records import Summary as Summary
    from port42_protocol.messages.records import TurnRecord as TurnRecord
    from port42_protocol.messages.sessions import Appended as Appended
    from port42_protocol.messages.sessions import AppendMessage as AppendMessage
    from port42_protocol.messages.sessions import CreateSession as CreateSession
    from port42_protocol.messages.sessions import EndSession as EndSession
    from port42_protocol.messages.sessions import FindSession as FindSession
    from port42_protocol.messages.sessions import GetLastSession as GetLastSession
    from port42_protocol.messages.sessions import GetSession as GetSession
    from port42_protocol.messages.sessions import ListedSession as ListedSession
    from port42_protocol.messages.sessions import ListSessions as ListSessions
    from port42_protocol.messages.sessions import SessionPage as SessionPage
    from port42_protocol.messages.sessions import Transcript as Transcript
    from port42_protocol.messages.sessions import UpdateLastSession as UpdateLastSession
    from port42_protocol.messages.transfer import ExportFormat as ExportFormat
    from port42_protocol.messages.transfer import ExportPage as ExportPage
    from port42_protocol.messages.transfer import ExportSession as ExportSession
    from port42_protocol.messages.transfer import ImportedSession as ImportedSession
    from port42_protocol.messages.transfer import ImportFormat as ImportFormat
    from port42_protocol.messages.transfer import ImportPage as ImportPage
    from port42_protocol.messages.transfer import ImportSessions as ImportSessions
    from port42_protocol.messages.transfer import Place as Place
    from port42_protocol.messages.transfer import SkippedSource as SkippedSource
    from port42_protocol.messages.turns import AnswerPermission as AnswerPermission
    from port42_protocol.messages.turns import Cancelled as Cancelled
    from port42_protocol.messages.turns import CancelTurn as CancelTurn
    from port42_protocol.messages.turns import PermissionOption as PermissionOption
    from port42_protocol.messages.turns import Possess as Possess
    from port42_protocol.messages.turns import Possessed as Possessed
    from port42_protocol.messages.turns import RetryTurn as RetryTurn
    from port42_protocol.messages.turns import SessionEvent as SessionEvent
    from port42_protocol.messages.turns import Subscribe as Subscribe
    from port42_protocol.messages.turns import Subscribed as Subscribed
    from port42_protocol.messages.turns import Taken as Taken
    from port42_protocol.messages.turns import Unsubscribe as Unsubscribe

_ROOMS = {
    "kinds": (
        "AgentName SessionId ClientName Folder Title Key Ref Content Prompt Seq SessionLimit MessageLimit "
        "Cursor Days HitLimit Pattern RecordSeq Tag Tags Target Text BackendName Role RecordRole State "
        "IndexState StartedBy TurnStatus"
    ),
    "records": "Reference ForkPoint Source TurnRecord Message Summary",
    "sessions": (
        "GetLastSession UpdateLastSession CreateSession AppendMessage GetSession FindSession ListSessions "
        "EndSession ListedSession SessionPage Transcript Appended"
    ),
    "finding": (
        "SearchSessions RenameSession TagSession PinSession GetIndexStatus RebuildIndex Mark Hit HitPage "
        "IndexStatus"
    ),
    "lineage": (
        "ForkSession SessionTree SessionNode Family DeleteSession Deleted RestoreSession ListTrash "
        "TrashedSession TrashPage PruneSessions Pruned"
    ),
    "turns": (
        "Possess RetryTurn CancelTurn AnswerPermission Subscribe Unsubscribe Possessed Cancelled Taken "
        "Subscribed PermissionOption SessionEvent"
    ),
    "transfer": (
        "ExportFormat ImportFormat Place ExportSession ExportPage ImportSessions ImportedSession "
        "SkippedSource ImportPage"
    ),
    "agents": "ListAgents AddAgent GetAgent ConnectAgent RemoveAgent Agent AgentList Removed",
    "care": (
        "VariableName Period CheckHome Stats DiskUsage Finding Checkup AgentStats ModelStats Statistics "
        "AgentUsage Usage"
    ),
    "daemon": (
        "Status Discover ReloadConfig Limits AgentTurns MethodLatency ErrorCount InternalFailure Vitals "
        "DaemonStatus OpenRpc Reloaded"
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

if not TYPE_CHECKING:  # it would make every misspelt name an Any for mypy

    def __getattr__(name: str) -> Any:
        # To make all these dataclasses takes 34 ms, three times as long as a bare interpreter's start,
        # and a command uses a few of them: a room is imported when one of its names is first asked for.
        if name not in _ROOM_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Not importlib.import_module, whose imports `python -X importtime` does not show.
        shape = getattr(__import__(f"{__name__}.{_ROOM_OF[name]}", fromlist=[name]), name)
        globals()[name] = shape  # the next time nobody asks here
        return shape

    def __dir__() -> list[str]:
        return sorted({*globals(), *_ROOM_OF})
