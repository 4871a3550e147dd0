"""`port42 export`: exact on stdout, private and never overwriting in files, several into a folder."""

from __future__ import annotations

import json
import os
import stat

import pytest

KEY = "sk-ant-api03-" + "aB3" * 20


def test_stdout_is_the_sessions_own_document(port42, home):
    begun = port42.begin("@ai-muse", "héllo")
    done = port42("export", begun)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (home / "sessions" / f"{begun}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.md", "---\n"), ("a.HTML", "<!doctype html>"), ("a.json", '{"format"')],
)
def test_a_files_suffix_says_its_format(port42, tmp_path, name, begins):
    port42.begin("@ai-muse", "hello")
    done = port42("export", "last", "-a", "@ai-muse", "-o", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / name).read_text().startswith(begins)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_file_that_is_there_stays_unless_forced(port42, tmp_path):
    begun = port42.begin("@ai-muse", "hello")
    file = tmp_path / "a.md"
    file.write_text("mine")
    done = port42("export", begun, "-o", str(file))
    assert (done.returncode, file.read_text()) == (1, "mine")
    assert "--force" in done.stderr
    assert port42("export", begun, "-o", str(file), "--force").returncode == 0
    assert "hello" in file.read_text()
    missing = port42("export", begun, "-o", str(tmp_path / "no" / "a.md"))
    assert (missing.returncode, "cannot write" in missing.stderr) == (1, True)


def test_what_a_killed_export_left_goes_with_the_next_one(port42, tmp_path):
    begun = port42.begin("@ai-muse", "hello")
    ended = 2**31 - 1  # more than Linux and macOS give out
    left, of_one_that_runs = f".a.md.{ended}.new", f".a.md.{os.getpid()}.new"
    others = [of_one_that_runs, f".b.md.{ended}.new", ".a.md.x.new", f".a.md.{ended}"]
    for name in (left, *others):
        (tmp_path / name).touch()
    assert port42("export", begun, "-o", str(tmp_path / "a.md")).returncode == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["a.md", *others])


def test_all_of_an_agents_into_a_folder(port42, tmp_path):
    ids = {port42.begin("@ai-muse", str(number)) for number in range(3)}
    port42.begin("@ai-engineer", "not this one")
    done = port42("export", "--all", "@ai-muse", "-o", str(tmp_path / "out"), "-f", "md")
    assert done.returncode == 0, done.stderr
    assert {one.name for one in (tmp_path / "out").iterdir()} == {f"{one}.md" for one in ids}


def test_an_agent_without_sessions_is_refused_and_nothing_is_made(port42, tmp_path):
    """A mistyped name would otherwise look like a backup that was made."""
    done = port42("export", "--all", "@ai-mouse", "-o", str(tmp_path / "out"))
    assert (done.returncode, "--all: expected an agent that has sessions, got @ai-mouse" in done.stderr) == (
        1,
        True,
    )
    assert not (tmp_path / "out").exists()


def test_redacting_says_what_was_found(port42):
    begun = port42.begin("@ai-muse", f"my key is {KEY}")
    done = port42("export", begun, "--redact")
    assert KEY not in done.stdout
    assert json.loads(done.stdout)["messages"][0]["content"] == "my key is [redacted: anthropic key]"
    assert "1 anthropic key" in done.stderr


def test_a_terminal_obeys_nothing_of_it(port42, terminal):
    begun = port42.begin("@ai-muse", "a\x1b[2Jb")
    terminal("export", begun, "-f", "md").expect_exact("a␛[2Jb")


def test_a_session_that_is_named_twice_is_written_once(port42, tmp_path):
    begun = port42.begin("@ai-muse", "hello")
    done = port42("export", begun, "last", "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert [one.name for one in (tmp_path / "out").iterdir()] == [f"{begun}.json"]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([], "expected REF"),
        (["x", "-o", ""], "'--output': expected OUT, got an empty text"),
        (["a", "b"], "-o OUT"),
        (["a", "b", "-o", "talk.md"], "talk.md: several sessions need a folder"),
        (["--all", "@a", "-o", "talk.html", "-f", "html"], "talk.html: several sessions need a folder"),
        (["x", "--all", "@a"], "expected REF"),
        (["x", "-o", "talk"], "talk: expected a name that ends in .json, .md or .html, or -f FORMAT"),
        (["x", "--open", "-o", "talk"], "talk: expected a name that ends in .json, .md or .html"),
        (["x", "-o", "x.txt"], "x.txt: expected a name that ends in .json, .md or .html, or -f FORMAT"),
    ],
)
def test_bad_usage(port42, args, word):
    done = port42("export", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
