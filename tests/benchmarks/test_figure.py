"""The table of the benchmarks: 80 columns wide whatever the figures are, and no number is cut."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figure() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)  # the benchmarks are not installed
        return importlib.import_module("benchmarks.figure")


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=16).map(" ".join)
VALUES = st.floats(0, 99_999)


NONE = st.none()
AIMS = st.sampled_from([0, 1.1, 2.5, 15, 200])


@given(names=st.tuples(WORDS, WORDS), value=VALUES, base=NONE | st.floats(1, 1e6), aim=NONE | AIMS)
def test_every_line_fits_and_every_value_is_whole(figure, names, value, base, aim) -> None:
    what, against = names
    shown = figure.table([figure.Figure("group", what, value, "µs", against, base, aim)])
    assert all(len(line) <= 80 for line in shown.splitlines())
    expected = [f"{value:,.1f} µs"]
    expected += [] if base is None else [f"{base:,.1f} µs", f"{value / base:.2f}"]
    expected += [] if aim is None else [f"≤ {aim:g}"]
    assert all(number in shown for number in expected)
    words = shown.split()
    assert all(word in words for word in what.split())


def test_what_is_compared_with_several_is_shown_once(figure) -> None:
    figures = [
        figure.Figure("durable append", "store, median", 200.0, "µs", peer, base, aim)
        for peer, base, aim in (("raw append", 100.0, 1.4), ("SQLite", 400.0, None))
    ]
    assert figure.table(figures).splitlines() == [
        "measured                                             value    ratio     aim kept",
        "",
        "durable append",
        "  store, median                                   200.0 µs",
        "    against raw append                            100.0 µs     2.00   ≤ 1.4   no",
        "    against SQLite                                400.0 µs     0.50",
    ]
