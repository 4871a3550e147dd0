"""A session as Markdown: front matter, a heading for each message, events in italics."""

from __future__ import annotations

import json
import re

from port42_daemon.transfer.writers.base import Frame, Writer, describe_event, minute, turn_facts
from port42_protocol.messages.records import EventRecord, Message, Record, Reference, UserMessage

_NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "error": "Error"}
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_RUN = re.compile(r"`{3,}")
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~])")


def _opening(frame: Frame) -> str:
    header, footer = frame.header, frame.footer
    facts: dict[str, object] = {
        "title": frame.name,
        "agent": header.agent,
        "session": header.id,
        "created": header.created_at,
        "last_activity": footer.last_activity,
        "messages": footer.message_count,
    }
    if header.cwd:
        facts["folder"] = header.cwd
    if footer.tags:
        facts["tags"] = list(footer.tags)
    # JSON strings are valid YAML, so no title can end the front matter.
    matter = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in facts.items())
    return f"---\n{matter}---\n\n# {_escaped(frame.name)}\n"


def _record(record: Record) -> str:
    when = minute(record.timestamp)
    if isinstance(record, EventRecord):
        return f"\n*{when} · {_escaped(describe_event(record))}*\n"
    facts = " · ".join([when, *turn_facts(record)])
    parts = [f"\n## {_NAMES[record.role]}\n", f"<sub>{record.seq} · {_escaped(facts)}</sub>\n"]
    if isinstance(record, UserMessage) and record.references:
        parts += map(_reference, record.references)
    if isinstance(record, Message):
        parts.append(f"{_contained(record.content)}\n")
    return "\n".join(parts)


def _reference(reference: Reference) -> str:
    content = reference.content or ""
    fence = "`" * max(3, *(len(run) + 1 for run in _RUN.findall(content)), 3)
    return f"**{reference.type}** {_escaped(reference.target)}\n\n{fence}\n{content}\n{fence}\n"


def _contained(text: str) -> str:
    """`text` with headings below the document's own, and an open fence closed."""
    open_fence = ""
    lines = []
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if fence and not open_fence and not (fence[1][0] == "`" and "`" in fence[2]):
            open_fence = fence[1]
        elif fence and open_fence and fence[1].startswith(open_fence) and not fence[2].strip():
            open_fence = ""
        # The first two levels are used by the document itself.
        lines.append(f"##{line}" if not open_fence and re.match(r"#{1,2}(?:\s|$)", line) else line)
    return "\n".join(lines) + (f"\n{open_fence}" if open_fence else "")


def _escaped(text: str) -> str:
    """One line in which nothing is markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


WRITER = Writer(_opening, _record, lambda _: "")
