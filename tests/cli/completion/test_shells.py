"""What `port42` answers a shell that completes, asked as the scripts ask, with a real daemon or none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from peers.editors import acp_agent
from peers.model_server import ModelServer, gives

HOSTILE = 'a:b, it\'s "$(touch pwned)" `touch pwned` ; %F{red} \\ 🦜 *'


def complete(shell, line, **env):
    """What `port42` tells a shell that asks it, as the script asks."""
    completing = {"_PORT42_COMPLETE": f"{shell}_complete", "COMP_WORDBREAKS": " \t\n\"'@><=;|&(:"}
    words = line.split(" ")
    completing |= {"COMP_LINE": line, "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "port42_cli"],
        capture_output=True,
        text=True,
        env=os.environ | completing | env,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def settled(line, expected):
    """What bash is told in the end: a busy machine may take longer than a key may wait."""
    deadline = time.monotonic() + 30
    while (offered := complete("bash", line)) != expected and time.monotonic() < deadline:
        pass
    return offered


def test_last_is_first_and_ids_are_newest_first_of_that_agent_only(port42):
    ids = [port42.begin("@ai-muse", word) for word in ("one", "two")]
    port42.begin("@ai-engineer", "three")
    expected = ["last", *reversed(ids)]
    assert settled("port42 possess @ai-muse -s ", expected) == expected


def test_bash_is_given_what_it_does_not_keep_of_the_word(port42):
    port42.begin("@ai-muse", "one")
    assert settled("port42 possess @ai-mu", ["@ai-muse"]) == ["@ai-muse"]
    assert settled("port42 possess ai-mu", ["ai-muse"]) == ["ai-muse"]
    assert settled("port42 possess @ai-muse --session=la", ["last"]) == ["last"]
    assert complete("bash", "port42 statu") == ["status"]
    assert settled("port42 capture on cl", ["claude"]) == ["claude"]
    assert settled("port42 @ai-mu", ["@ai-muse"]) == ["@ai-muse"]
    assert settled("port42 show @ai-mu", ["@ai-muse"]) == ["@ai-muse"]


def test_words_are_completed_without_a_daemon(home):
    assert complete("bash", "port42 cha") == ["chat"]
    assert complete("bash", "port42 log") == ["logs"]
    assert {"help", "sessions"} <= set(complete("bash", "port42 "))
    assert not {"ls", "chat"} & set(complete("bash", "port42 "))
    assert complete("bash", "port42 help sess") == ["sessions"]
    assert complete("bash", "port42 ls --her") == ["--here"]
    assert complete("bash", "port42 @ai-muse --mode") == ["--model", "--mode"]
    assert complete("bash", "port42 agents connect @a co") == ["codex", "codex-acp", "copilot"]
    assert not home.exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_real_bash_puts_the_agent_and_the_id_in_place(port42, process, tmp_path):
    """What a shell does with an answer is nowhere written as it is done."""
    begun = port42.begin("@ai-muse", HOSTILE)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "port42").write_text(f'#!/bin/sh\nexec {sys.executable} -m port42_cli "$@"\n')
    (tmp_path / "bin" / "port42").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}
    shell = process.at_terminal(
        ["bash", "--norc", "--noprofile", "-i"], env=env, timeout=2, cwd=str(tmp_path)
    )
    shell.send("source <(port42 completion bash); echo sour''ced\r")
    shell.expect("sourced", timeout=30)
    for typed, whole in (("port42 possess @ai-mu", "@ai-muse "), (" -s cli-", f"{begun} ")):
        shell.send(typed)
        for _ in range(15):  # a key waits 0.3 s for an answer, and a busy machine may take longer
            shell.send("\t")
            if shell.expect_exact([whole, pexpect.TIMEOUT]) == 0:
                break
    shell.send("\x01printf '<%s>' \r")
    shell.expect_exact(f"<port42><possess><@ai-muse><-s><{begun}>", timeout=30)
    assert [file.name for file in tmp_path.iterdir()] == ["bin"]


def test_every_command_that_takes_a_session_completes_it(port42):
    begun = port42.begin("@ai-muse", "one")
    for command in ("show", "rename", "tag", "pin", "unpin", "fork", "rewind", "tree", "rm", "export"):
        assert settled(f"port42 {command} cli-", [begun]) == [begun], command
    port42("rm", "-y", begun)
    assert settled("port42 restore ", [begun]) == [begun]


def test_models_are_those_that_the_server_lists(port42, home):
    with ModelServer(lists=gives({"data": [{"id": "small-1"}, {"id": "large-1"}]})) as server:
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(
            '[agents.served]\nbackend = "local"\n[backends.local]\ntype = "openai"\nmodel = "own"\n'
            f'base_url = "{server.url}/v1"\n'
        )
        port42("status")  # starts the daemon
        for line in (
            "possess @served --model ",
            "possess @served -s last --model=",
            "agents connect @ai-muse local --model ",
        ):
            assert settled(f"port42 {line}sm", ["small-1"]) == ["small-1"], line


def test_modes_are_those_that_the_back_end_is_known_to_have(port42, home):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(acp_agent("planner", "echo", "/dev/null", "modes"))
    port42.begin("@planner", "hello")
    assert settled("port42 @planner --mode ", ["default", "plan"]) == ["default", "plan"]


def test_the_beginning_of_a_title_stands_for_its_id(port42):
    begun = port42.begin("@ai-muse", "colours of the sea")
    assert settled("port42 show colo", [begun]) == [begun]
    assert settled("port42 show 'colours of", [begun]) == [begun]


@pytest.mark.parametrize("line", ["port42 show ", "port42 follow ", "port42 possess @ai-muse -s "])
def test_no_value_is_ever_a_title(port42, line):
    begun = port42.begin("@ai-muse", HOSTILE)
    deadline = time.monotonic() + 30
    while begun not in (values := complete("bash", line)):
        assert time.monotonic() < deadline
    assert not [value for value in values if "touch" in value or "$" in value]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_whatever_is_typed_is_answered_in_silence(port42, shell):
    port42.begin("@ai-muse", HOSTILE)
    for typed in ("'", '"$(', "`", "a" * 5000, "é🦜"):
        complete(shell, f"port42 show {typed}", PORT42_DEBUG="1")


def test_without_a_daemon_nothing_is_offered_and_none_is_started(home, port42):
    assert complete("bash", "port42 possess @") == []
    assert not Path(home).exists()


def test_a_daemon_that_does_not_answer_is_not_waited_for(home, peer):
    silent = peer(lambda talk: [talk.request(), talk.request()])
    assert complete("bash", "port42 possess @", PORT42_SOCKET=silent.path) == []
    assert silent.requests


def test_completing_imports_no_rich(port42):
    port42.begin("@ai-muse", "one")
    program = (
        "import sys; from port42_cli.app import main\ntry: main()\nfinally: print('rich' in sys.modules)"
    )
    completing = {"_PORT42_COMPLETE": "bash_complete", "COMP_LINE": "port42 possess @"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | completing,
        check=True,
    )
    assert done.stdout.split()[-1] == "False"
