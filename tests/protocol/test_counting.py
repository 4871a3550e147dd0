"""Numbers of things, and that nobody writes a plural of one by himself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from port42_protocol.counting import count

SOURCES = Path(__file__).parents[2]
THINGS = "agents|sessions|messages|files|records|turns|sources|lines|calls|forks|characters|servers"
BY_HAND = re.compile(rf"(\{{[^{{}}']*[a-z)\]](:,)?\}}|%d) (more |other |earlier )?({THINGS})\b")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1234, "1,234 files")]
)
def test_one_is_no_plural(number, text):
    assert count(number, "file") == text


def test_texts_have_their_numbers_from_count():
    by_hand = [
        f"{path.relative_to(SOURCES)}: {line.strip()}"
        for folder in ("daemon", "cli", "protocol")
        for path in sorted((SOURCES / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if BY_HAND.search(line) and "raise " not in line  # limits are never one
    ]
    assert by_hand == []
