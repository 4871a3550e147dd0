"""A reply on a terminal of a known size: no text is lost or shown twice."""

from __future__ import annotations

import io
import re
import signal
import threading
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group

from port42_cli.conversation import live as subject
from port42_cli.conversation import live_text
from port42_cli.conversation.live import LiveReply
from port42_cli.conversation.live_sessions import LiveSessions
from port42_cli.conversation.show import BareReply
from port42_cli.views.markdown import blocks
from port42_protocol.activity import join_texts

HEIGHT = 12


class Screen:
    """Reads what was written, with the few controls that are used, and keeps what scrolled out of it."""

    def __init__(self, text, height=HEIGHT):
        self.height = height
        self.lines = [""]
        self.row = self.highest = 0
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r\n|\n|\r|[^\x1b\r\n]+", text):
            self._take(piece)

    def _take(self, piece):
        if piece in {"\n", "\r\n"}:
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
            self.highest = max(self.highest, self.row - self.height + 1)
        elif piece.endswith("A") and piece.startswith("\x1b"):
            self.row -= int(piece[2:-1])
            assert self.row >= self.highest, "what has left the screen cannot be erased"
        elif piece.endswith("K"):
            self.lines[self.row] = ""
        elif not piece.startswith("\x1b") and piece != "\r":
            self.lines[self.row] += piece

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).strip("\n")


@pytest.fixture
def reply(monkeypatch):
    """A `LiveReply` whose every piece is drawn, on a terminal of 12 lines."""
    page = io.StringIO()
    console = Console(
        file=page, width=60, height=HEIGHT, force_terminal=True, color_system=None, highlight=False
    )
    monkeypatch.setattr(live_text, "console", lambda: console)
    monkeypatch.setattr(subject, "EVERY", 0.0)
    monkeypatch.setattr(subject, "_PAUSE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    reply = LiveReply()
    reply.page = page
    return reply


def text(piece):
    return {"kind": "text", "text": piece}


def tool(state, title="read notes", tool_id="1"):
    return {"kind": "tool", "tool_id": tool_id, "text": title, "state": state}


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "document",
    [
        "\n\n".join(f"paragraph {number}" for number in range(40)),
        "```\n" + "".join(f"line {number}\n" for number in range(60)) + "```\n\nafter",
        "\n".join(f"- item {number}" for number in range(50)),
        "\n".join(f"{number}. item" for number in range(1, 40)),
        "| n |\n|---|\n" + "\n".join(f"| row {number} |" for number in range(40)),
        "word " * 600,
    ],
    ids=["paragraphs", "fence", "list", "numbers", "table", "paragraph"],
)
def test_the_whole_reply_is_on_the_screen_whatever_the_pieces(reply, document, size):
    for start in range(0, len(document), size):
        reply.on_event(text(document[start : start + size]))
    reply.end({"reply": document, "turn": None})
    reply.close()
    alone = io.StringIO()
    Console(file=alone, width=60, highlight=False).print(Group(*blocks(document)))
    words = re.findall(r"[\w.]+", Screen(reply.page.getvalue()).text)
    assert words == re.findall(r"[\w.]+", alone.getvalue())


def test_thoughts_and_tools_are_folded_to_a_line_each(reply):
    for piece in ("Let me see.\n", "Where was it? " * 20):
        reply.on_event({"kind": "thought", "text": piece})
    reply.on_event(tool("running"))
    reply.on_event(tool("done"))
    reply.on_event(tool("running", "write notes", "2"))
    reply.on_event(tool("failed", "", "2"))
    reply.on_event(tool("running", "never ends", "3"))
    reply.on_event(text("The *reply*."))
    reply.close()
    lines = Screen(reply.page.getvalue()).text.splitlines()
    assert lines[0].startswith("💭 Let me see. Where was it?")
    assert len(lines[0]) <= 60
    assert lines[1:3] == ["✓ read notes", "✗ write notes"]
    assert [line for line in lines[3:] if line] == ["The reply.", "… never ends"]


def test_a_spinner_moves_until_the_first_text(reply):
    reply.on_tick()
    reply.on_tick()
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] 0 s", reply.page.getvalue())
    reply.on_event(text("here"))
    reply.close()
    assert Screen(reply.page.getvalue()).text == "here"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, "waiting for @ai-engineer (claude) · 0 s · Ctrl-C stops"),
        (50, "waiting for @ai-engineer · 0 s · Ctrl-C stops"),
        (40, "@ai-engineer · 0 s · Ctrl-C stops"),
        (30, "0 s · Ctrl-C stops"),
    ],
)
def test_who_is_waited_for_and_how_to_stop_it_is_shown_as_far_as_it_fits(reply, width, shown):
    reply._live._console.width = width
    reply.on_event({"kind": "started", "agent": "ai-engineer", "backend": "claude"})
    reply.on_event(tool("running"))
    below = Screen(reply.page.getvalue()).text.splitlines()
    assert [line[2:] for line in below[-2:]] == ["read notes", shown]


