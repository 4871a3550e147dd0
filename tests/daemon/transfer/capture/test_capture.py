"""Capture of a tool's files by a real daemon: new lines reach their session, once, whatever the tool does."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import threading
import time

import pytest
from peers.capturing import captured, eventually, last_session, sessions
from peers.claude_code import Transcript


def test_what_a_tool_writes_is_in_its_session(capturing, transcript):
    transcript.user("build a parser")
    transcript.assistant("I build it.")
    session = captured(capturing, "build a parser", "I build it.")
    assert (session["agent"], session["cwd"]) == ("claude", "/home/ada/work")
    transcript.user("and a lexer")
    again = captured(capturing, "build a parser", "I build it.", "and a lexer")
    assert again["session_id"] == session["session_id"]
    eventually(lambda: last_session(capturing) == session["session_id"])  # set after the session can be seen
    assert "Traceback" not in capturing.log()


def test_what_a_tool_takes_back_stays_and_is_marked(capturing, transcript):
    transcript.user("build a parser")
    transcript.assistant("I build it.")
    captured(capturing, "build a parser", "I build it.")
    transcript.add("user", "build a lexer", parentUuid=None)
    session = captured(capturing, "build a parser", "I build it.", "build a lexer")
    read = capturing.call("get_session", session_id=session["session_id"], events=True)["messages"]
    assert [record.get("prompts", record["role"]) for record in read] == ["user", "assistant", 1, "user"]
    exported = capturing.call("export_session", session_id=session["session_id"], format="markdown")["text"]
    assert "rolled back: goes on without the last 1 message of the user" in exported


def test_subscribers_and_the_search_have_it(capturing, transcript):
    with capturing.connect() as peer:
        peer.sendall(b'{"jsonrpc":"2.0","method":"subscribe","params":{"agent":"claude"},"id":1}\n')
        lines = peer.makefile("rb")
        lines.readline()
        transcript.user("an extraordinary parser")
        assert b"an extraordinary parser" in lines.readline()
        eventually(lambda: capturing.call("search_sessions", query="extraordinary")["hits"])


def test_what_was_written_while_no_daemon_ran(capturing, transcript):
    transcript.user("one")
    captured(capturing, "one")
    capturing.stop()
    transcript.assistant("two")
    other = Transcript(transcript.path.parent.parent, "/home/ada/other")
    other.user("three")
    capturing.start()
    captured(capturing, "one", "two")
    captured(capturing, "three")
    assert len(sessions(capturing)) == 2


def test_a_call_without_a_result_is_recorded_when_its_tool_has_long_been_quiet(capturing, transcript):
    transcript.user("sail")
    transcript.assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "sail"}})
    session = captured(capturing, "sail")

    def calls():
        records = capturing.call("get_session", session_id=session["session_id"], events=True)["messages"]
        return [(record["state"], record.get("output")) for record in records if record["role"] == "tool"]

    assert calls() == []
    capturing.stop()
    os.utime(transcript.path, (time.time() - 3600,) * 2)
    capturing.start()
    eventually(lambda: calls() == [("interrupted", None)])
    transcript.add("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "landed"}])
    eventually(lambda: calls() == [("interrupted", None), ("done", "landed")])
    transcript.assistant("Done.")
    captured(capturing, "sail", "Done.")
    imported = capturing.call("import_sessions", path=str(transcript.path), agent="claude")
    assert (imported["unchanged"], imported["skipped"]) == (1, [])
    assert len(calls()) == 2


def test_a_line_that_is_being_written_waits_for_its_end(capturing, transcript):
    transcript.user("one")
    transcript.user("two")
    line = transcript.path.read_bytes().splitlines(keepends=True)[1]
    whole = transcript.path.read_bytes()
    transcript.path.write_bytes(whole[: -len(line) // 2])
    captured(capturing, "one")
    with transcript.path.open("ab") as file:
        file.write(whole[-len(line) // 2 :])
    captured(capturing, "one", "two")


def test_a_last_line_without_its_end_is_taken_when_its_tool_has_been_quiet(capturing, transcript):
    transcript.user("one")
    transcript.user("killed before the newline")
    whole = transcript.path.read_bytes()
    capturing.stop()
    transcript.path.write_bytes(whole[:-1])
    os.utime(transcript.path, (time.time() - 60,) * 2)
    capturing.start()
    captured(capturing, "one", "killed before the newline")
    transcript.path.write_bytes(whole)
    transcript.user("three")
    captured(capturing, "one", "killed before the newline", "three")


def test_a_path_that_is_not_utf8_is_named_and_holds_up_no_other(capturing, transcript, folder):
    transcript.user("one")
    odd = os.fsencode(folder) + b"/odd-\xff.jsonl"
    shutil.copy(transcript.path, odd)
    transcript.user("two")
    captured(capturing, "one", "two")
    problem = eventually(lambda: capturing.call("get_capture")["tools"][0]["problem"])
    assert "odd-\ufffd.jsonl: its path is not UTF-8" in problem
    assert "Traceback" not in capturing.log()
    page = capturing.call("import_sessions", path=str(folder), agent="ai-muse", dry_run=True)
    assert {"source": "odd-\ufffd.jsonl", "reason": problem.partition(": ")[2]} in page["skipped"]


@pytest.mark.parametrize("how", ["in place", "renamed", "shorter"])
def test_a_file_that_its_tool_writes_anew_takes_nothing_away(capturing, transcript, how):
    for number in range(6):
        transcript.user(f"message {number}")
    captured(capturing, *(f"message {number}" for number in range(6)))
    lines = transcript.path.read_bytes().splitlines(keepends=True)
    kept = b"".join(lines[:2] + lines[4:]) if how != "shorter" else b"".join(lines[:2])
    aside = transcript.path.with_suffix(".new")
    aside.write_bytes(kept)
    aside.replace(transcript.path) if how == "renamed" else transcript.path.write_bytes(kept)
    transcript.user("after")
    captured(capturing, *(f"message {number}" for number in range(6)), "after")
    transcript.path.unlink()
    other = Transcript(transcript.path.parent.parent, "/home/ada/other")
    other.user("another")
    captured(capturing, "another")
    captured(capturing, *(f"message {number}" for number in range(6)), "after")


def test_without_capture_db_sources_are_compared_with_their_sessions(capturing, transcript):
    for text in ("yes", "no", "yes"):
        transcript.user(text)
    captured(capturing, "yes", "no", "yes")
    capturing.stop()
    for path in capturing.home.glob("capture.db*"):
        path.unlink()
    transcript.user("yes")
    capturing.start()
    captured(capturing, "yes", "no", "yes", "yes")
    status = eventually(lambda: (tool := capturing.call("get_capture")["tools"][0])["sessions"] and tool)
    assert (status["sessions"], status["sources"], status["waiting"], status["problem"]) == (1, 1, 0, None)


def test_a_damaged_capture_db_is_made_anew(capturing, transcript):
    transcript.user("one")
    captured(capturing, "one")
    capturing.stop()
    for path in capturing.home.glob("capture.db*"):
        path.unlink()
    (capturing.home / "capture.db").write_bytes(b"junk" * 5000)
    transcript.user("two")
    capturing.start()
    captured(capturing, "one", "two")


def test_capture_db_that_is_damaged_while_it_is_used(capturing, folder):
    for number in range(30):
        transcript = Transcript(folder, f"/home/ada/{number}")
        transcript.user("a long text." * 300)
    eventually(lambda: len(sessions(capturing)) == 30)
    capturing.stop()
    capturing.start()
    path = capturing.home / "capture.db"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    transcript.user("after")
    captured(capturing, "a long text." * 300, "after")
    assert len(sessions(capturing)) == 30
    assert "Traceback" not in capturing.log()


@pytest.mark.parametrize("mill", ["/home/ada/mill", "/home/ada/mill/"])
def test_sessions_of_a_folder_are_those_of_its_agent(capturing, folder, mill):
    capturing.call("set_capture", name="claude", on=True, agent="cc", folders={mill: "engineer"})
    for cwd, agent in (("/home/ada/mill/deep", "engineer"), ("/home/ada/else", "cc")):
        transcript = Transcript(folder, cwd)
        transcript.user(f"in {cwd}")
        captured(capturing, f"in {cwd}", agent=agent)
    config = (capturing.home / "config.toml").read_text()
    assert "[capture.claude]" in config
    (status, *_) = capturing.call("get_capture")["tools"]
    assert (status["agent"], status["folders"]) == ("cc", {mill: "engineer"})


def test_off_and_on_again(capturing, transcript):
    transcript.user("one")
    captured(capturing, "one")
    status = capturing.call("set_capture", name="claude", on=False)
    assert (status["watching"], status["tools"][0]["on"]) == ("off", False)
    transcript.user("two")
    status = capturing.call("set_capture", name="claude", on=True)
    assert status["tools"][0]["path"] == str(transcript.path.parent.parent)
    captured(capturing, "one", "two")


def test_a_folder_that_comes_later(daemon, tmp_path):
    folder = tmp_path / "later" / "projects"
    tmp_path.joinpath("later").mkdir()
    (daemon.home / "config.toml").write_text(f'[capture.claude]\npath = "{folder}"\n')
    daemon.stop()
    daemon.start()
    assert not daemon.call("get_capture")["tools"][0]["available"]
    transcript = Transcript(folder)
    transcript.user("one")
    captured(daemon, "one")
    shutil.rmtree(folder)
    transcript = Transcript(folder)
    transcript.user("two")
    captured(daemon, "two")
    assert len(sessions(daemon)) == 2


@pytest.mark.parametrize("path", ["/none", "", ".", "relative", "/"])
def test_a_path_that_is_no_folder_of_a_tool_is_refused(daemon, path):
    with pytest.raises(pytest.RpcFailed, match=r"path: expected an? "):
        daemon.call("set_capture", name="claude", on=True, path=path)
    assert not (daemon.home / "config.toml").exists()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('[capture.codex]\non = true\npath = "/"', "its `path` is /, a whole home or disk"),
        ("[capture.aider]\non = true", "it has no `path`"),
    ],
)
def test_a_table_of_the_file_without_a_usable_folder_is_a_problem(start_daemon, table, why):
    daemon = start_daemon(config=table)
    status = daemon.call("get_capture")
    [tool] = [tool for tool in status["tools"] if tool["on"]]
    assert why in tool["problem"]
    assert (status["watching"], tool["path"], tool["scanned"]) == ("off", "", False)
    [finding] = [each for each in daemon.call("check_home")["findings"] if each["about"] == "capture"]
    assert (finding["level"], why in finding["what"]) == ("problem", True)
    assert f"port42 capture on {tool['name']} --path DIR" in finding["do"]


def test_files_that_are_no_sessions_hold_nothing_up(capturing, folder, tmp_path):
    (tmp_path / "secret.jsonl").write_text('{"type":"user"}\n')
    project = folder / "-x"
    project.mkdir()
    (project / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (project / "loop").symlink_to(project)
    os.mkfifo(project / "fifo.jsonl")
    (project / "junk.jsonl").write_bytes(os.urandom(5000) + b"\n")
    with (project / "long.jsonl").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    transcript = Transcript(folder)
    transcript.user("one")
    captured(capturing, "one")
    eventually(lambda: capturing.call("get_capture")["tools"][0]["waiting"] == 0)
    assert len(sessions(capturing)) == 1
    assert "Traceback" not in capturing.log()


def test_the_state_is_told_without_a_look_at_the_files(capturing, transcript, folder):
    transcript.user("one")
    captured(capturing, "one")

    def claude(**params):
        return capturing.call("get_capture", **params)["tools"][0]

    eventually(lambda: claude()["scanned"] and not claude()["waiting"])
    read = claude()
    assert (read["sources"], read["source_bytes"]) == (1, transcript.path.stat().st_size)
    transcript.path.unlink()
    assert claude() == read
    capturing.call("set_capture", name="claude", on=False)
    for number in range(3):
        (folder / f"{number}.jsonl").write_text("x" * number)
    off = claude()
    assert (off["sources"], off["scanned"], off["sessions"]) == (1, False, 1)
    counted = claude(count=True)
    assert (counted["sources"], counted["source_bytes"], counted["scanned"]) == (3, 3, False)


def test_doctor_says_what_is_captured_and_what_cannot_be_read(capturing, folder, transcript):
    def about():
        findings = capturing.call("check_home")["findings"]
        return [(finding["level"], finding["what"]) for finding in findings if finding["about"] == "capture"]

    transcript.user("one")
    captured(capturing, "one")
    eventually(lambda: about() == [("ok", "claude: 1 session captured from 1 file")])
    capturing.stop()
    with contextlib.closing(sqlite3.connect(capturing.home / "originals.db")) as database, database:
        database.execute("UPDATE parts SET data = substr(data, 1, length(data) - 9)")
    capturing.start()
    assert [level for level, what in about() if "damaged original" in what] == ["problem"]
    (capturing.home / "originals.db").unlink()
    with transcript.path.open("a") as file:
        file.write("no JSON\n")
    ((level, what),) = eventually(lambda: [each for each in about() if each[0] != "ok"])
    assert level == "notice"
    assert f"not all could be captured: {transcript.path}: line 2: " in what
    shutil.rmtree(folder)
    assert about()[0][1].startswith("claude: there is no folder ")
    capturing.call("set_capture", name="claude", on=False)
    assert about() == []


def restored_whole(daemon, session_id, size):
    """The answer of a restore of so many bytes. The original is kept after the records: None before that."""
    try:
        answer = daemon.call("restore_original", session_id=session_id, force=True)
    except pytest.RpcFailed:
        return None
    return answer if answer["bytes"] == size else None


def kill_while_it_grows(daemon, transcript, rounds):
    """Kills of the daemon at any moment, and of the tool, which leaves the beginning of a line."""
    chance, count = random.Random(rounds), 0
    for _ in range(rounds):
        for _ in range(20):
            transcript.user(f"message {count}")
            count += 1
        if chance.random() < 0.5:
            with transcript.path.open("rb+") as file:
                line = transcript.path.read_bytes().splitlines(keepends=True)[-1]
                file.seek(0, os.SEEK_END)
                file.write(line[: chance.randrange(1, len(line) - 1)])
        threading.Event().wait(chance.uniform(0, 0.1))  # any moment is one at which a kill may come
        daemon.kill()
        daemon.start()
    transcript.user("the end")
    session = captured(daemon, *(f"message {number}" for number in range(count)), "the end")
    data = transcript.path.read_bytes()
    eventually(lambda: daemon.call("get_capture")["tools"][0]["waiting"] == 0)
    restored = eventually(lambda: restored_whole(daemon, session["session_id"], len(data)))
    assert restored["path"] == str(transcript.path)
    assert transcript.path.read_bytes() == data


def test_kills_while_a_file_grows(capturing, transcript):
    kill_while_it_grows(capturing, transcript, 4)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_200_kills_while_a_file_grows(capturing, transcript):
    kill_while_it_grows(capturing, transcript, 200)
