"""The tools themselves beside a capturing daemon, where they are installed and have a model server to ask.

`PORT42_MODEL_SERVER` is its address, such as that of ``llmock -p 4010 -f FOLDER`` (npm `@copilotkit/aimock`):
one that speaks the APIs of OpenAI, Anthropic and Google, and answers every prompt. Skipped without.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from peers.capturing import eventually

SERVER = os.environ.get("PORT42_MODEL_SERVER", "")
pytestmark = [
    pytest.mark.skipif(not SERVER, reason="PORT42_MODEL_SERVER is not set"),
    pytest.mark.timeout(180),
]

CODEX = """\
model = "gpt-5.1-codex"
model_provider = "local"
[model_providers.local]
name = "local"
base_url = "{server}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
"""
PI = {
    "providers": {
        "local": {
            "baseUrl": f"{SERVER}/v1",
            "api": "openai-completions",
            "apiKey": "none",
            "models": [{"id": "m", "name": "m", "contextWindow": 99_999, "maxTokens": 999}],
        }
    }
}
GEMINI = {"security": {"auth": {"selectedType": "gemini-api-key"}}}


@dataclass(frozen=True)
class Tool:
    """`first`, `next` and `fork` are argvs in which ``{id}`` is the session's id and the prompt is last."""

    name: str
    folder: str
    first: list[str]
    next: list[str]
    env: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)
    fork: list[str] = field(default_factory=list)


PI_MODEL = ["pi", "--provider", "local", "--model", "m"]
TOOLS = [
    Tool(
        "claude",
        ".claude/projects",
        ["claude", "-p"],
        ["claude", "--resume", "{id}", "-p"],
        {"ANTHROPIC_BASE_URL": SERVER, "ANTHROPIC_API_KEY": "none"},
        fork=["claude", "--resume", "{id}", "--fork-session", "-p"],
    ),
    Tool(
        "codex",
        ".codex/sessions",
        ["codex", "exec", "--skip-git-repo-check"],
        ["codex", "exec", "--skip-git-repo-check", "resume", "{id}"],
        {"OPENAI_API_KEY": "none"},
        {".codex/config.toml": CODEX.format(server=SERVER)},
    ),
    Tool(
        "gemini",
        ".gemini/tmp",
        ["gemini", "-m", "gemini-2.5-pro", "-p"],
        ["gemini", "-m", "gemini-2.5-pro", "-r", "{id}", "-p"],
        {"GOOGLE_GEMINI_BASE_URL": SERVER, "GEMINI_API_KEY": "none", "GEMINI_CLI_TRUST_WORKSPACE": "true"},
        {".gemini/settings.json": json.dumps(GEMINI)},
    ),
    Tool(
        "copilot",
        ".copilot/session-state",
        ["copilot", "-p"],
        ["copilot", "--resume={id}", "-p"],
        {"COPILOT_PROVIDER_BASE_URL": f"{SERVER}/v1", "COPILOT_MODEL": "gpt-4.1", "COPILOT_OFFLINE": "true"},
    ),
    Tool(
        "pi",
        ".pi/agent/sessions",
        [*PI_MODEL, "-p"],
        [*PI_MODEL, "--session", "{id}", "-p"],
        {},
        {".pi/agent/models.json": json.dumps(PI)},
        [*PI_MODEL, "--fork", "{id}", "-p"],
    ),
]


OPENCODE = Tool(
    "opencode",
    ".local/share/opencode",
    ["opencode", "run"],
    ["opencode", "run", "--session", "{id}"],
    {"OPENCODE_DISABLE_AUTOUPDATE": "true"},
    {
        ".config/opencode/opencode.json": json.dumps(
            {
                "model": "local/m",
                "small_model": "local/m",
                "provider": {
                    "local": {
                        "npm": "@ai-sdk/openai-compatible",
                        "options": {"baseURL": f"{SERVER}/v1", "apiKey": "none"},
                        "models": {"m": {"name": "m"}},
                    }
                },
            }
        )
    },
    ["opencode", "run", "--session", "{id}", "--fork"],
)


@pytest.fixture(params=[*TOOLS, OPENCODE], ids=lambda tool: tool.name)
def tool(request):
    if shutil.which(request.param.name) is None:
        pytest.skip(f"{request.param.name} is not installed")
    return request.param


@pytest.fixture
def run(tool, tmp_path, process):
    """Runs the tool in a home of its own to its end."""
    home = tmp_path / "home"
    for name, text in tool.files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    work = home / "work"
    work.mkdir(parents=True)
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb", **tool.env}

    def start(argv, prompt):
        running = process([*argv, prompt], cwd=work, env=env)
        output, _ = running.communicate(timeout=90)
        assert running.returncode == 0, output

    return start


