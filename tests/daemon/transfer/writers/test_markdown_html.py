"""Markdown as HTML: what is laid out, which links lead somewhere, and that deep nesting ends."""

from __future__ import annotations

import time

import pytest

from port42_daemon.transfer.writers.markdown_html import render


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


@pytest.mark.parametrize("piece", ["> ", "- ", "[", "*", "`", "![", "<", "|a", "\n    ", "**a"])
def test_what_is_made_to_take_long_does_not(piece):
    began = time.process_time()
    assert render(piece * (100_000 // len(piece)) + "x")
    assert time.process_time() - began < 10