def test_text_written_after_clear_is_above_what_is_drawn_again(reply):
    reply.on_event(text("first\n\nsecond"))
    reply.clear()
    reply.page.write("a notice\n")
    reply.on_event(text(" half"))
    reply.close()
    assert Screen(reply.page.getvalue()).text.split() == ["first", "a", "notice", "second", "half"]


def test_text_that_came_in_no_event_is_shown_with_the_result(reply, capsys):
    reply.on_event(text("one "))
    reply.end({"reply": "one two", "turn": {"total_ms": 1500, "backend": "x", "model": None}})
    reply.close()
    assert Screen(reply.page.getvalue()).text == "one two"
    assert "1.5 s · x" in capsys.readouterr().err


def test_tools_and_thoughts_have_no_control_characters_and_are_no_markup(reply):
    reply.on_event(tool("done", "\x1b[2J[red]x[/red]"))
    reply.on_event({"kind": "thought", "text": "\x1b[2J[red]y[/red]"})
    reply.close()
    assert "\x1b[2J" not in reply.page.getvalue()
    assert "␛[2J[red]x[/red]" in reply.page.getvalue()
    assert "␛[2J[red]y[/red]" in reply.page.getvalue()


@pytest.mark.parametrize("moment", ["on_event", "close"])
def test_a_signal_in_the_middle_of_a_drawing_comes_after_it(reply, monkeypatch, moment):
    reply.on_event(text("first\n\nsecond"))

    def interrupted(piece):
        io.StringIO.write(reply.page, piece)
        # Not os.kill: of the threads of a test runner any could get it.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    def draw():
        if moment == "on_event":
            reply.on_event(text(" half"))
        reply.close()

    with monkeypatch.context() as patch:
        patch.setattr(reply.page, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            draw()
    reply.close()
    assert Screen(reply.page.getvalue()).text == f"first\n\nsecond{' half' * (moment == 'on_event')}"


def record(role, **fields):
    facts = {"seq": 2, "role": role, "timestamp": "2026-11-23T11:00:00.000Z", "question": 1} | fields
    return {"kind": "message", "session_id": "s", "agent": "a", "message": facts}


TOOL = {"id": "1", "title": "read notes", "name": "Read", "state": "done", "duration_ms": 300}
TURN = [
    text("Let me "),
    text("look."),
    record("assistant", content="Let me look."),
    tool("running"),
    tool("done"),
    record("tool", **TOOL),
    {"kind": "thought", "text": "Hm."},
    record("thought", content="Hm."),
    record("plan", entries=[{"content": "write", "state": "in_progress"}]),
    text("\n"),
    text("Done."),
    record("assistant", content="\nDone.", status="complete"),
]
SHOWN = [
    *("Let me look.", "", "▸ read notes (done) · 0.3 s", "💭 Hm.", "☰ 0 of 1 steps done; now: write"),
    *("", "Done."),
]


def test_a_turn_is_shown_in_its_order_and_nothing_twice(reply):
    for event in TURN:
        reply.on_event(event)
    reply.end({"session_id": "s", "reply_seq": 2, "reply": "Let me look.\n\n\nDone.", "turn": None})
    reply.close()
    assert Screen(reply.page.getvalue()).text.splitlines() == SHOWN


def test_in_full_all_of_an_activity_is_shown(reply):
    full = LiveReply(detail="full")
    tool_record = record("tool", **TOOL, output="1 passed")
    for event in ({"kind": "thought", "text": "Hm. "}, {"kind": "thought", "text": "Why?"}):
        full.on_event(event)
    for event in (record("thought", content="Hm. Why?"), tool("running"), tool("done"), tool_record):
        full.on_event(event)
    full.close()
    lines = [line.strip() for line in Screen(reply.page.getvalue()).text.splitlines()]
    assert [line for line in lines if line] == [
        *("💭 Hm. Why?", "thought", "Hm. Why?", "▸ read notes (done) · 0.3 s", "output", "1 passed"),
    ]


def test_hidden_activities_are_not_shown(reply):
    hidden = LiveReply(detail="hidden")
    for event in TURN:
        hidden.on_event(event)
    hidden.close()
    lines = Screen(reply.page.getvalue()).text.splitlines()
    assert [line for line in lines if line] == ["Let me look.", "Done."]


def test_a_tool_call_without_a_record_is_shown_from_its_events(reply):
    for event in (tool("running"), tool("done"), text("Done."), record("tool", **TOOL)):
        reply.on_event(event)
    reply.close()
    lines = Screen(reply.page.getvalue()).text.splitlines()
    assert [line for line in lines if line] == ["✓ read notes", "Done."]


def test_a_reply_without_events_is_shown_from_its_result(reply):
    reply.on_event(text("Let me"))
    reply.on_event(record("assistant", content="Let me look."))
    reply.on_event(tool("running"))
    reply.end({"session_id": "s", "reply_seq": 5, "reply": "Let me look.\n\nDone.", "turn": None})
    reply.close()
    lines = Screen(reply.page.getvalue()).text.splitlines()
    assert [line for line in lines if line] == ["Let me look.", "Done.", "… read notes"]


def turn(parts):
    """The events of a turn as the daemon sends them: each with the records that are complete before it."""
    events, seq, said, thought = [], 1, "", ""

    def end(*, of_text):
        nonlocal seq, said, thought
        if thought:
            seq += 1
            events.append(record("thought", seq=seq, content=thought))
            thought = ""
        if of_text and said:
            seq += 1
            events.append(record("assistant", seq=seq, content=said))
            said = ""

    for number, part in enumerate(parts):
        words = f"{part}{number}"
        if part == "text":
            end(of_text=False)
            events.append(text(f"{words} "))
            said += f"{words} "
        elif part == "thought":
            end(of_text=not thought)
            events.append({"kind": "thought", "text": f"{words} "})
            thought += f"{words} "
        else:
            end(of_text=True)
            seq += 1
            if part == "tool":
                events += [tool("running", words, words), tool("done", words, words)]
                events.append(record("tool", seq=seq, id=words, title=words, state="done"))
            else:
                events.append(record("plan", seq=seq, entries=[{"content": words, "state": "in_progress"}]))
    end(of_text=False)
    events.append(record("assistant", seq=seq + 1, content=said, status="complete"))
    for event in events:
        event |= {"session_id": "s", "agent": "a"}
    return events


@pytest.mark.parametrize("sessions", [False, True])
@given(
    parts=st.lists(st.sampled_from(["text", "thought", "tool", "plan"]), min_size=1, max_size=12),
    joined=st.integers(0, 30),
)
def test_each_part_of_a_turn_is_shown_once_and_in_its_order(sessions, parts, joined):
    """Who joins late gets the records before that, then the text that is in none of them."""
    page = io.StringIO()
    console = Console(file=page, width=100, height=50, force_terminal=True, color_system=None)
    drawn_at_once = mock.patch.multiple(subject, EVERY=0.0, _PAUSE=0.0)
    with mock.patch.object(live_text, "console", return_value=console), drawn_at_once:
        show = LiveSessions() if sessions else LiveReply()
        events = turn(parts)
        if sessions:
            before, after = events[:joined], events[joined:]
            last = max((n for n, event in enumerate(before, 1) if event["kind"] == "message"), default=0)
            events = [event for event in before if event["kind"] == "message"]
            events += [event for event in before[last:] if event["kind"] in {"text", "thought"}]
            events += after
        for event in events:
            show.on_event(event)
        show.close()
    shown = re.findall(r"(?:text|thought|tool|plan)\d+", Screen(page.getvalue(), 50).text)
    assert shown == [f"{part}{number}" for number, part in enumerate(parts)]


@given(st.data())
def test_a_pipe_gets_the_reply_that_the_result_has(data):
    """The daemon records what is not white space alone when an activity begins; the rest begins the next."""
    texts = st.lists(st.sampled_from(["a", " ", "\n", "b c", "d\n"]), max_size=4)
    pieces, held = [], ""
    page = io.StringIO()
    with mock.patch("sys.stdout", page):
        show = BareReply()
        for piece in data.draw(st.lists(texts, max_size=4)):
            for part in piece:
                show.on_event(text(part))
            held += "".join(piece)
            if held.strip():
                show.on_event(record("assistant", content=held))
                pieces, held = [*pieces, held], ""
            show.on_event(tool("running"))
        reply = join_texts([*pieces, held])
        show.end({"session_id": "s", "reply_seq": 9, "reply": reply, "turn": None})
        show.close()
    assert page.getvalue() == reply + "\n" * (reply != "" and not reply.endswith("\n"))
