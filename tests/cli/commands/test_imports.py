"""`port42 import`: a line for each session, the reasons for what was left out, a bar on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pexpect

DATA = Path(__file__).parents[2] / "data" / "imports"


def test_a_report_in_lines_and_again(port42):
    done = port42("import", str(DATA / "claude"), "@ai-muse")
    assert done.returncode == 0, done.stderr
    first, *rest, last = done.stdout.splitlines()
    assert first.split("\t")[1:] == ["@ai-muse", "4 messages", "A parser for arithmetic"]
    assert any("line 12: not JSON" in line for line in rest)
    assert last == "claude: 1 new, 0 grown, 0 here already, 2 of sub-agents, 1 skipped; imported"
    assert port42("import", str(DATA / "claude"), "@ai-muse").stdout.endswith(
        "3 here already, 1 skipped; imported\n"
    )
    assert port42.json("sessions", "--json")["sessions"][0]["title"] == "A parser for arithmetic"


def test_a_relative_path_is_this_folders_and_json_is_one_report(port42):
    report = port42.json("import", "codex", "ai-muse", "--dry-run", "--json", cwd=DATA)
    assert (report["format"], report["total"], len(report["imported"])) == ("codex", 2, 2)
    assert port42.json("sessions", "--json")["sessions"] == []


def test_where_nothing_comes_in_the_exit_code_says_so(port42, tmp_path):
    broken = tmp_path / "a.jsonl"
    broken.write_text(json.dumps({"type": "user", "sessionId": "s1", "uuid": "u1"}) + "\n{\n")
    for options in ((), ("--dry-run",), ("--json",)):
        done = port42("import", str(broken), "@ai-muse", "--format", "claude", *options)
        assert (done.returncode, done.stderr) == (1, "")
        assert "1 skipped" in done.stdout or len(json.loads(done.stdout)["skipped"]) == 1


def test_what_was_exported_comes_back(port42, tmp_path):
    begun = port42.begin("@ai-muse", "hello")
    port42("export", begun, "-o", str(tmp_path / "a.json"))
    assert "1 here already" in port42("import", str(tmp_path / "a.json")).stdout
    again = port42("import", str(tmp_path / "a.json"), "@ai-engineer")
    assert "\t@ai-engineer\t1 message\thello" in again.stdout


def test_reading_again(port42):
    port42("import", str(DATA / "codex"), "@ai-muse")
    done = port42("import", str(DATA / "codex"), "@ai-muse", "--again")
    assert done.stdout.endswith("0 new, 0 grown, 2 here already, 0 skipped; imported\n")
    assert port42("import").returncode == 2
    nothing = port42("import", "--again")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "capture keeps no originals" in nothing.stderr
    for words in (["@ai-muse"], ["--again", "@ai-muse"]):
        done = port42("import", *words)
        assert (done.returncode, "expected PATH before the agent" in done.stderr) == (2, True)


def test_without_an_agent_where_none_is_named(port42):
    done = port42("import", str(DATA / "codex"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: agent parameter required: sessions of codex name no agent\n"
        f"  To import them as an agent's: port42 import {DATA / 'codex'} @AGENT\n"
    )


def test_on_a_terminal(terminal):
    screen = terminal("import", str(DATA / "codex"), "@ai-muse")
    screen.expect_exact("codex: 2 new, 0 grown, 0 here already, 0 skipped; imported")
    screen.expect(pexpect.EOF)
