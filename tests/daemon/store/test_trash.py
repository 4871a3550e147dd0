"""The names of files in the trash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.store.trash import NAME, Entry

WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
AGENT = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
AT = "2026-11-23T03:37:11.042Z"


@given(WORD, AGENT)
def test_a_name_is_parsed_to_its_entry(session_id, agent):
    entry = Entry.of(AT, session_id, agent)
    fits = NAME.fullmatch(entry.name)
    assert fits is not None
    assert Entry(fits["at"], fits["id"], fits["agent"]) == entry
    assert entry.trashed_at == AT


def test_a_name():
    name = Entry.of("2026-11-23T03:37:11.042Z", "cli-1757350466684", "ai-muse").name
    assert name == "cli-1757350466684.20261123T033711042Z.ai-muse.json"


@pytest.mark.parametrize(
    "name",
    [
        "cli-1.json",
        "cli-1.20261123T033711042Z.json",
        ".cli-1.20261123T033711042Z.ai-muse.json.new",
        "cli-1.2026T0Z.ai-muse.json",
        "../x.20261123T033711042Z.ai-muse.json",
        "cli-1.20261123T033711042Z.-x.json",
        "cli-1.20261123T033711042Z.ai-muse.json\n",
    ],
)
def test_other_names(name):
    assert NAME.fullmatch(name) is None


def test_entries_are_ordered_by_time():
    later, earlier = (Entry.of(f"2026-11-23T03:37:1{n}.042Z", "cli-1", "a") for n in (2, 1))
    assert sorted([later, earlier]) == [earlier, later]
