"""`port42 mcp install` and `uninstall`: shown, asked for, written; and what is typed wrongly."""

from __future__ import annotations

import json
import sys

import pytest


@pytest.fixture
def config(tmp_path):
    return tmp_path / "claude.json"


def test_it_shows_the_change_writes_it_and_again_does_nothing(port42, config):
    config.write_text('{\n  "theme": "dark"\n}\n')
    done = port42("mcp", "install", "claude", "--path", str(config), "-y")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"change {config}" in done.stderr
    assert '+    "port42": {' in done.stderr
    assert "Claude Code starts Port42's server from its next start on." in done.stderr
    entry = json.loads(config.read_text())["mcpServers"]["port42"]
    assert [entry["command"], *entry["args"]][-1] == "mcp"
    before = config.read_bytes()
    again = port42("mcp", "install", "claude", "--path", str(config))
    assert again.returncode == 0
    assert again.stderr == f"Claude Code has Port42's server already. ({config})\n"
    assert config.read_bytes() == before
    assert len(list(config.parent.glob("*-before-port42"))) == 1


def test_it_starts_the_server_for_this_home(port42, config, home):
    port42("mcp", "install", "claude", "--path", str(config), "--allow-ask", "--max-depth", "1", "-y")
    entry = json.loads(config.read_text())["mcpServers"]["port42"]
    assert [entry["command"], *entry["args"]][-5:] == ["port42_cli", "mcp", "--allow-ask", "--max-depth", "1"]
    assert entry["command"] == sys.executable
    assert entry["env"]["PORT42_HOME"] == str(home)
    assert entry["env"]["PORT42_SOCKET"].endswith("/port42.sock")


def test_without_a_terminal_or_yes_nothing_is_written(port42, config):
    done = port42("mcp", "install", "claude", "--path", str(config))
    assert done.returncode == 2
    assert "expected -y" in done.stderr
    assert not config.exists()


def test_a_dry_run_prints_what_would_be(port42, config):
    done = port42("mcp", "install", "codex", "--path", str(config), "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith(f"create {config}\n    [mcp_servers.port42]\n")
    assert not config.exists()


def test_a_person_who_says_no_changes_nothing(terminal, config):
    talk = terminal("mcp", "install", "claude", "--path", str(config))
    talk.expect_exact("Write this? [y/N]: ")
    talk.sendline("n")
    talk.expect_exact("Nothing was changed.")
    talk.wait()
    assert not config.exists()


def test_it_is_taken_out_again(port42, config):
    port42("mcp", "install", "claude", "--path", str(config), "-y")
    done = port42("mcp", "uninstall", "claude", "--path", str(config), "-y")
    assert "Claude Code no longer has Port42's server." in done.stderr
    assert json.loads(config.read_text()) == {"mcpServers": {}}
    again = port42("mcp", "uninstall", "claude", "--path", str(config), "-y")
    assert (again.returncode, again.stderr) == (0, f"Claude Code has no server of Port42's. ({config})\n")


def test_the_usual_file_is_that_of_the_home_folder(port42, tmp_path):
    done = port42("mcp", "install", "gemini", "-y", env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "port42" in json.loads((tmp_path / ".gemini" / "settings.json").read_text())["mcpServers"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["install", "claud"],
            "expected one of claude, claude-desktop, codex, copilot, cursor, gemini, opencode,",
        ),
        (["install", "claud"], "got claud. Did you mean claude?"),
        (["install"], "Missing argument 'CLIENT'"),
        (["--allow-ask", "install", "claude"], "go behind the subcommand"),
        (["--max-depth", "9"], "9 is not in the range 1<=x<=8"),
    ],
)
def test_what_is_typed_wrongly_is_named(port42, words, said):
    done = port42("mcp", *words, stdin="")
    assert done.returncode == 2
    assert said in done.stderr


def test_at_a_terminal_it_says_that_it_is_for_programs(terminal):
    talk = terminal("mcp")
    talk.expect_exact("`port42 mcp install` connects one")
    talk.sendintr()
    talk.wait()
    assert talk.exitstatus == 130 or talk.signalstatus == 2
