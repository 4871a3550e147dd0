"""`port42 capture`: what is asked, sent and shown; the daemon is a script that keeps what is on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from peers.cli_fixtures import COMMAND

CLAUDE = {
    "name": "claude",
    "on": False,
    "agent": "claude",
    "path": "/home/me/.claude/projects",
    "folders": {},
    "available": True,
    "sources": 312,
    "sessions": 0,
    "source_bytes": 2048,
    "original_bytes": 0,
    "waiting": 0,
    "last_read": None,
    "problem": None,
    "scanned": False,
}
CODEX = {**CLAUDE, "name": "codex", "agent": "codex", "path": "/home/me/.codex/sessions"}
LLM = {**CLAUDE, "name": "llm", "agent": "llm", "available": False}


@pytest.fixture
def daemon_with(peer, port42):
    """Starts a scripted daemon that has these tools, and gives a function that runs `port42 capture`."""

    def start(*tools):
        tools = [dict(tool) for tool in tools]

        def script(talk):
            while request := talk.request():
                params = request.get("params", {})
                if request["method"] == "set_capture":
                    for tool in tools:
                        if tool["name"] == params["name"]:
                            tool["on"] = params["on"]
                            tool["agent"] = params.get("agent", tool["agent"]).removeprefix("@")
                talk.answer(request, {"tools": tools, "watching": "inotify", "problem": None})

        fake = peer(*[script] * 6)
        fake.changes = lambda: [
            request["params"] for request in fake.requests if request["method"] == "set_capture"
        ]
        return fake

    return start


@pytest.fixture
def capture(port42):
    return lambda fake, *words, **options: port42("--socket", fake.path, "capture", *words, **options)


def test_a_tool_is_named_with_its_agent_and_folder(daemon_with, capture, tmp_path):
    fake = daemon_with(CLAUDE)
    done = capture(fake, "on", "claude", "--agent", "@ai-engineer", "--path", "kept", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "claude is captured for @ai-engineer: /home/me/.claude/projects",
        f"`port42 --socket {fake.path} capture` shows how far it is.",
    ]
    expected = {"name": "claude", "on": True, "agent": "@ai-engineer", "path": str(tmp_path / "kept")}
    assert fake.changes() == [expected]


def test_off_says_that_the_sessions_stay(daemon_with, capture):
    fake = daemon_with({**CLAUDE, "on": True}, CODEX)
    done = capture(fake, "off", "claude")
    assert (done.returncode, done.stderr) == (0, "claude is no longer captured; its sessions here stay.\n")
    assert fake.changes() == [{"name": "claude", "on": False}]
    done = capture(fake, "off", "codex")
    assert (done.returncode, done.stderr) == (0, "codex is not captured; nothing was changed.\n")
    assert len(fake.changes()) == 1


def test_without_a_name_each_that_is_here_is_asked_for(daemon_with, terminal):
    fake = daemon_with(CLAUDE, CODEX, LLM)
    screen = terminal("capture", "on", TERM="dumb", PORT42_SOCKET=fake.path)
    screen.expect_exact("claude: /home/me/.claude/projects (312 files, 2.0 KiB)")
    screen.expect_exact("Capture claude for @claude?")
    screen.send("n\r")
    screen.expect_exact("Capture codex for @codex?")
    screen.send("y\r")
    screen.expect_exact("codex is captured for @codex")
    screen.wait()
    assert screen.exitstatus == 0
    assert fake.changes() == [{"name": "codex", "on": True}]


@pytest.mark.parametrize(("answer", "names"), [("all", ["claude", "codex"]), ("none", []), ("", [])])
def test_one_answer_may_be_for_all(daemon_with, terminal, answer, names):
    fake = daemon_with(CLAUDE, CODEX, LLM)
    screen = terminal("capture", "on", TERM="dumb", PORT42_SOCKET=fake.path)
    screen.expect_exact("Capture claude for @claude?")
    screen.send(f"{answer}\r")
    if not answer:
        screen.expect_exact("Capture codex for @codex?")
        screen.send("\r")
    screen.expect_exact("`port42 capture`" if names else "Nothing was changed.")
    screen.wait()
    assert [change["name"] for change in fake.changes()] == names


def test_without_a_terminal_nothing_is_asked_and_it_says_what_to_type(daemon_with, capture):
    fake = daemon_with(CLAUDE, CODEX, LLM)
    done = capture(fake, "on")
    assert (done.returncode, done.stdout, fake.changes()) == (2, "", [])
    assert "expected NAME (claude, codex), or -y for all that are here" in done.stderr
    assert capture(fake, "on", "-y").returncode == 0
    assert [change["name"] for change in fake.changes()] == ["claude", "codex"]


def test_where_no_tool_is_found_that_is_an_error_and_where_all_are_on_it_is_not(daemon_with, capture):
    done = capture(daemon_with(LLM), "on", "-y")
    assert (done.returncode, done.stdout) == (1, "")
    assert "none of these was found here: llm" in done.stderr
    done = capture(daemon_with({**CLAUDE, "on": True}, LLM), "on", "-y")
    assert (done.returncode, done.stderr) == (0, "No other tool was found here; captured: claude\n")


@pytest.mark.parametrize("words", [["--agent", "@a"], ["--path", "/x"]])
def test_an_agent_or_folder_belongs_to_a_name(daemon_with, capture, words):
    done = capture(daemon_with(CLAUDE), "on", *words)
    assert done.returncode == 2
    assert "--agent, --path: expected NAME" in done.stderr


def test_files_are_counted_to_be_asked_about_and_not_for_the_state(daemon_with, capture):
    fake = daemon_with(CLAUDE)
    for words in (["status"], ["on", "claude"], ["on", "-y"]):
        capture(fake, *words)
    asked = [request.get("params") for request in fake.requests if request["method"] == "get_capture"]
    assert asked == [None, None, {"count": True}]


def test_the_state_of_all_and_of_one(daemon_with, capture):
    fake = daemon_with(CLAUDE, LLM)
    for words in ([], ["status"]):
        rows = [line.split("\t") for line in capture(fake, *words).stdout.splitlines()]
        assert [row[:3] for row in rows] == [["claude", "off", "claude"], ["llm", "off", "llm"]]
    assert capture(fake, "status", "llm").stdout.startswith("llm\toff\t")
    (tool,) = json.loads(capture(fake, "status", "claude", "--json").stdout)["tools"]
    assert tool == CLAUDE
    done = capture(fake, "status", "cladue")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: unknown tool cladue: expected one of claude, llm\n"


def test_a_config_that_is_wrong_since_the_start_is_why_nothing_is_captured(port42, claude, home):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text("[capture.claude]\non = 1\n")
    done = port42("capture")
    assert "claude\toff\t" in done.stdout
    assert done.stderr.startswith("nothing is captured until config.toml is correct: config.toml: line 2: ")
    (home / "config.toml").write_text("[capture.claude]\non = true\n")
    captured(port42, 2)
    (home / "config.toml").write_text("[capture.claude]\non = 1\n")
    done = port42("capture")
    assert ("claude\ton\t" in done.stdout, "nothing is captured" in done.stderr) == (True, False)


SHARED = Path(__file__).parents[2] / "data" / "tools" / "claude-2.1.332" / "subagent" / "projects"


@pytest.fixture
def claude(home, port42, monkeypatch):
    """Sessions that Claude Code wrote, in the home folder of a person who never captured anything."""
    monkeypatch.setenv("HOME", str(home.parent))
    projects = home.parent / ".claude" / "projects"
    shutil.copytree(SHARED, projects)
    return projects


def captured(port42, number):
    """Waits until so many sessions are captured; gives those that are no sub-agent's."""
    while True:
        (tool,) = port42.json("capture", "status", "claude", "--json")["tools"]
        if tool["sessions"] >= number and not tool["waiting"]:
            return port42.json("sessions", "@claude", "--json")["sessions"]


