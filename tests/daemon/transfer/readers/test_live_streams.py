"""A conversation that a back end heard and the file that the tool wrote of it give the same records.

Capture reads the tool's file after Port42 recorded the turn: what differs would be in the session twice.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from port42_daemon.backends import base as b
from port42_daemon.backends.command.backend import STREAMS
from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.capture.known import Known
from port42_daemon.transfer.readers.detect import open_reader
from port42_daemon.turns.transcript import Transcript
from port42_protocol.messages.records import (
    AssistantMessage,
    EventRecord,
    Record,
    ToolRecord,
    UserMessage,
    replace,
)

RECORDED = Path(__file__).parents[2] / "backends" / "command" / "recorded"
LIMITS = SessionsConfig()


def live_records(name: str) -> list[Record]:
    """What a turn records of the stream."""
    transcript, records = Transcript(1, LIMITS), list[Record]()
    parser = STREAMS[name.partition("-")[0]]()
    for line in (RECORDED / f"{name}.jsonl").read_bytes().splitlines():
        for event in parser.feed(line):
            match event:
                case b.Text():
                    records += transcript.add_text(event.text)[1]
                case b.Thought():
                    records += transcript.add_thought(event.text)
                case b.Tool():
                    records += transcript.change_tool(event)[1]
                case b.Plan():
                    records += transcript.change_plan(event.entries)
    records += transcript.end()
    return [*records, AssistantMessage(seq=0, content="".join(transcript.text), timestamp="")]


def file_records(name: str) -> list[Record]:
    """What the reader gives of the tool's file, without what the person said and without sub-agents."""
    path = RECORDED / f"{name}.transcript"
    reader = open_reader(name.partition("-")[0], path, LIMITS)
    for line in path.read_bytes().splitlines():
        reader.feed(line)
    return [record for key, record, _ in reader.taken() if key == "" and not isinstance(record, UserMessage)]


def compared(record: Record, *without: str) -> dict[str, Any]:
    ignored = {"seq", "timestamp", "question", "duration_ms", "turn", "status", *without}
    fields: dict[str, Any] = msgspec.to_builtins(record)
    return {name: value for name, value in fields.items() if name not in ignored}


@pytest.mark.parametrize("name", ["claude-whole-tools", "claude-plan", "claude-subagent"])
def test_claude_codes_stream_and_file_give_the_same_records(name: str) -> None:
    live = [compared(record) for record in live_records(name)]
    assert live == [compared(record) for record in file_records(name)]
    assert any(record["role"] == "tool" for record in live)


def test_codexs_stream_and_file_give_the_same_records_but_for_ids_and_patches() -> None:
    def without_ids(records: list[Record]) -> list[dict[str, Any]]:
        patch = ("input", "output", "title", "locations")
        return [
            compared(record, "id", *(patch if getattr(record, "name", "") == "apply_patch" else ()))
            for record in records
            if not isinstance(record, EventRecord)  # tokens, which the stream has at its end
        ]

    live = live_records("codex-tools")
    assert without_ids(live) == without_ids(file_records("codex-tools"))
    assert sum(isinstance(record, ToolRecord) for record in live) == 6


@pytest.mark.parametrize("name", ["claude-whole-tools", "claude-plan", "claude-subagent", "codex-tools"])
def test_capture_adds_nothing_of_what_a_turn_recorded(name: str) -> None:
    from_file = file_records(name)
    when = next(record.timestamp for record in from_file if isinstance(record, ToolRecord))
    known = Known()
    known.add([UserMessage(seq=1, content="a question", timestamp=when)])
    known.add(replace(record, timestamp=when, question=1) for record in live_records(name))
    assert [record for record in from_file if not known.take(record)] == []


def test_a_call_of_codex_that_no_turn_recorded_is_added() -> None:
    from_file = file_records("codex-tools")
    *_, last = (record for record in from_file if isinstance(record, ToolRecord))
    known = Known()
    known.add(replace(record, question=1) for record in live_records("codex-tools"))  # at another time
    assert not known.take(last)
