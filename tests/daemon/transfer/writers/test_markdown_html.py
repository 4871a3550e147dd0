"""Markdown as HTML: which links lead somewhere, that nothing takes long, and code: nothing of it is lost."""

from __future__ import annotations

import html
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_daemon.transfer.writers import markdown_html
from port42_daemon.transfer.writers.markdown_html import highlight, render


@pytest.mark.parametrize("link", ["https://a.example/x?y=1&z", "http://a.example", "mailto:ada@a.example"])
def test_a_link_that_leads_somewhere(link):
    assert f'<a href="{link.replace("&", "&amp;")}" rel="noopener noreferrer nofollow">' in render(
        f"[x]({link})"
    )


@pytest.mark.parametrize(
    "link",
    [
        "javascript:x",
        "JAVASCRIPT:x",
        "data:text/html,x",
        "file:///etc/passwd",
        "/etc",
        "#m1",
        "//a.example",
    ],
)
def test_a_link_that_does_not_is_text(link):
    assert "<a" not in render(f"[x]({link})")
    assert "<img" not in render(f"![x]({link})")


@pytest.mark.parametrize("text", ["[" * 4001, "a" * 65_537, "|a" * 40_000])
def test_more_than_the_library_reads_in_reasonable_time_is_plain_text(text):
    assert render(text) == f"<pre>{text}</pre>\n"


PIECES = ["> ", "- ", "[", "*", "`", "![", "<", "|a", "\n    ", "**a", "|\n", "a|\n-|\n", "[a]: b\n"]


@pytest.mark.torture
@pytest.mark.parametrize("piece", PIECES)
def test_hostile_text_takes_linear_time(piece):
    """32 times the text, with all the noise of a machine: quadratic time would be 1,024 times as long."""
    times = []
    for length in (2000, 64_000):
        began = time.process_time()
        render((piece * length)[:length])
        times.append(time.process_time() - began)
    assert times[1] < 32 * 4 * (times[0] + 0.01)


# --- code -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r")), st.sampled_from(["python", "html", "js", "sh"]))  # fmt: skip  # noqa: E501
def test_nothing_is_lost_and_nothing_is_markup(code, language):
    shown = highlight(code, language)
    bare = re.sub(r'<span class="[a-z]">|</span>', "", shown)
    assert "<" not in bare
    assert html.unescape(bare) == html.unescape(html.escape(code))


@pytest.mark.parametrize(("language", "mark"), [("python", "k"), ("PYTHON", "k"), ("py", "k")])
def test_a_keyword_has_its_class(language, mark):
    assert f'<span class="{mark}">def</span>' in highlight("def f(): pass", language)


@pytest.mark.parametrize("language", ["", "brainfuck", "../x", "python; x", "'\"><"])
def test_an_unknown_language_is_plain(language):
    assert highlight("def <f>", language) == "def &lt;f&gt;"


def test_long_code_is_plain():
    assert "<span" not in highlight("def f(): pass\n" * 2000, "python")


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["x = 1\n", "a" * 3000, "\n", "s" * 1000 + "\n", '"""']), max_size=12).map(
        "".join
    )
)
def test_a_lexer_sees_a_window_at_a_time(code):
    lexer, seen = markdown_html._lexer("python"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexer, "get_tokens", lambda text: seen.append(text) or [("", text)])
        assert html.unescape(highlight(code, "python")) == code
    assert all(len(text) <= markdown_html._WINDOW for text in seen)
