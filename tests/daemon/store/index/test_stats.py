"""Statistics: the same however messages came into the index, and removed with their session."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs
from peers.session_files import add, header

from port42_daemon.store.file_store import FileStore
from port42_daemon.store.index.stats import MAX_TOKENS
from port42_protocol.messages.doctor_and_stats import ModelStats, ToolStats
from port42_protocol.messages.records import MESSAGES, EventRecord, ForkPoint, Parent, ToolRecord, TurnRecord

ROLES = st.sampled_from(["user", "assistant", "error", "system"])
NOW = datetime(2026, 1, 10, 23, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))


@pytest.fixture
def store(tmp_path):
    store = FileStore(tmp_path / "home")
    store.open()
    yield store
    store.close()


def said(role="user", at="2026-01-10T09:15:00.000Z", **turn):
    more = {"turn": TurnRecord(backend="llm", **turn)} if turn and role == "assistant" else {}
    return MESSAGES[role](seq=0, content="x", timestamp=at, **more)


def ask(store, agent=None, days=None, now=NOW):
    """The statistics once all messages are counted: a busy machine may need more than one call's time."""
    while not (stats := store._index.statistics(agent, days, now)).complete:
        pass
    return stats


def test_statistics_of_nothing(store):
    stats = ask(store)
    assert (stats.since, stats.days, stats.agents, stats.models) == (None, (), (), ())
    assert stats.hours == (0,) * 24


def test_messages_and_tokens_by_agent_and_model(store):
    replies = [
        said("assistant", model="m1", input_tokens=100, output_tokens=20),
        said("assistant", model="m1", input_tokens=5),
        said("assistant", total_ms=3),
    ]
    store.create(header("cli-1"), [said(), *replies, said("error"), said("system")])
    add(store, "cli-1", *[said("user"), said("assistant", model="m2", output_tokens=7)])
    store.create(header("cli-2", "ai-analyst"), [said()])
    stats = ask(store)
    muse, analyst = stats.agents
    assert (muse.agent, muse.sessions, muse.user_messages, muse.assistant_messages) == ("ai-muse", 1, 2, 4)
    assert (muse.failed_turns, muse.input_tokens, muse.output_tokens) == (1, 105, 27)
    assert muse.bytes == store.maintenance.usage("ai-muse").agents[0].session_bytes
    assert (analyst.user_messages, analyst.input_tokens) == (1, 0)
    assert [(model.backend, model.model, model.turns, model.input_tokens) for model in stats.models] == [
        ("llm", "m1", 2, 105),
        ("llm", None, 1, 0),
        ("llm", "m2", 1, 0),
    ]
    assert [agent.agent for agent in ask(store, "ai-analyst").agents] == ["ai-analyst"]
    assert ask(store, "ai-analyst").models == ()


def test_tool_calls_by_agent_and_name(store):
    def call(name, state="done", ms=UNSET):
        at = "2026-01-10T09:15:00.000Z"
        return ToolRecord(
            seq=0, timestamp=at, id="t", name=name, title="x", kind="edit", state=state, duration_ms=ms
        )

    store.create(header("cli-1"), [said(), call("Bash", ms=1500), call("Bash", "failed"), call(UNSET, ms=7)])
    store.create(header("cli-2", "ai-analyst"), [said(), call("Bash", "interrupted", 2**53)])
    stats = ask(store)
    assert [(agent.agent, agent.tool_calls, agent.failed_tool_calls) for agent in stats.agents] == [
        ("ai-analyst", 1, 0),
        ("ai-muse", 3, 1),
    ]
    assert stats.tools == (ToolStats("Bash", 3, 1, MAX_TOKENS + 1500), ToolStats("edit", 1, 0, 7))
    assert ask(store, "ai-muse").tools == (ToolStats("Bash", 2, 1, 1500), ToolStats("edit", 1, 0, 7))
    assert ask(store, days=1, now=NOW + timedelta(days=5)).tools == ()


