"""Any text that stands for a time has a number of milliseconds and a valid time."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from port42_protocol.times import milliseconds, valid_time

OFFSETS = st.sampled_from(["", "Z", "+14:00", "-23:59"])
TIMES = st.builds(lambda when, offset: when.isoformat() + offset, st.datetimes(), OFFSETS)


@given(st.text(max_size=40) | TIMES)
@example("9999-12-31T23:59:59-23:59")
@example("0001-01-01T00:00:00+14:00")
def test_any_text_has_a_valid_time(text):
    time = valid_time(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time)
    assert valid_time(time) == time
    assert milliseconds(time) == milliseconds(text)
