"""Lists: no combination of filters makes SQLite read every session, or sort."""

from __future__ import annotations

import itertools

import pytest

from port42_daemon.store.index.schema import Database
from port42_daemon.store.index.sessions import page_query
from port42_daemon.store.interface import SessionFilter

FILTERS = {"agent": "a", "cwd": "/b", "state": "ended", "tag": "t", "pinned": True, "parent": "p"}
MIXES = [dict(mix) for count in range(7) for mix in itertools.combinations(FILTERS.items(), count)]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("index") / "index.db")
    database.open()
    yield database.reading
    database.close()


@pytest.mark.parametrize("before", [None, ("2026", "cli-1")], ids=["first", "later"])
@pytest.mark.parametrize("wanted", [*MIXES, {"pinned": False}], ids="+".join)
def test_a_page_walks_one_index_in_its_order(database, wanted, before):
    query, values = page_query(SessionFilter(**wanted), before)
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", {**values, "limit": 50})]
    assert not [step for step in plan if "TEMP B-TREE" in step]
    # Without a filter the whole of an index is "scanned": in its order, and no further than the limit.
    scans = [step for step in plan if step.startswith("SCAN")]
    assert all("USING INDEX by_use" in step or "USING INDEX by_pin" in step for step in scans), plan
    assert len(scans) <= (before is None)
