"""The store's contract: queries across sessions, and checks of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from peers.session_files import add, page
from peers.stores import at, event, header, ids, read, said

from port42_daemon.store.interface import (
    ENDED,
    RESUMED,
    CheckPosition,
    SessionFilter,
)
from port42_protocol.errors import SessionNotFound
from port42_protocol.messages.records import (
    AssistantMessage,
    Parent,
    Record,
    Source,
    TurnRecord,
    replace,
)


@pytest.fixture
def several(store: Any) -> Any:
    store.create(header("cli-1000", second=1, cwd="/a"), [said("The Parser", 10)])
    store.create(header("cli-1001", second=2, cwd="/a"), [said("the parser again", 40)])
    store.create(header("rpc-2000", agent="ai-analyst", second=3, cwd="/b"), [said("Größe", 30)])
    store.create(header("cli-1002", second=4, cwd="/b"), [said("other", 20), event(ENDED, 50)])
    return store


def test_a_page_is_by_last_use_and_narrowed_by_every_field(several):
    assert ids(page(several, limit=10)) == ["cli-1001", "rpc-2000", "cli-1002", "cli-1000"]
    assert ids(page(several, agent="ai-muse", limit=10)) == ["cli-1001", "cli-1002", "cli-1000"]
    assert ids(page(several, cwd="/b", limit=10)) == ["rpc-2000", "cli-1002"]
    assert ids(page(several, state="ended", limit=10)) == ["cli-1002"]
    assert ids(page(several, agent="ai-muse", cwd="/a", state="active", limit=1)) == ["cli-1001"]
    assert page(several, agent="ai-engineer", limit=10) == []


def test_what_a_page_shows_is_what_the_session_says(several):
    for listed in page(several, limit=10):
        shown = structs.asdict(listed)
        assert listed.session_id.startswith(shown.pop("short_id"))
        assert shown == structs.asdict(several.summary(listed.session_id))


def test_a_use_moves_a_session_to_the_front_at_once(several):
    add(several, "cli-1000", said("again", 60))
    assert ids(page(several, limit=1)) == ["cli-1000"]
    add(several, "rpc-2000", event(RESUMED, 70))
    assert ids(page(several, limit=2)) == ["rpc-2000", "cli-1000"]


def test_the_cursor_keeps_its_place_while_sessions_change(store):
    for number in range(20):
        # Four sessions share each moment: a cursor by time alone would skip or repeat some.
        store.create(header(f"cli-{number:04}", second=number // 4))
    got: list[str] = []
    rows, before = store.catalogue.page(SessionFilter(), None, 3)[:2]
    while rows:
        got += ids(rows)
        add(store, got[0], said("used meanwhile", 100 + len(got)))
        store.create(header(f"new-{len(got)}", second=500))
        rows, before = store.catalogue.page(SessionFilter(), before, 3)[:2] if before else ([], None)
    assert got == [f"cli-{number:04}" for number in range(19, -1, -1)]


def test_a_short_id_fits_its_session_alone(store):
    for session_id in ("cli-1757350466684", "cli-1757350466685", "cli-1757350123456", "ab", "abc", "x"):
        store.create(header(session_id))
    for listed in page(store, limit=10):
        fitting = ids(store.catalogue.matching(listed.short_id, None, 10))
        # "ab" begins "abc", too; a whole id is looked up before a prefix is tried.
        assert fitting == [listed.session_id] or listed.short_id == listed.session_id


def test_prefixes(several):
    assert ids(several.catalogue.matching("cli-100", None, 10)) == ["cli-1001", "cli-1002", "cli-1000"]
    assert ids(several.catalogue.matching("cli-1002", None, 10)) == ["cli-1002"]
    assert ids(several.catalogue.matching("cli-", "ai-analyst", 10)) == []
    assert len(several.catalogue.matching("cli-", None, 2)) == 2
    for none in ("%", "cli_", "CLI", "cli-1002x", "\x00", "'", "é"):
        assert several.catalogue.matching(none, None, 10) == []


def test_titles_in_any_case_and_the_whole_one_before_those_that_begin_so(several):
    assert ids(several.catalogue.matching("the PARSER", None, 10)) == ["cli-1000"]
    assert ids(several.catalogue.matching("the pars", None, 10)) == ["cli-1001", "cli-1000"]
    assert ids(several.catalogue.matching("GRÖSSE", None, 10)) == ["rpc-2000"]
    assert several.catalogue.matching("the parser", "ai-analyst", 10) == []
    for none in ("%", "_he parser", "parser"):
        assert several.catalogue.matching(none, None, 10) == []


def test_counts(several):
    assert several.catalogue.counts() == {"ai-muse": 3, "ai-analyst": 1}


def test_a_sub_agents_session_is_in_the_list_of_its_parent_only(several):
    several.create(
        header("sub-1", second=900, title="The parser", parent=Parent("cli-1000", 1)), [said("x", 950)]
    )
    several.create(header("sub-2", second=901, parent=Parent("cli-1000", 2)))
    assert "sub-1" not in ids(page(several, limit=100))
    assert "sub-1" not in ids(page(several, limit=100, agent="ai-muse"))
    assert ids(page(several, limit=100, parent="cli-1000")) == ["sub-1", "sub-2"]
    assert ids(page(several, limit=100, parent="cli-1000", agent="ai-analyst")) == []
    assert page(several, limit=100, parent="cli-1000")[0].parent == Parent("cli-1000", 1)
    assert page(several, limit=100, parent="nowhere") == []
    assert several.catalogue.counts() == {"ai-muse": 3, "ai-analyst": 1}
    assert ids(several.catalogue.matching("sub-1", None, 10)) == ["sub-1"]
    assert ids(several.catalogue.matching("sub-", None, 10)) == ["sub-1", "sub-2"]
    assert "sub-1" not in ids(several.catalogue.matching("the parser", None, 10))


def test_a_session_is_known_by_its_id_in_a_tool(store):
    def reply(native_id: str, second: int) -> Record:
        turn = TurnRecord(backend="claude", native_id=native_id)
        return AssistantMessage(seq=0, content="yes", timestamp=at(second), status="complete", turn=turn)

    store.create(header("cli-1"), [said("x"), reply("n-1", 2)])
    store.create(header("cli-2", imported_from=Source("claude", "n-2")), [said("x")])
    by_native = store.catalogue.by_native
    assert by_native(["n-1", "n-2", "n-3"]) == {"n-1": "cli-1", "n-2": "cli-2"}
    add(store, "cli-2", reply("n-3", 5))
    assert by_native(["n-3", "n-2"]) == {"n-2": "cli-2", "n-3": "cli-2"}
    add(store, "cli-1", reply("n-3", 9))
    assert by_native(["n-1", "n-3"]) == {"n-3": "cli-1"}
    assert by_native([]) == {}


def no_index(home: Path) -> None:
    for file in home.glob("index.db*"):
        file.unlink()


def junk_index(home: Path) -> None:
    no_index(home)
    (home / "index.db").write_bytes(b"not a database, not at all" * 400)


def cut_index(home: Path) -> None:
    whole = (home / "index.db").read_bytes()
    (home / "index.db").write_bytes(whole[: len(whole) // 2])


def holed_index(home: Path) -> None:
    """The first page is good, the others are not: it opens, and fails when it is asked."""
    whole = (home / "index.db").read_bytes()
    (home / "index.db").write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


def other_schema(home: Path) -> None:
    whole = bytearray((home / "index.db").read_bytes())
    whole[60:64] = (99).to_bytes(4, "big")  # PRAGMA user_version, in the header (sqlite.org/fileformat2)
    (home / "index.db").write_bytes(whole)


@pytest.mark.parametrize("ruin", [lambda _: None, no_index, junk_index, cut_index, holed_index, other_schema])
def test_every_question_is_answered_as_before_after_a_stop_whatever_became_of_the_index(restartable, ruin):
    store = restartable.store
    for number in range(30):
        first = said(f"title {number}", number, key=f"k-{number}")
        store.create(header(f"cli-{number:04}", second=number), [first])
    add(store, "cli-0003", said("more", 90, key="later"), said("and more", 91, role="assistant"))

    def answers(store: Any) -> list[Any]:
        return [
            page(store, limit=50),
            store.catalogue.matching("cli-000", None, 50),
            store.catalogue.matching("title 7", None, 50),
            [store.catalogue.with_key("ai-muse", f"k-{number}", None) for number in range(30)],
            store.catalogue.with_key("ai-muse", "later", None),
            store.catalogue.counts(),
        ]

    before = answers(store)
    assert before[4] == ("cli-0003", 2)
    assert before[5] == {"ai-muse": 30}
    store = restartable.again(lambda: ruin(restartable.home))
    assert answers(store) == before


def test_a_key_is_its_agents_and_its_sessions(store):
    store.create(header("cli-1"), [said("a", key="k"), said("b", key="other")])
    store.create(header("cli-2"), [said("c"), said("d", key="k")])
    store.create(header("rpc-3", agent="ai-analyst"), [said("e", key="k")])
    assert store.catalogue.with_key("ai-muse", "k", "cli-1") == ("cli-1", 1)
    assert store.catalogue.with_key("ai-muse", "k", "cli-2") == ("cli-2", 2)
    assert store.catalogue.with_key("ai-muse", "k", None) in {("cli-1", 1), ("cli-2", 2)}
    assert store.catalogue.with_key("ai-muse", "other", "cli-2") is None
    assert store.catalogue.with_key("ai-analyst", "k", None) == ("rpc-3", 1)
    assert store.catalogue.with_key("ai-engineer", "k", None) is None


def test_a_rewritten_session_has_the_new_records_and_its_keys_and_is_kept_as_it_was(restartable):
    store = restartable.store
    store.create(header("cli-1"), [said("a"), said("b", key="k")], use=True)
    before = (restartable.home / "sessions" / "cli-1.json").read_bytes()
    records = [replace(said(text), seq=seq) for seq, text in enumerate("xyz", 1)]
    records.append(replace(said("b", key="k"), seq=4))
    summary = store.rewrite(structs.replace(header("cli-1"), title="anew"), records, "then")
    assert (summary.title, summary.message_count) == ("anew", 4)
    assert read(store, "cli-1")[0] == records
    assert store.catalogue.with_key("ai-muse", "k", "cli-1") == ("cli-1", 4)
    assert add(store, "cli-1", said("later")) == 5
    [kept] = (restartable.home / "backups" / "then").rglob("cli-1.json")
    assert kept.read_bytes() == before
    with pytest.raises(SessionNotFound):
        store.rewrite(header("cli-2"), records, "then")


def test_nothing_is_wrong_with_what_was_kept_in_order(store):
    for number in range(1, 4):
        store.create(header(f"cli-{number}"), [said("a"), said("b", role="assistant")])
        store.set_last("ai-muse", f"cli-{number}")
    found = store.maintenance.check(None)
    assert [one for one in found if one.level != "ok" and one.about != "permissions"] == []  # pytest's umask
    swept = store.maintenance.check_sessions(CheckPosition(), 60.0, lambda _: False, None)
    assert (swept.findings, swept.partial, swept.remaining, swept.position) == ([], [], 0, None)
    assert swept.examined == 3


def test_what_was_said_is_counted_and_what_takes_room_is_added_up(store):
    store.create(header("cli-1"), [said("a"), said("b", role="assistant"), event(ENDED)])
    add(store, "cli-1", said("c"))
    store.create(header("cli-2", agent="ai-analyst"))
    agents = store.catalogue.statistics(None, None).agents
    counted = {one.agent: (one.user_messages, one.assistant_messages) for one in agents}
    assert counted == {"ai-muse": (2, 1), "ai-analyst": (0, 0)}
    used = store.maintenance.usage(None)
    assert {one.agent: one.sessions for one in used.agents} == {"ai-muse": 1, "ai-analyst": 1}
    assert used.total_bytes > sum(one.total_bytes for one in used.agents) > 0
