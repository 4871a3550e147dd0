"""A cursor comes back as it was made; what is none is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon import cursors
from port42_protocol.errors import InvalidParams


@given(st.datetimes(), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True))
def test_a_cursor_comes_back_as_it_was_made(when, session_id):
    at = when.isoformat(timespec="milliseconds") + "Z"
    assert cursors.parse(cursors.cursor(at, session_id)) == (at, session_id)


@pytest.mark.parametrize("bad", ["x", "é", "!!!!", "MTIz", "/w==", "A" * 199])
def test_what_is_no_cursor_is_refused(bad):
    with pytest.raises(InvalidParams) as refused:
        cursors.parse(bad)
    assert refused.value.data["field"] == "cursor"
