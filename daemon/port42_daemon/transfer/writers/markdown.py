"""A session as Markdown that reads well: front matter, a heading for each message, events as quiet lines."""

from __future__ import annotations

import json
import re

from port42_daemon.transfer.writers.base import Ends, Writer, happened, minute, went
from port42_protocol.messages.records import Message, Reference

_NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "error": "Error"}
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_RUN = re.compile(r"`{3,}")
_MEANT = re.compile(r"([\\`*_\[\]<>#|~])")


def _opening(ends: Ends) -> str:
    header, footer = ends.header, ends.footer
    facts: dict[str, object] = {
        "title": ends.name,
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
    # YAML takes JSON's strings as they are, so no title can end the front matter.
    matter = "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in facts.items())
    return f"---\n{matter}---\n\n# {_plain(ends.name)}\n"


def _record(record: Message) -> str:
    when = minute(record.timestamp)
    if record.role == "event":
        return f"\n*{when} · {_plain(happened(record))}*\n"
    facts = " · ".join([when, *went(record)])
    parts = [f"\n## {_NAMES[record.role]}\n", f"<sub>{record.seq} · {_plain(facts)}</sub>\n"]
    if record.references:
        parts += map(_reference, record.references)
    parts.append(f"{_closed(str(record.content or ''))}\n")
    return "\n".join(parts)


def _reference(one: Reference) -> str:
    content = one.content or ""
    fence = "`" * max(3, *(len(run) + 1 for run in _RUN.findall(content)), 3)
    return f"**{one.type}** {_plain(one.target)}\n\n{fence}\n{content}\n{fence}\n"


def _closed(text: str) -> str:
    """`text` with its headings below ours, and a fence that it left open closed."""
    open_fence = ""
    lines = []
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found and not open_fence and not (found[1][0] == "`" and "`" in found[2]):
            open_fence = found[1]
        elif found and open_fence and found[1].startswith(open_fence) and not found[2].strip():
            open_fence = ""
        # A line of dashes under a text, or a heading of the first two levels, would look like one of ours.
        lines.append(f"##{line}" if not open_fence and re.match(r"#{1,2}(?:\s|$)", line) else line)
    return "\n".join(lines) + (f"\n{open_fence}" if open_fence else "")


def _plain(text: str) -> str:
    """One line in which nothing is markup."""
    return _MEANT.sub(r"\\\1", " ".join(text.split()))


WRITER = Writer(_opening, _record, lambda _: "")
