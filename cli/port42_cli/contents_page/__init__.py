"""The page `index.html` of a folder of exported pages: a link to each, and a search in what they say.

It loads nothing, for a page that is opened from a folder may not: what is searched is in it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from port42_protocol.counting import count

SEARCHED = 64 * 1024
"""Characters of each session that are searched: a page with hundreds of long ones would be slow to open."""


class Entry(NamedTuple):
    """A page in the folder. `text` is what is searched of it, `last_activity` an RFC 3339 time."""

    file: str
    title: str
    agent: str
    messages: int
    last_activity: str
    tags: Sequence[str]
    text: str


# Lines of the Markdown format that are about a message, and would be found in every session.
_ABOUT = re.compile(r"^(## (User|Assistant|System|Error)|<sub>.*</sub>)$", re.MULTILINE)


def entry(file: str, markdown: str) -> Entry:
    """The entry of a session, of its beginning in the format `markdown`."""
    front_matter, _, text = markdown.removeprefix("---\n").partition("\n---\n")
    facts = {
        name: json.loads(value)
        for name, _, value in (line.partition(": ") for line in front_matter.split("\n"))
    }
    _, _, messages = text.lstrip("\n").partition("\n")  # below the heading, which is the title
    text = " ".join(_ABOUT.sub("", messages).split())
    return Entry(
        file,
        facts["title"],
        facts["agent"],
        facts["messages"],
        facts["last_activity"],
        facts.get("tags", ()),
        text,
    )


def contents(heading: str, entries: Sequence[Entry]) -> Iterator[str]:
    """The page in pieces, the entries in their order."""
    style, script = (files(__name__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    cut = sum(len(entry.text) > SEARCHED for entry in entries)
    note = f" Of {cut:,} long ones, the beginning is searched." if cut else ""
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(heading)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(heading)}</h1>\n<p>Sessions: {len(entries):,}.{note}</p>\n"
        '<input type="search" placeholder="Search" aria-label="Search the sessions" hidden>\n'
        '<p><output aria-live="polite"></output></p>\n</header>\n<main>\n<ul>\n'
    )
    yield from map(_row, entries)
    yield "</ul>\n</main>\n<footer>Exported by Port42</footer>\n"
    yield f"<script>{script}</script>\n</body>\n</html>\n"


def _row(entry: Entry) -> str:
    when = f"{entry.last_activity[:16].replace('T', ' ')} UTC"
    tags = "".join(f" #{escape(tag)}" for tag in entry.tags)
    return (
        f'<li><a href="{escape(entry.file)}">{escape(entry.title)}</a>\n'
        f'<p class="facts">@{escape(entry.agent)} · {count(entry.messages, "message")} · '
        f'<time datetime="{escape(entry.last_activity)}">{escape(when)}</time>{tags}</p>\n'
        f'<p class="snippet" hidden></p><p class="text" hidden>{escape(entry.text[:SEARCHED])}</p></li>\n'
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
