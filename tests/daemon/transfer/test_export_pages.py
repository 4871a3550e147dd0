"""Pages of an export: together they are the whole, wherever it is cut, and JSON comes back the same."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from port42_daemon.store.interface import Header
from port42_daemon.store.session_file.document import compose
from port42_daemon.transfer import export
from port42_daemon.transfer.readers import port42
from port42_daemon.transfer.writers import markdown
from port42_daemon.transfer.writers.base import Frame
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import (
    MESSAGES,
    RECORDS,
    AssistantMessage,
    EventRecord,
    ForkPoint,
    Location,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Reference,
    Source,
    ThoughtRecord,
    ToolRecord,
    TurnRecord,
    UserMessage,
)

WHEN = "2026-11-23T09:10:00.000Z"
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=60)
_PRINTED = st.characters(min_codepoint=33, max_codepoint=0x2FF, blacklist_categories=("Cc", "Z"))
NAME = st.text(_PRINTED, min_size=1, max_size=20)
TOKENS = st.none() | st.integers(0, 9**9)
TURN = st.builds(TurnRecord, backend=NAME, model=st.none() | TEXT, input_tokens=TOKENS)
OPTIONAL = {
    "status": st.sampled_from(["complete", "interrupted"]),
    "kind": NAME,
    "question": st.integers(1, 100),
    "key": NAME,
    "turn": TURN,
    "references": st.lists(
        st.builds(Reference, st.sampled_from(["file", "text"]), NAME, st.none() | TEXT), max_size=2
    ).map(tuple),
}
MESSAGE = st.one_of(
    *(
        st.fixed_dictionaries(
            {"role": st.just(role), "content": TEXT},
            optional={name: OPTIONAL[name] for name in kind.__struct_fields__ if name in OPTIONAL},
        )
        for role, kind in MESSAGES.items()
    )
)
EVENT = st.one_of(
    st.just({"role": "event", "event": "resumed"}),
    st.just({"role": "event", "event": "ended"}),
    st.builds(lambda title: {"role": "event", "event": "renamed", "title": title}, NAME),
    st.builds(lambda on: {"role": "event", "event": "pinned", "pinned": on}, st.booleans()),
    st.builds(lambda tag: {"role": "event", "event": "tagged", "tags": (tag.replace(",", "."),)}, NAME),
    st.builds(lambda text: {"role": "event", "event": "compacted", "content": text}, TEXT),
)
STEP = st.builds(PlanEntry, TEXT, st.sampled_from(["pending", "in_progress", "completed"]))
ACTIVITY = st.one_of(
    st.fixed_dictionaries(
        {"role": st.just("tool"), "id": NAME, "title": TEXT, "state": st.sampled_from(["done", "failed"])},
        optional={
            "name": NAME,
            "input": TEXT,
            "output": TEXT,
            "duration_ms": st.integers(0, 9**9),
            "locations": st.lists(st.builds(Location, NAME, st.none() | st.integers(1, 9)), min_size=1).map(
                tuple
            ),
            "output_omitted": st.integers(1, 9**9),
        },
    ),
    st.fixed_dictionaries({"role": st.just("thought"), "content": TEXT}),
    st.fixed_dictionaries({"role": st.just("plan"), "entries": st.lists(STEP, max_size=3).map(tuple)}),
    st.fixed_dictionaries(
        {"role": st.just("permission"), "title": TEXT, "by": NAME, "chosen": st.none() | TEXT}
    ),
)


def _numbered(records):
    return [RECORDS[record["role"]](seq=n, timestamp=WHEN, **record) for n, record in enumerate(records, 1)]


SESSION = st.builds(
    lambda header, records: (header, _numbered(records)),
    st.builds(
        Header,
        id=st.just("cli-1"),
        agent=st.just("ai-muse"),
        created_at=st.just(WHEN),
        client=st.just("cli"),
        title=st.none() | NAME,
        cwd=st.none() | st.just("/home/ada"),
        metadata=st.dictionaries(NAME, st.none() | st.integers(0, 9) | TEXT, max_size=3),
        forked_from=st.none() | st.just(ForkPoint("cli-0", 3)),
        imported_from=st.none() | st.just(Source("codex", "x")),
    ),
    st.lists(MESSAGE | EVENT | ACTIVITY, max_size=6),
)


def exported(kind, header, records, *, redactions=None):
    """All pages, put together."""
    frame = Frame(header, compose(header, records)[1].footer)
    position = export.Position(frame.footer.last_seq)
    parts = []
    while position is not None:
        position = export.parse_cursor(position.cursor())
        part, position = export.next_page(
            kind,
            frame,
            lambda after: (record for record in records if record.seq > after),
            position,
            redactions,
        )
        parts.append(part)
        assert len(part) <= export.PAGE_CHARACTERS
    return "".join(parts)


@settings(max_examples=40)
@given(SESSION)
def test_json_is_the_file_itself_and_comes_back_whole(session):
    header, records = session
    text = exported("json", header, records)
    assert text.encode() == compose(header, records)[0]
    [parsed] = port42.read(line + b"\n" for line in text.encode().split(b"\n"))
    assert parsed.problems == []
    assert (parsed.header, list(parsed.records)) == (header, records)


@settings(max_examples=40)
@given(SESSION)
def test_json_that_a_tool_laid_out_anew_comes_back_too(session):
    header, records = session
    laid_out = json.dumps(json.loads(exported("json", header, records)), indent=2, ensure_ascii=False)
    [parsed] = port42.read(line.encode() + b"\n" for line in laid_out.split("\n"))
    assert list(parsed.records) == records


def test_a_session_that_lost_lines_is_whole_json_too():
    header = Header(id="cli-1", agent="ai-muse", created_at=WHEN, client="cli")
    records = [UserMessage(seq=seq, content="x", timestamp=WHEN) for seq in (3, 5)]
    text = exported("json", header, records)
    assert [record["seq"] for record in json.loads(text)["messages"]] == [3, 5]
    assert text.encode() == compose(header, records)[0]


@pytest.mark.parametrize("kind", export.WRITERS)
@settings(max_examples=15)
@given(session=SESSION, size=st.integers(200, 3000))
def test_pages_of_any_size_are_the_same_text(kind, session, size):
    whole = exported(kind, *session)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "PAGE_CHARACTERS", size)
        assert exported(kind, *session) == whole


def test_a_secret_is_counted_once_however_it_is_paged():
    key = "sk-ant-api03-" + "aB3" * 20
    header = Header(id="cli-1", agent="ai-muse", created_at=WHEN, client="cli")
    records = [UserMessage(seq=n, content=f"{key} and more", timestamp=WHEN) for n in (1, 2, 3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "PAGE_CHARACTERS", 50)
        redactions: Counter[str] = Counter()
        text = exported("markdown", header, records, redactions=redactions)
    assert redactions["anthropic key"] == 3
    assert text.count("[redacted: anthropic key]") == 3


def test_a_title_cut_in_a_secret_is_made_anew():
    text = "use my key sk-ant-api03-" + "aB3" * 20
    header = Header(id="cli-1", agent="ai-muse", created_at=WHEN, client="cli")
    footer = compose(header, [UserMessage(seq=1, content=text, timestamp=WHEN)])[1].footer
    assert footer.title is not None
    assert "aB3" in footer.title
    frame = export.redact_frame(Frame(header, footer), text, Counter())
    assert frame.footer.title == "use my key [redacted: anthropic key]"


@pytest.mark.parametrize(
    "cursor", ["", "?", "MSAy", "MSAyOjM6NA", "LTEgLTE6MA", "MSA1OjA", "MSAtMTotMQ", "é"]
)
def test_an_invalid_cursor(cursor):
    with pytest.raises(InvalidParams, match="next_cursor"):
        export.parse_cursor(cursor)


# --- Markdown -------------------------------------------------------------------------------------


LINES = ["```", "````", "~~~", "```js", "# x", "## x", "---", "text", "", "    ```", "===", "- a"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(LINES), max_size=8))
def test_no_message_breaks_the_structure_of_the_markdown(lines):
    """Whatever a message has, the message after it stands under its own heading of level two."""
    first = AssistantMessage(seq=1, content="\n".join(lines), timestamp=WHEN)
    second = UserMessage(seq=2, content="the second", timestamp=WHEN)
    tokens = MarkdownIt().parse(markdown.WRITER.record(first) + markdown.WRITER.record(second))
    opened = [n for n, record in enumerate(tokens) if record.type == "heading_open" and record.level == 0]
    headings = [tokens[n + 1].content for n in opened if tokens[n].markup == "##"]
    assert (headings[0], headings[-1]) == ("Assistant", "User")


CALL = ToolRecord(
    seq=2,
    timestamp=WHEN,
    id="1",
    name="Edit",
    title="a.py <b>",
    state="done",
    duration_ms=1200,
    input='{"file_path":"/a.py","old_string":"one","new_string":"two"}',
    output="```\n</details>\n# done",
    locations=(Location("/a.py"),),
)
DID = [
    UserMessage(seq=1, content="fix it", timestamp=WHEN),
    CALL,
    ThoughtRecord(seq=3, timestamp=WHEN, content="Hm.\nWhy?"),
    PlanRecord(seq=4, timestamp=WHEN, entries=(PlanEntry("read", "completed"), PlanEntry("*test*"))),
    PermissionRecord(seq=5, timestamp=WHEN, title="rm x", chosen="Allow", by="cli"),
    EventRecord(seq=6, event="compacted", timestamp=WHEN, content="what was"),
    AssistantMessage(seq=7, content="Done.", timestamp=WHEN),
]
MARKDOWN = """
<details>
<summary>2026-11-23 09:10 UTC · Edit: a.py &lt;b&gt; (done) · 1.2 s</summary>

