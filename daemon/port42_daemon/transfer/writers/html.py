"""One self-contained HTML page of a session: semantic, printable, light and dark.

Its one script adds what needs one (copy buttons, times in the reader's zone); without it nothing is missing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from pathlib import Path

from port42_daemon.transfer.writers.base import (
    Frame,
    Writer,
    describe_activity,
    describe_event,
    minute,
    turn_facts,
)
from port42_protocol.activity import opened
from port42_protocol.counting import count
from port42_protocol.messages.records import (
    Activity,
    AssistantMessage,
    EventRecord,
    Message,
    PermissionRecord,
    Record,
    Reference,
    ToolRecord,
    UserMessage,
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
# Only this style sheet and this script, by their hashes: no other one, no image, frame, form or request.
_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)};"
    " base-uri 'none'; form-action 'none'"
)
_DOT = ' <span class="dot">·</span> '
_NAMES = {"user": "You", "system": "System", "error": "Error"}


def _opening(frame: Frame) -> str:
    header, footer = frame.header, frame.footer
    facts = [
        f'<span class="agent">@{escape(header.agent)}</span>',
        f"<code>{escape(header.id)}</code>",
        count(footer.message_count, "message"),
        _time(header.created_at),
    ]
    if header.cwd:
        facts.append(f"<code>{escape(header.cwd)}</code>")
    tags = "".join(f"<li>{escape(tag)}</li>" for tag in footer.tags)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(frame.name)} · @{escape(header.agent)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<header class="page">\n<h1>{escape(frame.name)}</h1>\n'
        f"<p>{_DOT.join(facts)}</p>\n"
        + (f'<ul class="tags" aria-label="Tags">{tags}</ul>\n' if tags else "")
        + "</header>\n<main>\n"
    )


def _record(record: Record) -> str:
    if isinstance(record, EventRecord) and record.content:
        return _folded(record, describe_event(record), [("summary", record.content)])
    if isinstance(record, EventRecord | PermissionRecord):
        line = describe_event(record) if isinstance(record, EventRecord) else describe_activity(record)
        return (
            f'<p class="event" id="m{record.seq}"><span>{escape(line)} {_time(record.timestamp)}</span></p>\n'
        )
    if isinstance(record, Activity):
        return _folded(record, describe_activity(record), opened(record))
    content = record.content if isinstance(record, Message) else ""
    if isinstance(record, AssistantMessage | UserMessage):
        # Imported here: markdown-it would add a tenth to the daemon's start.
        from port42_daemon.transfer.writers.markdown_html import render

        # People who type end a line where they mean one to end.
        body = render(content, line_breaks=isinstance(record, UserMessage))
    else:
        body = f"<pre>{escape(content)}</pre>\n"
    facts = "".join(f'<span class="fact">{escape(fact)}</span>' for fact in turn_facts(record))
    references = record.references or () if isinstance(record, UserMessage) else ()
    name = escape(_name(record))
    return (
        f'<article class="{record.role}" id="m{record.seq}" aria-label="{name}, message {record.seq}">\n'
        f'<header><h2>{name}</h2>{facts}{_time(record.timestamp)}<a href="#m{record.seq}">#{record.seq}</a>'
        f'</header>\n<div class="said">\n{body}</div>\n'
        + "".join(map(_reference, references))
        + "</article>\n"
    )


def _name(record: Record) -> str:
    """Who speaks; another owner at the hub by name."""
    name = _NAMES.get(record.role, "Assistant")
    if not record.author:
        return name
    return record.author if isinstance(record, UserMessage) else f"{name} ({record.author})"


def _folded(record: Record, line: str, parts: Iterable[tuple[str, str]]) -> str:
    state = f" {record.state}" if isinstance(record, ToolRecord) else ""
    return (
        f'<details class="activity {record.role}{state}" id="m{record.seq}">'
        f"<summary>{escape(line)} {_time(record.timestamp)}</summary>\n"
        + "".join(f"<p>{escape(name)}</p>\n<pre>{_text(name, text)}</pre>\n" for name, text in parts)
        + "</details>\n"
    )


def _text(name: str, text: str) -> str:
    """The text of a part of an activity, with the lines of a change in colour."""
    if name != "change":
        return escape(text)
    styles = {"+": "s", "-": "d", "@": "c"}
    lines = ((styles.get(line[:1]), escape(line)) for line in text.split("\n"))
    return "\n".join(f'<span class="{style}">{line}</span>' if style else line for style, line in lines)


def _reference(reference: Reference) -> str:
    content = reference.content or ""
    return (
        f"<details><summary><b>{escape(reference.type)}</b> <code>{escape(reference.target)}</code>"
        f" <small>{count(len(content), 'character')}</small></summary>"
        f"<pre>{escape(content)}</pre></details>\n"
    )


def _time(timestamp: str) -> str:
    return f'<time datetime="{escape(timestamp)}">{escape(minute(timestamp))}</time>'


def _closing(frame: Frame) -> str:
    last = f"Last used {_time(frame.footer.last_activity)} · exported by Port42"
    return f'</main>\n<footer class="page">{last}</footer>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n'


WRITER = Writer(_opening, _record, _closing)
