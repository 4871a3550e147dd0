"""Search queries: every text is a query or is refused."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from port42_daemon.store.index import messages, search
from port42_daemon.store.index.entries import Entry, part, prepare
from port42_daemon.store.index.query import parse
from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.sessions import SessionUpdate, put
from port42_protocol.errors import InvalidParams
from port42_protocol.messages.records import (
    RECORDS,
    EventRecord,
    Location,
    PermissionRecord,
    PlanEntry,
    PlanRecord,
    Record,
    Summary,
    ThoughtRecord,
    ToolRecord,
    replace,
)

AT = "2025-09-20T12:00:00.000Z"


def said(role: str, day: str, content: str, **more) -> Record:
    return RECORDS[role](seq=0, content=content, timestamp=f"{day}T12:00:00.000Z", **more)


def tool(name: str | None, title: str, kind: str, paths: tuple[str, ...] = (), **more) -> Record:
    return ToolRecord(
        seq=0,
        timestamp=AT,
        id="t",
        name=name or UNSET,
        title=title,
        kind=kind,
        state="done",
        locations=tuple(map(Location, paths)) or UNSET,
        **more,
    )


STORED = [
    said("user", "2025-09-08", "Please build a parser for naïve CSV files"),
    said("assistant", "2025-09-08", "The function parseHttpRequest calls read_next_line() twice"),
    said("user", "2025-10-31", "日本語の検索エンジンを作る"),
    said("error", "2024-12-31", "ENOSPC: the disk is full"),
    said("assistant", "2026-01-01", "GitHub's CSV parser is slow; a parser of ours is not"),
    said("user", "2025-09-30", "in straße und ÉCOLE"),
    tool("Bash", "npm test", "execute", input='{"command":"npm test"}', output="17 passed, zebras"),
    tool("Edit", "src/a.py", "edit", ("/home/ada/src/a.py", "/home/ada/src/été b.py")),
    tool(None, "Look", "read", ("C:\\work\\Main.java",)),
    ThoughtRecord(seq=0, timestamp=AT, content="The zebras may have stripes"),
    PlanRecord(seq=0, timestamp=AT, entries=(PlanEntry("count the giraffes"), PlanEntry("feed them"))),
    PermissionRecord(seq=0, timestamp=AT, title="Delete okapi.txt?", options=("Yes", "No"), by="nobody"),
    EventRecord(seq=0, timestamp=AT, event="compacted", content="So far: antelopes"),
    EventRecord(seq=0, timestamp=AT, event="later", content="unknown events are not indexed: lemurs"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("index") / "index.db")
    database.open()
    at = "2025-01-01T00:00:00.000Z"
    known = {"title": "t", "state": "active", "created_at": at, "last_activity": at, "message_count": 1}
    for agent in ("ai-engineer", "ai.Engineer"):
        summary = Summary(session_id=agent.replace(".", "_"), agent=agent, cwd=None, **known)
        update = SessionUpdate(summary, len(STORED), 1, 1, 1)
        with database.writing as writing:
            number = put(writing, update, named=False, fed_seq=len(STORED))
            records = [replace(record, seq=seq) for seq, record in enumerate(STORED, 1)]
            messages.add(writing, [(number, part(update, 0, records, fed_seq=0).texts)])
    yield database
    database.close()


@pytest.fixture
def find(database):
    def find(text: str, agent: str | None = "ai-engineer") -> list[int]:
        hits, _, _ = search.page(database.reading, parse(text, agent), None, 0, 100)
        return sorted(hit.seq for hit in hits)

    return find


@pytest.mark.parametrize(
    ("text", "seqs"),
    [
        ("parser", [1, 5]),
        ("PARSER csv", [1, 5]),
        ('"csv parser"', [5]),
        ('"parser csv"', []),
        ("naive", [1]),
        ("Naïve", [1]),
        ("ecole", [6]),
        ("pars*", [1, 2, 5]),
        ('"a pars"*', [1, 5]),
        ("parser -github", [1]),
        ('parser -"csv files"', [5]),
        ("HttpRequest", [2]),
        ("parseHttpRequest", [2]),
        ("parsehttprequest", [2]),
        ("request", [2]),
        ("next_line", [2]),
        ("read_next_line()", [2]),
        ("github", [5]),
        ("GitHub", [5]),
        ("検索", [3]),
        ("検索エンジン", [3]),
        ("索検", []),
        ("本*", [3]),
        ("enospc:", [4]),
        ("role:user", [1, 3, 6]),
        ("parser role:assistant", [5]),
        ("-role:user parser", [5]),
        ("before:2025", [4]),
        ("after:2026", [5]),
        ("before:2025-09-09", [1, 2, 4]),
        ("after:2025-09-30 before:2025-11", [3, 6]),
        ("after:2025-10-31", [3, 5]),
        ("before:2025-09", [4]),
        ('role:"user" AFTER:"2025-10"', [3]),
        ("parser:csv", []),
        ("NOT parser", [5]),
        ('"csv files', [1]),
        ("** parser !!", [1, 5]),
        ("parser -", [1, 5]),
        ("zebras", [7, 10]),
        ("zebra*", [7, 10]),
        ("role:tool", [7, 8, 9]),
        ("role:thought", [10]),
        ("giraffes", [11]),
        ("role:plan feed", [11]),
        ("okapi role:permission", [12]),
        ("antelopes", [13]),
        ("lemurs", []),
        ("tool:bash", [7]),
        ("tool:BASH zebras", [7]),
        ("tool:execute", [7]),
        ('tool:"edit"', [8]),
        ("tool:ba", []),
        ("zebras -tool:bash", [10]),
        ("file:src/a.py", [8]),
        ("file:/home/ada/src/a.py", [8]),
        ("file:./a.py", [8]),
        ('file:"src/été b.py"', [8]),
        ("file:a", []),
        ("file:src", []),
        ("file:c/a.py", []),
        ("file:A.py", []),
        ("file:work\\Main.java", [9]),
        ("file:a.py tool:edit role:tool after:2025", [8]),
    ],
)
def test_queries_and_their_hits(find, text, seqs):
    assert find(text) == seqs


def test_an_agents_name_is_matched_exactly(find):
    assert find("disk agent:ai-engineer", None) == [4]
    assert find("disk agent:@ai.Engineer", None) == [4]
    assert find("disk", None) == [4, 4]
    assert find("disk -agent:ai.Engineer", None) == [4]
    assert find("disk agent:AI-engineer", None) == find("disk agent:engineer", None) == []
    assert find("agent:ai.Engineer", "ai-engineer") == []


@pytest.mark.parametrize(
    "text",
    [
        *(" ", "*", '""', "-", "!?", "-parser", "🙂", "ab*", '"x"*', "parser a*", "role:robot"),
        *("role:", "parser tool: bash", "-file:", "agent:", "agent:@", 'agent:"a muse"'),
        *(
            "file:/",
            'tool:" "',
            "before:yesterday",
            "after:2025-13",
            "before:2025-02-30",
            "after:２０２５",
            "x " * 40,
        ),
    ],
)
def test_a_query_with_nothing_to_search_is_refused(find, text):
    with pytest.raises(InvalidParams) as refused:
        find(text)
    assert refused.value.data["field"] == "query"
    assert refused.value.message == f"query: expected {refused.value.data['expected']}"


@pytest.mark.parametrize(
    ("text", "hints"),
    [
        ("rol:user parser", ["rol: was searched for as a word; the filter is called role:"]),
        ("tools:bash -Agnet:x", ["tools:", "Agnet:"]),
        ('role:user error:x http://x file://x "rol:x" c:x title:x', []),
    ],
)
def test_a_word_that_looks_like_a_filter_is_named(text, hints):
    found = parse(text).hints
    assert len(found) == len(hints)
    assert all(line.startswith(hint) for line, hint in zip(found, hints, strict=True))


SYNTAX = [*"\"*^:+-(){}\x00\x02\x03\u200b'", "AND ", "OR", " NOT ", "NEAR(", "text:", "rowid", "{a b}:"]
FTS5 = st.sampled_from(SYNTAX)
TYPED = st.lists(st.one_of(FTS5, st.text(max_size=5), st.sampled_from(["parser", " ", "agent:", "before:"])))


@given(TYPED.map("".join))
@example('" OR text : "x')
@example('a"b"c* -"-d* "e')
@example("parser\x00parser")
@example("(" * 300)
@example("-\ufdfa parser")
@settings(max_examples=60)
def test_any_text_is_a_query_or_refused(database, text):
    refused = None
    try:
        query = parse(text)
    except InvalidParams as error:
        refused = error
    if refused:
        assert refused.data["field"] == "query"
        return
    try:
        search.page(database.reading, query, None, 0, 20)
    except sqlite3.Error as error:
        pytest.fail(f"{text!r} became {query.expression!r}: {error}")


LETTERS = st.characters(categories=["Ll", "Lu", "Nd"], max_codepoint=0x24F)


@given(st.text(alphabet=LETTERS, min_size=3, max_size=20))
@settings(max_examples=30)
def test_any_word_is_found(database, word):
    entry = Entry(99, "user", AT, f"so {word}!")
    with database.writing as writing:
        number = writing.execute("SELECT number FROM sessions").fetchone()[0]
        messages.add(writing, [(number, prepare("ai-engineer", [entry]))])
    try:
        hits, _, _ = search.page(database.reading, parse(word), None, 0, 100)
        assert 99 in {hit.seq for hit in hits}
    finally:
        with database.writing as writing:
            messages._delete(writing, number, "ai-engineer", "AND seq = 99")
