"""Code's colours: every character is kept and escaped, and only known languages are looked at."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_daemon.transfer.writers.highlight import coloured


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r")), st.sampled_from(["python", "html", "js", "sh"]))  # fmt: skip  # noqa: E501
def test_nothing_is_lost_and_nothing_is_markup(code, language):
    shown = coloured(code, language)
    bare = re.sub(r'<span class="[a-z]">|</span>', "", shown)
    assert "<" not in bare
    assert html.unescape(bare) == html.unescape(html.escape(code))


@pytest.mark.parametrize(("language", "mark"), [("python", "k"), ("PYTHON", "k"), ("py", "k")])
def test_a_keyword_has_its_class(language, mark):
    assert f'<span class="{mark}">def</span>' in coloured("def f(): pass", language)


@pytest.mark.parametrize("language", ["", "brainfuck", "../x", "python; x", "'\"><"])
def test_an_unknown_language_is_plain(language):
    assert coloured("def <f>", language) == "def &lt;f&gt;"


def test_long_code_is_plain():
    assert "<span" not in coloured("def f(): pass\n" * 2000, "python")