def captured(daemon, tool, prompts):
    """The tool's session, once it has these prompts and an answer to each."""
    until = time.monotonic() + 20
    found = []
    while time.monotonic() < until:
        found = [
            (session, daemon.call("get_session", session_id=session["session_id"])["messages"])
            for session in daemon.call("list_sessions", agent=tool.name)["sessions"]
        ]
        for session, messages in found:
            said = [
                message["content"].strip().strip('"') for message in messages if message["role"] == "user"
            ]
            if said == prompts and messages[-1]["role"] == "assistant":
                return session
        time.sleep(0.1)
    raise AssertionError(f"not captured: {found}")


def native_id(daemon, tool, session, folder):
    if tool is OPENCODE:
        database = sqlite3.connect(folder / "opencode.db")
        return database.execute("SELECT id FROM session ORDER BY time_created").fetchone()[0]
    restored = daemon.call("restore_original", session_id=session["session_id"], force=True)
    assert folder in Path(restored["path"]).parents
    return restored["resume"][-1].removeprefix("--resume=")


def test_what_a_tool_deleted_is_written_back_and_goes_on_there(daemon, tool, run, tmp_path):
    folder = tmp_path / "home" / tool.folder
    folder.mkdir(parents=True)
    daemon.call("set_capture", name=tool.name, on=True, path=str(folder))
    run(tool.first, "What is in the mill?")
    session = captured(daemon, tool, ["What is in the mill?"])
    if tool is not OPENCODE:  # what is kept of a database is not written back
        shutil.rmtree(folder)
    native = native_id(daemon, tool, session, folder)
    run([word.replace("{id}", native) for word in tool.next], "And in the cellar?")
    again = captured(daemon, tool, ["What is in the mill?", "And in the cellar?"])
    assert again["session_id"] == session["session_id"]


def test_a_rollout_that_codex_compresses_and_goes_on_with_is_one_session(daemon, tool, run, tmp_path):
    if tool.name != "codex":
        pytest.skip("Codex alone compresses its sessions")
    folder = tmp_path / "home" / tool.folder
    folder.mkdir(parents=True)
    daemon.call("set_capture", name=tool.name, on=True, path=str(folder))
    run(tool.first, "What is in the mill?")
    session = captured(daemon, tool, ["What is in the mill?"])
    [rollout] = folder.rglob("*.jsonl")
    native = native_id(daemon, tool, session, folder)
    long_ago = time.time() - 8 * 24 * 3600
    os.utime(rollout, (long_ago, long_ago))
    compresses = ["--enable", "local_thread_store_compression"]
    run([tool.first[0], *compresses, *tool.first[1:]], "And in the loft?")  # beside this
    captured(daemon, tool, ["And in the loft?"])
    eventually(lambda: not rollout.exists())
    assert rollout.with_name(f"{rollout.name}.zst").exists()
    run([word.replace("{id}", native) for word in tool.next], "And in the cellar?")
    assert rollout.exists()
    again = captured(daemon, tool, ["What is in the mill?", "And in the cellar?"])
    assert again["session_id"] == session["session_id"]
    assert len(daemon.call("list_sessions", agent="codex")["sessions"]) == 2


def test_a_fork_is_one_of_its_original_though_that_goes_on_afterwards(daemon, tool, run, tmp_path):
    if not tool.fork:
        pytest.skip(f"{tool.name} makes forks only at a terminal")
    folder = tmp_path / "home" / tool.folder
    folder.mkdir(parents=True)
    daemon.call("set_capture", name=tool.name, on=True, path=str(folder))
    run(tool.first, "What is in the mill?")
    native = native_id(daemon, tool, captured(daemon, tool, ["What is in the mill?"]), folder)
    daemon.call("set_capture", name=tool.name, on=False)
    run([word.replace("{id}", native) for word in tool.fork], "And in the cellar?")
    run([word.replace("{id}", native) for word in tool.next], "And in the loft?")
    daemon.call("set_capture", name=tool.name, on=True, path=str(folder))
    original = captured(daemon, tool, ["What is in the mill?", "And in the loft?"])
    fork = captured(daemon, tool, ["What is in the mill?", "And in the cellar?"])
    assert original["forked_from"] is None
    point = fork["forked_from"]
    assert point["session_id"] == original["session_id"]
    messages = daemon.call("get_session", session_id=original["session_id"])["messages"]
    words = [message["seq"] for message in messages if message["role"] in {"user", "assistant"}]
    assert words[1] <= point["seq"] < words[2]
