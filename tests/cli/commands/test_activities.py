"""What an agent did, from a real ACP agent to the terminal, pipes and exports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from peers.cli_fixtures import COMMAND
from peers.screen import Screen
from peers.talk import Tap

PEERS = Path(__file__).parents[2] / "peers"
REPLY = "Let me look.\n\nFound it: file:///a.py"


@pytest.fixture
def worker(home):
    home.mkdir(mode=0o700)
    command = json.dumps([sys.executable, "-S", "-B", str(PEERS / "acp_worker.py")])
    (home / "config.toml").write_text(
        f'[agents.worker]\nbackend = "acp"\n[backends.acp]\ntype = "acp"\ncommand = {command}\n'
    )


def roles(port42, *options):
    return [
        record["role"]
        for record in port42.json("show", "last", "-a", "worker", "--json", *options)["messages"]
    ]


def test_a_pipe_gets_the_pieces_of_the_reply_only(port42, worker):
    done = port42("possess", "@worker", "go")
    assert done.stdout == f"{REPLY}\n"
    *_, result = map(json.loads, port42("possess", "@worker", "go", "--json").stdout.splitlines())
    assert result["reply"] == REPLY


def test_show_has_it_in_a_line_each_in_full_or_not_at_all(port42, worker):
    port42("possess", "@worker", "go")
    folded = port42("show", "last", "-a", "worker").stdout
    assert "Read a.py (1 line) (done)" in folded
    assert "import this" not in folded
    full = port42("show", "last", "-a", "worker", "--full").stdout
    assert "files:\n/a.py:7\ninput:\nfile_path: /a.py\noutput:\nimport this" in full
    assert "Run it" not in port42("show", "last", "-a", "worker", "--no-tools").stdout
    activities = ["thought", "plan", "assistant", "tool", "tool", "plan", "assistant"]
    assert roles(port42) == ["user", *activities]
    assert roles(port42, "--no-tools") == ["user", "assistant", "assistant"]


def test_a_terminal_shows_it_as_it_comes(terminal, port42, worker):
    screen = Screen(terminal("possess", "@worker", "go"), lines=40)
    lines = [line.rstrip() for line in screen.until("· acp")]
    shown = [line.split(" (")[0] for line in lines if line and not line.startswith(("Session", "since"))]
    assert shown[:3] == ["💭 hm", "☰ 0 of 2 steps done; now: read it", "Let me look."]
    assert sum("Read a.py" in line for line in lines) == 1
    assert sum("Run it" in line for line in lines) == 1
    assert sum("Found it" in line for line in lines) == 1


def test_follow_shows_what_show_shows(process, port42, worker):
    port42("rpc", "create_session", "agent=worker", "session_id=seen")
    follow = process([*COMMAND, "follow", "seen", "--since", "0"], stdout=subprocess.PIPE, text=True)
    port42("possess", "@worker", "-s", "seen", "go")
    shown = port42("show", "seen").stdout
    assert shown.count("tool") >= 2
    assert follow.stdout.read(len(shown)) == shown


@pytest.mark.parametrize("kind", ["markdown", "html"])
def test_exports_fold_it_or_leave_it_out(port42, worker, kind):
    port42("possess", "@worker", "go")
    whole = port42("export", "last", "-a", "worker", "-f", kind).stdout
    assert "Read a.py" in whole
    assert "import this" in whole
    without = port42("export", "last", "-a", "worker", "-f", kind, "--no-tools").stdout
    assert "Read a.py" not in without
    assert "Found it" in without


def test_json_always_has_it(port42, worker):
    port42("possess", "@worker", "go")
    text = port42("export", "last", "-a", "worker").stdout
    assert [line["event"] for line in json.loads(text)["messages"] if line["role"] == "event"].count(
        "tool"
    ) == 2
    refused = port42("export", "last", "-a", "worker", "--no-tools")
    assert refused.returncode == 2
    assert "json loses nothing" in refused.stderr


@pytest.fixture
def tap(home):
    """An agent that streams what the test writes, in Claude Code's form."""
    tap = Tap(home.parent)
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        '[agents.tap]\nbackend = "tap"\n[backends.tap]\ntype = "command"\nparser = "claude"\n'
        f"command = {json.dumps(tap.command)}\n"
    )
    return tap


def streamed(kind, **fields):
    return json.dumps({"type": kind, "parent_tool_use_id": None} | fields) + "\n"


def delta(text):
    return streamed(
        "stream_event", event={"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}
    )


CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "npm \x1b[2J test"}}
CALLED = streamed("assistant", message={"content": [CALL]})
RETURNED = streamed(
    "user", message={"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1 passed"}]}
)
RESULT = streamed("result", subtype="success", is_error=False, stop_reason="end_turn")


def test_who_joins_in_the_middle_sees_each_record_once(terminal, port42, tap):
    port42("rpc", "create_session", "agent=tap", "session_id=seen")
    first = Screen(terminal("possess", "@tap", "-s", "seen", "test it"))
    with tap.open() as say:
        say(delta("Let me ") + delta("look.") + CALLED)
        first.until("npm")
        late = Screen(terminal("follow", "seen", "--since", "0"))
        late.until("Let me look.")
        say(RETURNED + delta("It ") + delta("works."))
        late.until("It works.")
        first.until("It works.")
        say(RESULT)
    first.left(0)
    lines = late.until("· tap")
    for screen in (lines, first.until("It works.")):
        for words in ("Let me look.", "▸ Bash: npm [2J test (done)", "It works."):
            assert sum(words in line for line in screen) == 1, (words, screen)


def test_a_conversation_shows_each_turns_activities(terminal, tap):
    screen = Screen(terminal("possess", "@tap"))
    for question in ("one", "two"):
        screen.until_so(lambda lines: lines and any(line.strip() == "@tap ›" for line in lines))
        screen.send(f"{question}\r")
        with tap.open() as say:
            say(delta(f"Asked {question}.") + CALLED + RETURNED + delta(f"Did {question}.") + RESULT)
        lines = screen.until(f"Did {question}.")
    shown = [line.strip() for line in lines if "Asked" in line or "Did" in line or "npm" in line]
    tool = "▸ Bash: npm [2J test (done)"
    assert [line.split(" ·")[0] for line in shown] == [
        *("Asked one.", tool, "Did one."),
        *("Asked two.", tool, "Did two."),
    ]
