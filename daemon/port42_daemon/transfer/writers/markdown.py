"""A session as Markdown: front matter, a heading for each message, events in italics, activities folded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape

from port42_daemon.transfer.writers.base import (
    Frame,
    Writer,
    describe_activity,
    describe_event,
    minute,
    turn_facts,
)
from port42_protocol.activity import opened
from port42_protocol.messages.records import (
    Activity,
    EventRecord,
    Message,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Record,
    Reference,
    UserMessage,
)

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
        return _folded(f"{when} · {describe_event(record)}", [("summary", record.content or "")])
    if isinstance(record, PlanRecord):
        author = f"{_escaped(record.author)}: " if record.author else ""
        return f"\n*{when} · {author}plan*\n\n{''.join(map(_step, record.entries))}"
    if isinstance(record, PermissionRecord):
        return f"\n*{when} · {_escaped(describe_activity(record))}*\n"
    if isinstance(record, Activity):
        return _folded(f"{when} · {describe_activity(record)}", opened(record))
    facts = " · ".join([when, *turn_facts(record)])
    author = f" ({_escaped(record.author)})" if record.author else ""
    parts = [f"\n## {_NAMES[record.role]}{author}\n", f"<sub>{record.seq} · {_escaped(facts)}</sub>\n"]
    if isinstance(record, UserMessage) and record.references:
        parts += map(_reference, record.references)
    if isinstance(record, Message):
        parts.append(f"{_contained(record.content)}\n")
    return "\n".join(parts)


def _folded(line: str, parts: Iterable[tuple[str, str]]) -> str:
    """A line that opens; in italics where there is nothing in it."""
    texts = [f"{name}\n\n{_fenced(text, 'diff' if name == 'change' else '')}" for name, text in parts if text]
    if not texts:
        return f"\n*{_escaped(line)}*\n"
    summary = escape(" ".join(line.split()))
    return "\n".join(["\n<details>", f"<summary>{summary}</summary>\n", *texts, "</details>\n"])


def _step(step: PlanEntry) -> str:
    done, doing = step.state == "completed", step.state == "in_progress"
    return f"- [{'x' if done else ' '}] {_escaped(step.content)}{' (in progress)' if doing else ''}\n"


def _reference(reference: Reference) -> str:
    return f"**{reference.type}** {_escaped(reference.target)}\n\n{_fenced(reference.content or '')}"


def _fenced(text: str, language: str = "") -> str:
    fence = "`" * max(3, *(len(run) + 1 for run in _RUN.findall(text)), 3)
    return f"{fence}{language}\n{text}\n{fence}\n"


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
