"""Each program of `examples/`, run as its README says, where what it needs is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GO_CACHE = ROOT / ".work" / "go-cache"
PATIENCE = 60
ENTER, CTRL_D = "\r", "\x04"

QUESTION = 'grüße "🐢" $HOME\nand `more`'


def needs(*names):
    """Skips where one of the programs is not installed."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.fixture
def environment(port42):
    """With a daemon that runs, and `port42` on the path."""
    assert port42("daemon", "start").returncode == 0
    path = os.pathsep.join((str(Path(port42.argv[0]).parent), os.environ["PATH"]))
    return port42.environment | {"PATH": path}


@pytest.fixture
def run(environment):
    """A finished program, with text."""
    return lambda *words, **options: subprocess.run(
        list(map(str, words)),
        **{"env": environment, "stdin": subprocess.DEVNULL} | options,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.fixture(scope="session")
def go_program(tmp_path_factory):
    """ask.go, compiled once; Go keeps its library under `.work` from run to run."""
    needs("go")
    program = tmp_path_factory.mktemp("go") / "ask"
    command = ["go", "build", "-o", program, EXAMPLES / "ask.go"]
    env = os.environ | {"GOCACHE": str(GO_CACHE), "GOFLAGS": ""}
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr.decode()
    return program


@pytest.fixture(params=["ask.sh", "ask_jsonrpcclient.py", "ask_port42_client.py", "ask.mjs", "ask.go"])
def ask(request):
    """The words that run one of the programs that ask."""
    match request.param:
        case "ask.go":
            return [request.getfixturevalue("go_program")]
        case "ask.mjs":
            needs("node")
            return ["node", EXAMPLES / "ask.mjs"]
        case "ask.sh":
            needs("bash", "socat", "jq")
            return [EXAMPLES / "ask.sh"]
        case name:
            return [sys.executable, EXAMPLES / name]


def test_a_reply_comes_to_the_letter_and_what_fails_is_said(run, ask, port42):
    done = run(*ask, "echo", QUESTION)
    assert (done.returncode, done.stdout, done.stderr) == (0, QUESTION + "\n", "")
    messages = port42.rpc("get_session", session_id=port42.rpc("find_session", ref="@echo")["session_id"])
    assert [record["content"] for record in messages["messages"]] == [QUESTION, QUESTION]
    refused = run(*ask, "nobody-here", "hello")
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert "unknown agent nobody-here" in refused.stderr
    unanswered = run(*ask, "ai-muse", "hello")
    assert (unanswered.returncode, unanswered.stdout) == (1, "")
    assert "No back end answers" in unanswered.stderr
    wrong = run(*ask)
    assert wrong.returncode != 0
    assert "AGENT" in wrong.stderr


def test_without_a_daemon_it_is_an_error_or_one_is_started(run, ask, port42):
    assert port42("daemon", "stop").returncode == 0
    done = run(*ask, "echo", "hello")
    if "port42_client" in str(ask[-1]):
        assert (done.returncode, done.stdout) == (0, "hello\n")
        return
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_prompt_names_the_folders_last_session(run, port42, tmp_path, shell):
    needs(shell, "socat", "jq")
    port42.rpc("create_session", agent="ai-muse", session_id="segment-1", cwd=str(tmp_path))
    segment = f". {EXAMPLES}/prompt.sh; port42_segment; cd /; port42_segment; echo end"
    assert run(shell, "-c", segment, cwd=tmp_path).stdout == "[@ai-muse segment-1 · 0] \nend\n"
    port42("daemon", "stop")
    done = run(shell, "-c", segment, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("end\n", "")


def test_a_session_is_picked_with_fzf_and_continued(environment, process, port42):
    needs("bash", "fzf", "jq")
    port42.rpc("create_session", agent="ai-muse", session_id="poem-1", title="a poem")
    port42.rpc("create_session", agent="ai-engineer", session_id="parser-1", title="a parser")
    port42.rpc("append_message", agent="ai-muse", session_id="poem-1", role="user", content="of the sea")
    shown = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
    screen = process.at_terminal(
        [EXAMPLES / "pick.sh", "poem"], env=environment | shown, dimensions=(24, 100), timeout=PATIENCE
    )
    screen.expect("of the sea")  # the preview
    screen.send(ENTER)
    screen.expect(r"Resuming session poem-1 for @ai-muse \(1 message\)")
    screen.expect("@ai-muse ›")
    screen.send(CTRL_D)
    screen.expect("To continue")
    screen.expect(pexpect.EOF)


def test_the_readme_names_each_example_and_each_has_ten_to_forty_lines():
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert set(re.findall(r"^\| \[(\S+)\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)) == files
    for name in files:
        lines = (line.strip() for line in (EXAMPLES / name).read_text().splitlines())
        code = [line for line in lines if line and not line.startswith(("#", "//"))]
        assert 5 <= len(code) <= 40, name
