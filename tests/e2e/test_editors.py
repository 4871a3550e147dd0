"""Editors and clients that others wrote use `port42 acp`: acpx of npm, Neovim, Emacs.

The last two are in the system's packages, their clients are not: PORT42_EDITOR_CLIENTS names a folder with
checkouts of `codecompanion.nvim` and `plenary.nvim`, or of `acp.el`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from peers import tools
from peers.editors import port42_command

pytestmark = pytest.mark.once
PEERS = Path(__file__).parents[1] / "peers"
AGENTS = ("permission", "slow")
CLIENTS = os.environ.get("PORT42_EDITOR_CLIENTS", "")
ALLOWED = '{"outcome": "selected", "optionId": "id:allow_once"}'
PATIENCE = 120
NOT_STARTED = "queue owner failed to start"
"""What acpx says when its process that sends prompts took longer than 6 s to start; nothing was sent then."""


@pytest.fixture
def daemon(start_daemon):
    commands = {name: [sys.executable, "-S", "-B", str(PEERS / f"acp_{name}.py")] for name in AGENTS}
    kinds = {"repeat": "command"} | dict.fromkeys(commands, "acp")
    config = "".join(
        f'[agents.{name}]\nbackend = "{name}"\n'
        f'[backends.{name}]\ntype = "{kind}"\ncommand = {json.dumps(commands.get(name, ["cat"]))}\n'
        for name, kind in kinds.items()
    )
    return start_daemon(config=config)


def completed(command, tmp_path, **variables):
    """Run it in a home of its own."""
    names = ("PATH", "PORT42_HOME", "PORT42_SOCKET", "XDG_RUNTIME_DIR")
    return subprocess.run(
        command,
        env={name: os.environ[name] for name in names if name in os.environ}
        | {"HOME": str(tmp_path)}
        | variables,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def run(command, tmp_path, **variables):
    """What it prints."""
    done = completed(command, tmp_path, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def said(daemon, session_id, role):
    messages = daemon.call("get_session", session_id=session_id)["messages"]
    return [message["content"] for message in messages if message["role"] == role]


# --- acpx -----------------------------------------------------------------------------------------------


@pytest.fixture
def acpx(daemon, tmp_path):
    program = tools.acpx()
    opened = set()

    def call(agent, *words):
        command = shlex.join([*port42_command(), "acp", agent])
        options = ["--cwd", str(tmp_path), "--ttl", "60", "--approve-all", "--format", "json"]
        if words == ("sessions", "new"):
            opened.add(agent)
        for _ in range(10):
            done = completed([program, *options, "--agent", command, *words], tmp_path)
            if NOT_STARTED not in done.stdout:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    yield call
    for agent in opened:  # ends the process that keeps it
        call(agent, "sessions", "close")


def test_acpx_asks_and_allows_what_is_asked_for(acpx, daemon, tmp_path):
    messages = acpx("@permission", "exec", "edit allow_once reject_once")
    (asked,) = (message for message in messages if message.get("method") == "session/request_permission")
    assert asked["params"]["toolCall"]["content"][0]["newText"] == "rye = 10\n"
    (session,) = daemon.call("list_sessions")["sessions"]
    assert session["cwd"] == str(tmp_path)
    assert said(daemon, session["session_id"], "user") == ["edit allow_once reject_once"]
    assert json.loads(said(daemon, session["session_id"], "assistant")[0])["optionId"] == "id:allow_once"


def test_acpx_continues_a_session(acpx, daemon):
    acpx("@repeat", "sessions", "new")
    acpx("@repeat", "prompt", "one")
    acpx("@repeat", "prompt", "two")
    (session,) = daemon.call("list_sessions")["sessions"]
    assert said(daemon, session["session_id"], "user") == ["one", "two"]
    assert said(daemon, session["session_id"], "assistant") == ["one", "two"]


# --- Neovim and Emacs -----------------------------------------------------------------------------------


def clients(program, *folders):
    """The editor's program and the folder of its clients. Skips where one is not there."""
    found = shutil.which(program)
    if found is None or not CLIENTS or not all(Path(CLIENTS, name).is_dir() for name in folders):
        pytest.skip(f"needs {program}, and {', '.join(folders)} in the folder PORT42_EDITOR_CLIENTS")
    return found


def test_neovim_with_codecompanion(daemon, tmp_path):
    nvim = clients("nvim", "codecompanion.nvim", "plenary.nvim")
    command = [
        nvim,
        "--headless",
        "--clean",
        "-c",
        f"luafile {PEERS / 'nvim_codecompanion.lua'}",
        "-c",
        "cquit",
    ]
    port42 = json.dumps([*port42_command(), "acp", "@permission"])
    first, resumed, continued = map(
        json.loads, run(command, tmp_path, CLIENTS=CLIENTS, PORT42=port42).splitlines()
    )
    assert ALLOWED in first["lines"]
    assert resumed["session"] == continued["session"] == first["session"]
    assert resumed["title"] == "edit allow_once reject_once"
    assert {"edit allow_once reject_once", ALLOWED} <= {*resumed["lines"]}
    assert said(daemon, first["session"], "user") == ["edit allow_once reject_once", "edit allow_once"]


def test_emacs_with_acp_el(daemon, tmp_path):
    emacs = clients("emacs", "acp.el")
    command = [emacs, "--batch", "-Q", "-l", str(PEERS / "emacs_acp.el")]
    printed = run(command, tmp_path, CLIENTS=CLIENTS, PORT42=json.dumps([*port42_command(), "acp"]))
    came = {line["name"]: line["value"] for line in map(json.loads, printed.splitlines())}
    assert came["asked"] == "edit a file"
    assert came["result"] == {"stopReason": "end_turn"}
    assert came["loaded"] == came["reply"] == ALLOWED
    assert came["cancelled"] == {"stopReason": "cancelled"}
