"""The exported page: nothing in it can run, whatever a session says, and everything said is in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.page_rules import HOSTILE, Rules

from port42_daemon.store.interface import Header
from port42_daemon.store.session_file.document import compose
from port42_daemon.transfer.writers import html
from port42_daemon.transfer.writers.base import Frame
from port42_daemon.transfer.writers.html import WRITER
from port42_protocol.messages.records import (
    MESSAGES,
    EventRecord,
    Location,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Record,
    Reference,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
)

WHEN = "2026-11-23T09:10:00.000Z"
ANYTHING = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=80),
    st.lists(
        st.sampled_from(["<", ">", '"', "'", "&", "`", "](", "[", "!", "javascript:", "\n", "on", "x="])
    ).map("".join),
)


def page(*records: Record, title: str | None = None, agent: str = "ai-muse", **header: object) -> str:
    head = Header(id="cli-1", agent=agent, created_at=WHEN, client="cli", title=title, **header)  # type: ignore[arg-type]
    frame = Frame(head, compose(head, records)[1].footer)
    return WRITER.opening(frame) + "".join(map(WRITER.record, records)) + WRITER.closing(frame)


def said(text: str, role: str = "assistant", seq: int = 1, **more: object) -> Record:
    return MESSAGES[role](seq=seq, content=text, timestamp=WHEN, **more)  # type: ignore[arg-type]


def rules(text: str) -> Rules:
    parser = Rules(html._SCRIPT)
    parser.feed(text)
    parser.close()
    return parser


@pytest.mark.parametrize("role", ["user", "assistant", "system", "error"])
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_is_more_than_text(text, role):
    assert rules(page(said(text, role))).found == []


def test_the_rules_find_what_they_are_for():
    """Else the tests above could not fail."""
    for text in HOSTILE[:3]:
        assert rules(f"<main>{text}</main>").found
    assert rules("<main><script>alert(1)</script></main>").found == ["another script"]


@settings(max_examples=50)
@given(st.lists(ANYTHING, min_size=7, max_size=7))
def test_nothing_anywhere_runs(texts):
    item, two, title, target, content, model, tag = texts
    read = (Reference("file", target or "x", content),)
    turn = TurnRecord(backend="x", model=model or None)
    tagged = EventRecord(seq=3, event="tagged", tags=(tag,), timestamp=WHEN)
    renamed = EventRecord(seq=4, event="renamed", title=title, timestamp=WHEN)
    did = (
        ToolRecord(
            seq=5, timestamp=WHEN, id=item, name=two, title=title, state="failed", input=content, output=two,
            locations=(Location(target),),
        ),
        ToolRecord(
            seq=6, timestamp=WHEN, id="2", title=item, state="done",
            input=json.dumps({target: item, "old_string": content, "new_string": title}),
        ),
        ThoughtRecord(seq=7, timestamp=WHEN, content=content),
        PlanRecord(seq=8, timestamp=WHEN, entries=(PlanEntry(item), PlanEntry(two, "completed"))),
        PermissionRecord(seq=9, timestamp=WHEN, title=title, options=(item,), chosen=two, by=model),
        EventRecord(seq=10, event="compacted", content=content, timestamp=WHEN),
    )  # fmt: skip
    records = (said(item, turn=turn), said(two, "user", 2, references=read), tagged, renamed, *did)
    found = rules(page(*records, title=title, cwd=f"/{target}"))
    assert found.found == []
    assert [item for item in found.ids if item.startswith("m")] == [f"m{seq}" for seq in range(1, 11)]


def test_what_another_owner_at_the_hub_wrote_has_the_name():
    records = (said("Hi.", "user", author="<ada>"), said("Hello.", seq=2, author="<ada>"))
    ended = EventRecord(seq=3, event="ended", timestamp=WHEN, author="<ada>")
    text = page(*records, ended)
    for piece in ("<h2>&lt;ada&gt;</h2>", "<h2>Assistant (&lt;ada&gt;)</h2>", "<span>&lt;ada&gt;: ended "):
        assert piece in text


def test_what_the_agent_did_is_folded():
    change = json.dumps({"old_string": "<one>", "new_string": "two"})
    call = ToolRecord(seq=2, timestamp=WHEN, id="1", name="Edit", title="a.py", state="failed", input=change)
    text = page(said("Done."), call)
    assert '<details class="activity tool failed" id="m2"><summary>Edit: a.py (failed) <time' in text
    assert '<span class="d">-&lt;one&gt;</span>\n<span class="s">+two</span>' in text


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\x00")))
def test_what_is_no_markdown_is_there_to_the_letter(text):
    shown = "".join(rules(page(said(text, "system"))).text)
    assert text in shown


def test_what_the_person_wrote_is_markdown_with_its_lines():
    text = page(said("**look**\nhere\n\n- [ ] first\n- [X] done\n- [x](https://a.example) link", "user"))
    for piece in (
        "<strong>look</strong><br />\nhere",
        '<li class="task">☐ first</li>',
        '<li class="task">☑ done</li>',
        '<li><a href="https://a.example"',
    ):
        assert piece in text


def test_columns_are_aligned_without_a_style_that_the_policy_refuses():
    text = page(said("| a | b | c |\n|:-|-:|:-:|\n| 1 | 2 | 3 |"))
    assert '<td class="left">1</td>\n<td class="right">2</td>\n<td class="center">3</td>' in text
    assert "style=" not in text


def test_markdown_is_laid_out_and_html_is_not():
    text = page(said("# Title\n\n**bold** <i>not</i>\n\n| a |\n|-|\n| b |\n\n```python\nimport os\n```"))
    for piece in (
        "<h1>Title</h1>",
        "<strong>bold</strong>",
        "&lt;i&gt;",
        "<td>b</td>",
        '<span class="k">import</span>',
    ):
        assert piece in text


def test_an_image_is_a_link_and_a_link_tells_nothing():
    text = page(said("![a cat](https://example.org/cat.png)"))
    assert "<img" not in text
    assert '<a class="image" href="https://example.org/cat.png" rel="noopener noreferrer nofollow">' in text


def test_the_policy_lets_one_style_sheet_and_one_script_in_and_nothing_else():
    text = page(said("x"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    hashes = []
    for tag in ("style", "script"):
        (inner,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        hashes.append(f"{tag}-src 'sha256-{digest}'")
    assert policy == "; ".join(["default-src 'none'", *hashes, "base-uri 'none'", "form-action 'none'"])


def test_a_message_too_long_for_markdown_is_shown_as_text():
    text = page(said("**x** " * 200_000))
    assert "<strong>" not in text
    assert text.count("**x**") == 200_000
