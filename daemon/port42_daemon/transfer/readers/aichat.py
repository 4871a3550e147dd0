"""aichat's sessions: ``sessions/<name>.yaml`` of a model and messages (its src/config/session.rs).

They have no times: every message gets that of the file.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from port42_daemon.transfer.readers import values
from port42_daemon.transfer.readers.base import ParsedSession, Skipped
from port42_protocol.messages.records import TurnRecord

LIMIT = 16 * 1024 * 1024
"""Bytes of YAML that are read: it takes a hundred times as long as JSON."""
_NESTING = 64


def source_id(path: PurePath) -> str:
    """The session's name; an agent's sessions are apart from the others: ``coder/refactoring``."""
    parts = path.with_suffix("").parts
    if "sessions" not in parts[:-1]:
        return parts[-1]
    position = len(parts) - 1 - parts[::-1].index("sessions")
    name = "/".join(parts[position + 1 :])
    of_agent = position >= 2 and parts[position - 2] == "agents"
    return f"{parts[position - 1]}/{name}" if of_agent else name


def recognised(data: bytes) -> bool:
    """Whether a file that begins so is one."""
    return b"model:" in data and b"messages:" in data


def read(data: bytes, name: str, when: float) -> ParsedSession:
    """The session of one file. Raises `Skipped`."""
    value = _parse(data)
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise Skipped("it has no list of messages")
    session = ParsedSession(name, title=values.one_line(name.rpartition("/")[2]))
    session.created_at = values.timestamp_of(when)
    model = values.short(value.get("model"))
    turn = TurnRecord(backend="aichat", model=model) if model else None
    compressed = value.get("compressed_messages")
    earlier = compressed if isinstance(compressed, list) else []
    for number, item in enumerate([*earlier, *value["messages"]], 1):
        message, location = values.mapping(item), f"message {number}"
        role = message.get("role")
        if role not in {"user", "assistant", "system", "tool"}:
            session.add_problem(location, "it has no role that is known")
        elif role != "tool":
            text = values.text_of(message.get("content"))
            session.add_message(role, text, session.created_at, location=location, turn=turn)
    return session.checked()


def _parse(data: bytes) -> Any:
    # Imported here: no other format needs it.
    import yaml

    if len(data) > LIMIT:
        raise Skipped(f"it has more than {LIMIT:,} bytes")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        # libyaml's composer recurses on the C stack: nested deep enough, it would end the daemon.
        for event in yaml.parse(data, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _NESTING:
                raise Skipped(f"it is nested deeper than {_NESTING} levels")
        return yaml.load(data, Loader=loader)  # noqa: S506  # a safe one
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise Skipped(f"not YAML{where}") from None
    except (ValueError, TypeError, RecursionError, OverflowError, AttributeError):
        # A date of month 13, a list as a key: what YAML allows and Python has no value for.
        raise Skipped("it has values that cannot be read") from None
