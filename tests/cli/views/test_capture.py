"""What is captured, as a terminal of 80 columns and a script get it."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace
from peers.drawing import drawn_lines, piped

from port42_cli.views import capture as subject
from port42_protocol.messages.capture import CapturedTool, Restored

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CLAUDE = CapturedTool(
    name="claude",
    on=True,
    agent="claude",
    path="/home/me/.claude/projects",
    folders={"/home/me/work": "ai-engineer"},
    available=True,
    sources=312,
    sessions=298,
    source_bytes=300 * 1024 * 1024,
    original_bytes=30 * 1024 * 1024,
    waiting=0,
    last_read="2026-11-23T11:57:00.000Z",
    problem=None,
    scanned=True,
)
CODEX = replace(
    CLAUDE, name="codex", on=False, agent="codex", path="/home/me/.codex/sessions", folders={}, last_read=None
)
LLM = replace(CODEX, name="llm", agent="llm", available=False, sources=0, sessions=0)


def test_a_terminal_gets_the_tools_that_are_here_and_what_to_type(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    lines = drawn_lines(subject.tools([CLAUDE, CODEX, LLM], NOW))
    assert lines[0].split() == ["TOOL", "STATE", "AGENT", "SESSIONS", "SIZE", "LAST", "READ", "FOLDER"]
    assert lines[1].split()[:9] == ["claude", "on", "@claude", "298", "300.0", "MiB", "3", "min", "ago"]
    assert lines[1].endswith("~/.claude/projects")
    assert lines[2].split()[:3] == ["codex", "off", "@codex"]
    assert lines[3:] == [
        "claude: sessions in /home/me/work are those of @ai-engineer",
        "Not found here: llm",
        "To capture what is off: port42 capture on",
    ]


def test_what_is_still_to_be_read_and_what_is_wrong_stand_there():
    tool = replace(CLAUDE, waiting=1200, problem="3 files cannot be read", folders={})
    lines = drawn_lines(subject.tools([tool], NOW))
    assert "on, 1,200 files to read" in lines[1]
    assert lines[2] == "claude: 3 files cannot be read"


def test_what_is_not_known_yet_is_not_given_as_nothing():
    begun = replace(CLAUDE, scanned=False, sources=0, source_bytes=0, folders={})
    off = replace(begun, on=False)
    lines = drawn_lines(subject.tools([begun, off], NOW))
    assert ["on, looking for files" in lines[1], "0 B" in lines[1], "0 B" in lines[2]] == [True, False, False]


def test_a_script_gets_a_line_for_each_tool():
    assert piped(subject.tools([CLAUDE, LLM], NOW)) == [
        "claude\ton\tclaude\t/home/me/.claude/projects\t312\t298\t314572800\t31457280\t0"
        "\t2026-11-23T11:57:00.000Z\t",
        "llm\toff\tllm\t/home/me/.codex/sessions\t0\t0\t314572800\t31457280\t0\t\t",
    ]


def test_a_restored_file_comes_with_the_tools_own_command():
    file = Restored("claude-1", "/home/me/.claude/projects/x/1.jsonl", 2048, ("claude", "--resume", "a b"))
    assert piped(subject.restored(file, "/home/me/x")) == [
        "file: /home/me/.claude/projects/x/1.jsonl",
        "bytes: 2048",
        "resume: claude --resume 'a b'",
        "folder: /home/me/x",
    ]
    assert piped(subject.restored(replace(file, resume=None), "/x")) == [
        "file: /home/me/.claude/projects/x/1.jsonl",
        "bytes: 2048",
    ]