files

```
/a.py
```

input

```
file_path: /a.py
```

change

```diff
@@ -1 +1 @@
-one
+two
```

output

````
```
</details>
# done
````

</details>

<details>
<summary>2026-11-23 09:10 UTC · thought: Hm. Why?</summary>

thought

```
Hm.
Why?
```

</details>

*2026-11-23 09:10 UTC · plan*

- [x] read
- [ ] \\*test\\*

*2026-11-23 09:10 UTC · permission: rm x: Allow (by cli)*

<details>
<summary>2026-11-23 09:10 UTC · compacted</summary>

summary

```
what was
```

</details>
"""


def test_markdown_folds_what_the_agent_did():
    assert "".join(map(markdown.WRITER.record, DID[1:6])) == MARKDOWN
    tokens = MarkdownIt().parse("".join(map(markdown.WRITER.record, DID)))
    headings = [tokens[n + 1].content for n, record in enumerate(tokens) if record.type == "heading_open"]
    assert headings == ["User", "Assistant"]


def test_markdown_names_the_other_owner_at_the_hub_who_wrote_something():
    wrote = {"timestamp": WHEN, "author": "a*d*a"}
    records = [
        UserMessage(seq=1, content="hi", **wrote),
        ThoughtRecord(seq=2, content="hm", **wrote),
        PlanRecord(seq=3, entries=(), **wrote),
        EventRecord(seq=4, event="ended", **wrote),
    ]
    said, *others = map(markdown.WRITER.record, records)
    assert said.startswith("\n## User (a\\*d\\*a)\n")
    assert all(
        f" · {name}" in text
        for name, text in zip(("a*d*a: thought", "a\\*d\\*a: plan", "a\\*d\\*a: ended"), others, strict=True)
    )


def test_front_matter_cannot_be_ended_by_a_title():
    header = Header(id="cli-1", agent="ai-muse", created_at=WHEN, client="cli", title='"\n---\n# x')
    text = markdown.WRITER.opening(Frame(header, compose(header, [])[1].footer))
    assert text.split("\n---\n")[0].count("\n") == 6
    assert 'title: "\\"\\n---\\n# x"' in text