def test_a_real_session_is_found_here_shown_and_given_back_to_its_tool(port42, claude):
    assert port42("sessions").stdout == ""
    assert port42("capture", "on", "claude").returncode == 0
    (session,) = captured(port42, 2)
    session_id = session["session_id"]
    assert "The sub-agent counted" in port42("show", session_id).stdout
    (sub_agent,) = port42.json("sessions", "--parent", session_id, "--json")["sessions"]
    assert sub_agent["parent"]["session_id"] == session_id
    assert session_id in port42("search", "sacks").stdout

    again = port42("capture", "restore", session_id)
    assert (again.returncode, again.stderr) == (1, "Error: its file is there already; --force replaces it\n")
    kept = {path: path.read_bytes() for path in claude.rglob("*.jsonl")}
    shutil.rmtree(claude)
    facts = dict(line.split(": ", 1) for line in port42("capture", "restore", session_id).stdout.splitlines())
    assert Path(facts["file"]).read_bytes() == kept[Path(facts["file"])]
    assert facts["resume"] == f"claude --resume {Path(facts['file']).stem}"
    assert facts["folder"] == session["cwd"]
    done = port42("capture", "restore", port42.begin("@ai-muse", "not captured"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: expected a captured session whose original is kept\n"


def test_the_originals_of_what_was_pruned_go_when_the_tool_has_deleted_its_files(port42, claude):
    port42("capture", "on", "claude")
    (session,) = captured(port42, 2)
    port42("rm", session["session_id"], "-y")
    gone = port42.json("prune", "--trash-older-than", "0d", "-y", "--json")
    assert (len(gone["deleted"]), gone["original_bytes"]) == (2, 0)
    shutil.rmtree(claude)
    shown = port42("prune", "--trash-older-than", "0d", "--dry-run").stdout
    assert shown.startswith("of sessions that were deleted for good earlier: the originals that capture kept")
    assert port42.json("prune", "--trash-older-than", "0d", "-y", "--json")["original_bytes"] > 0
    assert port42("prune", "--trash-older-than", "0d", "-y").stderr == "There is nothing to prune.\n"


def test_a_session_that_damage_took_comes_back_from_what_was_kept_of_it(port42, claude, home):
    port42("capture", "on", "claude")
    (session,) = captured(port42, 2)
    session_id = session["session_id"]
    shutil.rmtree(claude)
    (home / "sessions" / f"{session_id}.json").write_text("x")
    assert "cannot be read" in port42("show", session_id).stderr
    restored = port42.json("capture", "restore", session_id, "--json")
    assert port42("doctor", "--fix").returncode == 0
    assert port42("capture", "restore", session_id, "--force").returncode == 0
    assert "1 new" in port42("import", restored["path"], "@claude").stdout
    assert "The sub-agent counted" in port42("show", session_id).stdout
    for nothing in ("nosuch", "a title of none"):
        assert f"session {nothing} not found" in port42("capture", "restore", nothing).stderr
    refused = port42("capture", "restore", "claude-gone", "-a", "@claude")
    assert "session claude-gone not found" in refused.stderr


def test_what_the_tool_writes_is_followed_and_found_at_once(port42, claude, process):
    port42("capture", "on", "claude")
    (session,) = captured(port42, 2)
    follower = process(
        [*COMMAND, "follow", "@claude", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PORT42_DEBUG": "1"},
    )
    while "subscriptions" not in follower.stderr.readline():  # the trace shows from when on it listens
        pass
    (path,) = claude.glob("*/*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    line = next(line for line in lines if line["type"] == "user")
    last = next(line["uuid"] for line in reversed(lines) if "uuid" in line)  # another parent is a rewind
    now = {"uuid": "0f1d8b5e-0000-4000-8000-000000000001", "timestamp": "2026-11-26T16:00:00.000Z"}
    message = {"role": "user", "content": "And who grinds the buckwheat?"}
    with path.open("a") as file:
        file.write(json.dumps({**line, **now, "parentUuid": last, "message": message}) + "\n")
    event = json.loads(follower.stdout.readline())
    assert (event["session_id"], event["message"]["content"]) == (session["session_id"], message["content"])
    assert port42("search", "buckwheat").stdout.startswith(f"{session['session_id']}:")


def test_a_tool_that_was_never_used_is_captured_from_its_first_session_on(port42, home, claude):
    done = port42("capture", "on", "codex")
    assert done.stderr.splitlines() == [
        f"codex is captured for @codex: {home.parent}/.codex/sessions",
        "That folder is not there yet; it is read as soon as the tool makes it.",
        "`port42 capture` shows how far it is.",
    ]
    shutil.copytree(SHARED.parents[2] / "codex" / "tools" / "sessions", home.parent / ".codex" / "sessions")
    while not (sessions := port42.json("sessions", "--json")["sessions"]):
        pass
    assert [session["agent"] for session in sessions] == ["codex"]
    while not port42("search", "tool:apply_patch").stdout:
        pass


def test_what_cannot_be_captured_is_told(port42, claude):
    done = port42("capture", "on", "cladue")
    assert (done.returncode, done.stdout) == (1, "")
    assert "name: expected one of claude, codex" in done.stderr
    done = port42("capture", "on", "claude", "--path", "/nowhere")
    assert (done.returncode, "path: expected a folder" in done.stderr) == (1, True)
