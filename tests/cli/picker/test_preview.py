"""The picker's preview: as many lines and columns as there are, replies without their markup."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from peers.drawing import controls
from prompt_toolkit.formatted_text import fragment_list_to_text as text
from prompt_toolkit.utils import get_cwidth

from port42_cli.picker.matching import Fit
from port42_cli.picker.preview import preview
from port42_protocol.messages.records import MESSAGES, Summary, ToolRecord
from port42_protocol.messages.search import Hit, Mark

TIME = "2026-11-23T03:00:00.000Z"


def fit(hit=None):
    return Fit((0, 0), Summary("cli-1", "ai-engineer", "a parser", "active", TIME, TIME, 12, None), hit)


def message(role, content, author=UNSET):
    return MESSAGES[role](seq=1, content=content, timestamp="2026-11-23T03:00:00Z", author=author)


def test_a_preview_is_the_end_of_the_session():
    messages = [message("user", f"line {number}") for number in range(9)]
    drawn = text(preview(fit(), messages, 40, 3)).splitlines()
    assert drawn == ["user: line 6", "user: line 7", "user: line 8"]


def test_a_tool_call_is_a_line_of_the_preview():
    call = ToolRecord(
        seq=2,
        timestamp="2026-11-23T03:00:00Z",
        id="1",
        name="Bash",
        title="npm\x1b[2J test " * 9,
        state="done",
    )
    lines = text(preview(fit(), [message("user", "test it"), call], 40, 3)).splitlines()
    assert lines[0] == "user: test it"
    assert lines[1].startswith("▸ Bash: npm␛[2J test")
    assert get_cwidth(lines[1]) == 40


def test_the_snippet_of_a_hit_is_above_the_preview_and_what_was_searched_for_stands_out():
    messages = [message("assistant", "one\n\ntwo")]
    hit = Hit(fit().session, 1, "assistant", TIME, "**what** fits", (Mark(2, 6),))
    fragments = preview(fit(hit), messages, 40, 2)
    drawn = text(fragments).splitlines()
    assert [line.rstrip() for line in drawn] == ["what fits", "           two"]
    assert {part for style, part, *_ in fragments if "yellow" in style} == set("what")


def test_a_reply_is_drawn_as_markdown_and_a_question_is_not():
    messages = [message("user", "**why**"), message("assistant", "# Because\n\nit is **so**:\n\n- `a`\n- b")]
    fragments = preview(fit(), messages, 40, 9)
    assert [line.strip() for line in text(fragments).splitlines()] == [
        "user: **why**",
        f"assistant: {'Because':^29}".strip(),
        "it is so:",
        "• a",
        "• b",
    ]
    assert {part for style, part, *_ in fragments if "bold" in style} >= set("so")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant"]),
            st.text(max_size=200),
            st.just(UNSET) | st.text(max_size=63),
        ),
        max_size=5,
    ),
    st.integers(20, 120),
    st.integers(1, 12),
)
def test_a_preview_keeps_its_lines_and_columns(said, columns, lines):
    drawn = text(preview(fit(), [message(*words) for words in said], columns, lines)).split("\n")
    assert len(drawn) <= lines
    assert all(get_cwidth(line) <= columns for line in drawn)
    assert controls("".join(drawn)) == []
