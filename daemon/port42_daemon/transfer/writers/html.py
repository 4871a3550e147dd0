"""One self-contained HTML page of a session: semantic, printable, light and dark, and nothing in it runs."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

from port42_daemon.transfer.writers.base import Ends, Writer, happened, minute, went
from port42_daemon.transfer.writers.markdown_html import render
from port42_protocol.messages.records import Message, Reference

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The one style sheet by its hash, and nothing else: no script, image, frame, form or request.
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
_DOT = ' <span class="dot">·</span> '
_NAMES = {"user": "You", "system": "System", "error": "Error"}


def _opening(ends: Ends) -> str:
    header, footer = ends.header, ends.footer
    count = footer.message_count
    facts = [
        f'<span class="agent">@{escape(header.agent)}</span>',
        f"<code>{escape(header.id)}</code>",
        f"{count:,} message{'' if count == 1 else 's'}",
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
        f"<title>{escape(ends.name)} · @{escape(header.agent)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<header class="page">\n<h1>{escape(ends.name)}</h1>\n'
        f"<p>{_DOT.join(facts)}</p>\n"
        + (f'<ul class="tags" aria-label="Tags">{tags}</ul>\n' if tags else "")
        + "</header>\n<main>\n"
    )


def _record(record: Message) -> str:
    if record.role == "event":
        return (
            f'<p class="event" id="m{record.seq}"><span>{escape(happened(record))}'
            f" {_time(record.timestamp)}</span></p>\n"
        )
    said = str(record.content or "")
    whole = render(said) if record.role == "assistant" else f"<pre>{escape(said)}</pre>\n"
    facts = "".join(f'<span class="fact">{escape(fact)}</span>' for fact in went(record))
    name = _NAMES.get(record.role, "Assistant")
    return (
        f'<article class="{record.role}" id="m{record.seq}" aria-label="{name}, message {record.seq}">\n'
        f'<header><h2>{name}</h2>{facts}{_time(record.timestamp)}<a href="#m{record.seq}">#{record.seq}</a>'
        f'</header>\n<div class="said">\n{whole}</div>\n'
        + "".join(map(_reference, record.references or ()))
        + "</article>\n"
    )


def _reference(one: Reference) -> str:
    content = one.content or ""
    return (
        f"<details><summary><b>{escape(one.type)}</b> <code>{escape(one.target)}</code>"
        f" <small>{len(content):,} characters</small></summary><pre>{escape(content)}</pre></details>\n"
    )


def _time(timestamp: str) -> str:
    return f'<time datetime="{escape(timestamp)}">{escape(minute(timestamp))}</time>'


def _closing(ends: Ends) -> str:
    last = minute(ends.footer.last_activity)
    said = f"Last used {escape(last)} UTC · exported by Port42"
    return f'</main>\n<footer class="page">{said}</footer>\n</body>\n</html>\n'


WRITER = Writer(_opening, _record, _closing)
