"""An older Port42 meets a session in which an agent did more than speak, and loses nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from peers import versions
from peers.session_files import header

from port42_daemon.store.file_store import FileStore
from port42_protocol.messages.records import (
    AssistantMessage,
    Location,
    Message,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Record,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    UserMessage,
)

AT = "2026-01-01T00:00:01.000Z"
RECORDS: list[Record] = [
    UserMessage(seq=1, content="run the tests", timestamp=AT),
    ThoughtRecord(seq=2, content="I need a shell", timestamp=AT, question=1),
    AssistantMessage(seq=3, content="I run them.", timestamp=AT, question=1),
    PlanRecord(seq=4, entries=(PlanEntry("run", "in_progress"),), timestamp=AT, question=1),
    PermissionRecord(seq=5, title="npm test", chosen="Allow", by="cli", timestamp=AT, question=1),
    ToolRecord(
        seq=6,
        timestamp=AT,
        id="call_1",
        name="Bash",
        title="npm test",
        kind="execute",
        state="failed",
        input='{"command":"npm test"}',
        output="1 failed\n" * 100,
        locations=(Location("/src/a.js", 3),),
        question=1,
    ),
    AssistantMessage(
        seq=7,
        content="One fails.",
        timestamp=AT,
        status="complete",
        question=1,
        turn=TurnRecord(backend="claude-acp", mode="plan"),
    ),
]


@pytest.fixture
def session(home: Path) -> str:
    store = FileStore(home)
    store.open()
    store.create(header("cli-1", "ai-engineer"), RECORDS)
    store.close()
    return "cli-1"


def records(home: Path, session_id: str) -> list[Record]:
    store = FileStore(home)
    store.open()
    page = store.read(session_id, after_seq=0, limit=100, max_bytes=1 << 20, events=True)
    store.close()
    return page.records


def older(start_daemon: Callable[..., Any], folder: Path) -> Any:
    return start_daemon(env=versions.older(folder).environ)


def test_it_goes_on_with_the_session_and_counts_only_messages(
    home: Path, session: str, start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    (home / "index.db").unlink()
    daemon = older(start_daemon, tmp_path / "older")
    params = {"agent": "ai-engineer", "session_id": session, "role": "user", "content": "mend it"}
    assert daemon.call("append_message", **params)["seq"] == 8
    last = daemon.call("get_last_session", agent="ai-engineer")
    assert (last["session_id"], last["message_count"]) == (session, 4)
    page = daemon.call("get_session", session_id=session)
    assert [record["seq"] for record in page["messages"]] == [1, 3, 7, 8]
    daemon.stop()
    assert records(home, session)[:7] == RECORDS
    assert len(records(home, session)) == 8


def test_it_repairs_a_damaged_file_and_keeps_the_messages_and_the_original(
    home: Path, session: str, start_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    path = home / "sessions" / f"{session}.json"
    damaged = path.read_bytes()[:-20]
    path.write_bytes(damaged)
    daemon = older(start_daemon, tmp_path / "older")
    assert len(daemon.call("get_session", session_id=session)["messages"]) == 3
    daemon.stop()
    assert [original.read_bytes() for original in path.parent.glob("*.damaged-*")] == [damaged]
    left = records(home, session)
    assert [record.seq for record in left] == [record.seq for record in RECORDS]
    assert [record for record in left if isinstance(record, Message)] == [
        _without_mode(record) for record in RECORDS if isinstance(record, Message)
    ]


def _without_mode(record: Message) -> Message:
    """As an older daemon writes it anew: of a turn it keeps the facts that it knows."""
    if not isinstance(record, AssistantMessage) or not record.turn:
        return record
    return replace(record, turn=replace(record.turn, mode=UNSET))
