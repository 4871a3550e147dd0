"""Clients of MCP that are not ours use `port42 mcp`: the inspector, and Claude Code once it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from peers import aimock, tools

pytestmark = pytest.mark.once
PORT42 = str(Path(sys.executable).with_name("port42"))
PATIENCE = 120


def calls(name: str, **arguments: str):
    return {"toolCalls": [{"name": name, "arguments": arguments}]}


SEARCH = calls("mcp__port42__search_sessions", query="lantern key")
READ = calls("mcp__port42__read_session", session="cli-1")
ASK = calls("mcp__port42__ask_agent", agent="shout", message="hello")
ANSWERS = [
    {"match": {"toolResultContains": "[2] assistant"}, "response": {"content": "Under the blue stone."}},
    {"match": {"toolResultContains": "seq 1, user"}, "response": READ},
    {"match": {"toolResultContains": "HELLO, 1 deep"}, "response": {"content": "It shouts."}},
    # What a model is told to do first while a server still connects.
    {"match": {"hasToolResult": False}, "response": calls("WaitForMcpServers")},
    {"match": {"userMessage": "Where is the lantern key", "hasToolResult": True}, "response": SEARCH},
    {"match": {"userMessage": "Ask the other one", "hasToolResult": True}, "response": ASK},
]
"""Of the model: what it says or calls, by the last result of a tool, else by the message."""
SHOUT = "import os, sys; print(sys.stdin.read().upper() + f\", {os.environ['PORT42_DEPTH']} deep\")"


@pytest.fixture
def kept(start_daemon):
    command = json.dumps([sys.executable, "-c", SHOUT])
    daemon = start_daemon(
        config=f'[agents.shout]\nbackend = "shout"\n[backends.shout]\ntype = "command"\ncommand = {command}\n'
    )
    daemon.call("create_session", agent="ai-muse", session_id="cli-1", title="The lantern")
    for role, content in (("user", "Where is the lantern key?"), ("assistant", "Under the blue stone.")):
        daemon.call("append_message", agent="ai-muse", session_id="cli-1", role=role, content=content)
    return daemon


# --- the inspector ------------------------------------------------------------------------------------


@pytest.fixture
def inspect(kept, tmp_path):
    """The result of a method, asked for by the inspector."""
    program = tools.inspector()

    def run(*words: str, options: tuple[str, ...] = ()):
        variables = [f"{name}={os.environ[name]}" for name in ("PORT42_HOME", "PORT42_SOCKET")]
        given = [word for variable in variables for word in ("-e", variable)]
        done = subprocess.run(
            [program, "--cli", *given, PORT42, "mcp", *options, "--method", *words],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.stdout, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def test_the_inspector_lists_the_tools(inspect):
    listed = inspect("tools/list", options=("--allow-ask",))["tools"]
    assert [tool["name"] for tool in listed] == [
        *("search_sessions", "read_session", "list_sessions", "ask_agent")
    ]
    assert [tool["annotations"]["readOnlyHint"] for tool in listed] == [True, True, True, False]


def test_the_inspector_calls_a_tool(inspect):
    words = ("--tool-name", "read_session", "--tool-arg", "session=cli-1", "last=1")
    result = inspect("tools/call", *words)
    assert not result.get("isError")
    (block,) = result["content"]
    assert "[2] assistant" in block["text"]
    assert "Under the blue stone." in block["text"]
    assert "lantern key?" not in block["text"].partition("\n\n")[2]


# --- Claude Code --------------------------------------------------------------------------------------


@pytest.fixture
def claude(kept, port42, tmp_path):
    """What Claude Code answers, after ``port42 mcp install claude`` with these options."""
    program = tools.claude()

    def answer(message: str, *options: str) -> str:
        done = port42("mcp", "install", "claude", *options, "-y", env={"HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        with aimock.running(answers=ANSWERS) as url:
            done = subprocess.run(
                [program, "-p", "--allowedTools", "mcp__port42", "--", message],
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(tmp_path),
                    "ANTHROPIC_BASE_URL": url,
                    "ANTHROPIC_API_KEY": "sk-ant-test-0123456789",
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                    "CLAUDE_CODE_MAX_RETRIES": "0",
                },
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=PATIENCE,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.decode().strip()

    return answer


def test_claude_code_searches_and_reads(claude, kept):
    before = kept.call("list_sessions")
    assert claude("Where is the lantern key?") == "Under the blue stone."
    assert kept.call("list_sessions") == before


def test_claude_code_asks_another_agent(claude, kept):
    assert claude("Ask the other one.", "--allow-ask") == "It shouts."
    (session,) = kept.call("list_sessions", agent="shout")["sessions"]
    assert session["session_id"].startswith("mcp-")
