"""Every regular expression of the transfer takes a bounded number of steps for each character."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.regex_steps import Matcher

from port42_daemon.transfer.readers import base, claude, codex, files, json_document, original, values
from port42_daemon.transfer.writers import markdown

MODULES = (base, claude, codex, files, json_document, original, values, markdown)
PATTERNS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": pattern
    for module in MODULES
    for name, pattern in vars(module).items()
    if isinstance(pattern, re.Pattern)
}
SEARCHED = {
    "values.LONE_SURROGATE",
    "json_document._IN_ITEM",
    "json_document._IN_STRING",
    "json_document._OUTSIDE",
    "markdown._MARKUP",
    "markdown._RUN",
}
"""Those that look through a whole text. Others are tried at one place, or within 64 characters."""
PIECES = (
    *("<system-reminder>", "</system-reminder>", "<ide_a ", "<image", "</image>", "<environment_context>"),
    *("[Request interrupted by user", "Unknown skill: ", "Implement the following plan:", "# ", "<", ">"),
    *("```", "~~~", " ", "\n", '"', '\\"', "\\", "\\ud83d", "[", "{", "},{", ",", "a", "C:\\", "/"),
    *('"messages":', '"messages" : ['),
)


def steps(pattern, name, text):
    plain = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    matcher = Matcher(re.compile(plain, pattern.flags & re.DOTALL | pattern.flags & re.MULTILINE))
    if name in SEARCHED:
        matcher.findall(text)
    else:
        matcher.match(text)
    return matcher.steps


@pytest.mark.parametrize(("name", "pattern"), PATTERNS.items(), ids=PATTERNS)
@settings(max_examples=30)
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
def test_a_pattern_takes_linear_time(name, pattern, pieces):
    text = ("".join(pieces) * 1500)[:1500]
    assert steps(pattern, name, text) <= 12 * len(text)


def test_there_are_patterns_and_all_that_search_are_known():
    assert len(PATTERNS) > 10
    assert set(PATTERNS) >= SEARCHED
