"""Sessions that tools wrote, read, and a line for each of their records."""

from __future__ import annotations

import json
from pathlib import Path

from port42_daemon.config import SessionsConfig
from port42_daemon.transfer.headers import header_of
from port42_daemon.transfer.readers.detect import sources
from port42_daemon.transfer.readers.values import timestamp_of
from port42_protocol.messages.records import EventRecord, Message, PlanRecord, ThoughtRecord, ToolRecord

TOOLS = Path(__file__).parents[1] / "data" / "tools"
LIMITS = SessionsConfig()
STOCK = [
    "user: Take stock of the mill.",
    "thought: The user wants the stock. I list the folder, then read the file.",
    "assistant: I look at the folder first.",
    "tool: ls -1 && cat grain.txt done",
    "assistant: Now both files.",
    "tool: grain.txt done",
    "tool: README.md done",
    "tool: stock.txt done",
    "assistant: The wheat is wrong; I correct it.",
    "tool: stock.txt done",
    "tool: cat missing.txt failed",
    "assistant: The stock is written to stock.txt: 10 kilos of rye, 4 of wheat."
    " A file missing.txt does not exist.",
]


def told(session):
    """A line for each record, without those that only count tokens."""
    lines = []
    for record in session.records:
        match record:
            case Message(content=text):
                lines.append(f"{record.role}: {text}")
            case ThoughtRecord(content=text):
                lines.append(f"thought: {text}")
            case ToolRecord(state=state):
                lines.append(f"tool: {done_to(record)} {state}")
            case PlanRecord(entries=entries):
                lines.append("plan: " + " ".join(entry.state for entry in entries))
            case EventRecord(event="compacted", content=text):
                lines.append(f"compacted: {text}")
    return lines


def done_to(record):
    """The command, the file's name, or else the tool's."""
    if record.locations:
        return record.locations[0].path.rpartition("/")[2]
    given = json.loads(record.input) if record.input and record.input.startswith("{") else {}
    return given.get("command") or record.name


def tokens(session):
    turns = [turn for record in session.records if (turn := getattr(record, "turn", None))]
    return sum(turn.input_tokens or 0 for turn in turns), sum(turn.output_tokens or 0 for turn in turns)


def read_all(path):
    """The sessions by their ids at the source."""
    _, found = sources(path, "auto")
    return {
        session.info.source_id: session
        for source in found
        if not source.problem
        for session in source.read(LIMITS)
    }


def titled(path, title):
    [session] = [one for one in read_all(path).values() if one.info.title == title]
    return session


def titled_first(path, title):
    return next(session for session in read_all(path).values() if session.info.title == title)


def beginning(path, words):
    return next(session for session in read_all(path).values() if told(session)[0] == f"user: {words}")


def check(sessions):
    for session in sessions:
        for record in session.records:
            assert timestamp_of(record.timestamp) == record.timestamp
            assert not isinstance(record, Message) or record.content.strip()
        assert header_of(session.info, "x", "agent")