def test_tokens_of_events_and_of_sub_agents_are_counted(store):
    usage = EventRecord(
        seq=0,
        event="usage",
        timestamp="2026-01-10T09:15:00.000Z",
        turn=TurnRecord(backend="llm", model="m1", input_tokens=40, output_tokens=2),
    )
    store.create(header("cli-1"), [said(), said("assistant", model="m1", input_tokens=5), usage])
    sub = structs.replace(header("cli-2"), parent=Parent("cli-1", 1))
    store.create(sub, [said(), said("assistant", model="m1", input_tokens=100)])
    (muse,) = ask(store).agents
    assert (muse.sessions, muse.user_messages, muse.input_tokens, muse.output_tokens) == (1, 2, 145, 2)
    assert ask(store).models == (ModelStats("llm", "m1", 2, 145, 2),)


def test_days_and_hours_are_those_of_the_clock(store):
    """At UTC+5:30, 18:45 on the 8th is the 9th, and an hour is the one its beginning is in."""
    store.create(header("cli-1"), [said(at="2026-01-08T18:45:00.000Z"), said(at="2026-01-10T03:00:00.000Z")])
    stats = ask(store)
    assert (stats.since, stats.days) == ("2026-01-08", (1, 0, 1))
    assert {hour: number for hour, number in enumerate(stats.hours) if number} == {23: 1, 8: 1}
    assert stats.agents[0].days == stats.days
    recent = ask(store, days=1)
    assert (recent.since, recent.days) == ("2026-01-10", (1,))
    assert recent.agents[0].user_messages == 1
    assert len(ask(store, days=40).days) == 40


def test_invalid_times_are_counted_on_no_day(store):
    times = ["yesterday", "", "2026-13-99T77:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"]
    store.create(header("cli-1"), [said(at=time) for time in times])
    stats = ask(store)
    assert stats.agents[0].user_messages == len(times)
    assert stats.days == ()


def test_messages_that_a_fork_copied_count_for_its_original_only(store):
    store.create(header("cli-1"), [said(), said("assistant", input_tokens=5)])
    point = ForkPoint("cli-1", 2)
    fork = structs.replace(header("cli-2"), forked_from=point)
    store.create(fork, [said(), said("assistant", input_tokens=5), said()])
    (muse,) = ask(store).agents
    assert (muse.sessions, muse.user_messages, muse.assistant_messages) == (2, 2, 1)
    assert muse.input_tokens == 5


def test_a_forgotten_session_is_not_counted(store):
    store.create(header("cli-1"), [said(), said("assistant", input_tokens=5)])
    assert ask(store).agents
    store._index.forget("cli-1")
    stats = ask(store)
    assert (stats.agents, stats.models, stats.hours) == ((), (), (0,) * 24)


@settings(max_examples=15)
@given(batches=st.lists(st.lists(ROLES, min_size=1, max_size=4), max_size=6))
def test_sums_are_the_same_live_and_read_from_files(tmp_path_factory, batches):
    home = tmp_path_factory.mktemp("h") / "home"
    store = FileStore(home)
    store.open()
    roles = [role for batch in batches for role in batch]
    try:
        store.create(header("cli-1"))
        for number, batch in enumerate(batches):
            add(store, "cli-1", *[said(role, input_tokens=3) for role in batch])
            if number % 2:
                ask(store)
        store.catalogue.with_key("ai-muse", "none", None)  # waits until everything was read
        live = ask(store)
    finally:
        store.close()
    (home / "index.db").unlink()
    store = FileStore(home)
    store.open()
    try:
        store.catalogue.with_key("ai-muse", "none", None)  # waits until everything was read
        assert ask(store).complete
        assert ask(store) == live
    finally:
        store.close()
    (muse,) = live.agents
    assert (muse.user_messages, muse.assistant_messages, muse.failed_turns) == tuple(
        roles.count(role) for role in ("user", "assistant", "error")
    )
    assert muse.input_tokens == 3 * roles.count("assistant")
