"""A cursor comes back as it was made; what is none is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.rpc import cursors
from port42_protocol.errors import InvalidParams

PARTS = st.lists(st.from_regex(r"[^ ]*", fullmatch=True), min_size=1, max_size=4)


@given(PARTS)
def test_a_cursor_comes_back_as_it_was_made(parts):
    assert cursors.parse(cursors.cursor(*parts), len(parts)) == parts


@pytest.mark.parametrize("bad", ["x", "é", "!!!!", "MTIz", "/w==", "A" * 199])
def test_what_is_no_cursor_is_refused(bad):
    with pytest.raises(InvalidParams) as refused:
        cursors.parse(bad, 2)
    assert refused.value.data["field"] == "cursor"


@pytest.mark.parametrize("parts", [(1,), (1, 2, 3), ("x", 1), (-1, 1), (1, 1 << 63), (1, "1_0"), ("١", 1)])
def test_numbers_are_counted_to_by_sqlite(parts):
    with pytest.raises(InvalidParams):
        cursors.numbers(cursors.cursor(*parts), 2)
    assert cursors.numbers(cursors.cursor(0, (1 << 63) - 1), 2) == [0, (1 << 63) - 1]
