"""Capture of a tool's files by a real daemon: new lines reach their session, once, whatever the tool does."""

from __future__ import annotations

import os
import shutil
import sys
import time

import pytest
from peers import claude_cli, llm_database
from peers.claude_code import Transcript

from port42_daemon.transfer.capture.originals import Damaged, Originals


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claude" / "projects"


@pytest.fixture
def capturing(daemon, folder):
    """A daemon that captures Claude Code's sessions in `folder`."""
    folder.mkdir(parents=True)
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    return daemon


def eventually(look, seconds=10.0):
    """The first true value of `look`: capture is asynchronous, and this is how a client sees it."""
    until = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.01)
    return value


def sessions(daemon, agent="claude"):
    return daemon.call("list_sessions", agent=agent)["sessions"]


def texts(daemon, session_id):
    page = daemon.call("get_session", session_id=session_id, limit=10_000)
    return [message["content"] for message in page["messages"]]


def captured(daemon, *expected, agent="claude"):
    """The session, once it has these messages."""

    def look():
        for session in sessions(daemon, agent):
            if texts(daemon, session["session_id"]) == list(expected):
                return session
        return None

    try:
        return eventually(look)
    except AssertionError as error:
        error.add_note(f"{[texts(daemon, session['session_id']) for session in sessions(daemon, agent)]}")
        error.add_note(f"{daemon.call('get_capture')['tools'][0]}\n{daemon.log()[-3000:]}")
        raise


@pytest.fixture
def transcript(folder):
    return Transcript(folder)


def test_what_a_tool_writes_is_in_its_session(capturing, transcript):
    transcript.user("build a parser")
    transcript.assistant("I build it.")
    session = captured(capturing, "build a parser", "I build it.")
    assert (session["agent"], session["cwd"]) == ("claude", "/home/ada/work")
    transcript.user("and a lexer")
    again = captured(capturing, "build a parser", "I build it.", "and a lexer")
    assert again["session_id"] == session["session_id"]
    assert capturing.call("get_last_session", agent="claude")["session_id"] == session["session_id"]
    assert "Traceback" not in capturing.log()


def test_subscribers_and_the_search_have_it_within_a_second(capturing, transcript):
    with capturing.connect() as peer:
        peer.sendall(b'{"jsonrpc":"2.0","method":"subscribe","params":{"agent":"claude"},"id":1}\n')
        lines = peer.makefile("rb")
        lines.readline()
        transcript.user("an extraordinary parser")
        begun = time.monotonic()
        assert b"an extraordinary parser" in lines.readline()
        eventually(lambda: capturing.call("search_sessions", query="extraordinary")["hits"])
        assert time.monotonic() - begun < 1 + 4 * os.getloadavg()[0] / (os.cpu_count() or 1)


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


def test_sessions_of_a_folder_are_those_of_its_agent(capturing, folder):
    capturing.call("set_capture", name="claude", on=True, agent="cc", folders={"/home/ada/mill": "engineer"})
    for cwd, agent in (("/home/ada/mill/deep", "engineer"), ("/home/ada/else", "cc")):
        transcript = Transcript(folder, cwd)
        transcript.user(f"in {cwd}")
        captured(capturing, f"in {cwd}", agent=agent)
    config = (capturing.home / "config.toml").read_text()
    assert "[capture.claude]" in config
    (status, *_) = capturing.call("get_capture")["tools"]
    assert (status["agent"], status["folders"]) == ("cc", {"/home/ada/mill": "engineer"})


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


def test_a_sub_agent_is_a_session_below_its_parent(capturing, transcript):
    transcript.user("ask a helper")
    main = captured(capturing, "ask a helper")
    path = transcript.path.with_suffix("") / "subagents" / "agent-abc.jsonl"
    path.parent.mkdir(parents=True)
    sub = Transcript(transcript.path.parent.parent)
    sub.id, sub.path = transcript.id, path
    sub.add("user", "look there", isSidechain=True, agentId="abc")
    sub.add("assistant", [{"type": "text", "text": "found"}], isSidechain=True, agentId="abc")
    below = eventually(lambda: capturing.call("list_sessions", parent=main["session_id"])["sessions"])
    eventually(lambda: texts(capturing, below[0]["session_id"]) == ["look there", "found"])
    assert [session["session_id"] for session in sessions(capturing)] == [main["session_id"]]
    assert capturing.call("get_last_session", agent="claude")["session_id"] == main["session_id"]


def test_a_fork_that_the_tool_made_is_a_fork(capturing, folder, transcript):
    transcript.user("one")
    transcript.assistant("two")
    original = captured(capturing, "one", "two")
    fork = Transcript(folder)
    lines = transcript.path.read_text().replace(transcript.id, fork.id)
    fork.path.write_text(lines)
    fork.user("another way")
    session = captured(capturing, "one", "two", "another way")
    assert session["forked_from"] == {"session_id": original["session_id"], "seq": 2}
    (counted,) = capturing.call("stats")["agents"]
    assert (counted["user_messages"], counted["assistant_messages"]) == (2, 1)


def test_of_what_was_there_before_the_copy_is_the_fork(daemon, folder):
    folder.mkdir(parents=True)
    for number in range(8):
        original, fork = Transcript(folder), Transcript(folder)
        original.user(f"one {number}")
        fork.path.write_text(original.path.read_text().replace(original.id, fork.id))
        fork.user(f"another way {number}")
        os.utime(original.path, (1, 1))
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    found = eventually(lambda: found if len(found := sessions(daemon)) == 16 else None)
    assert [s["message_count"] for s in found if s["forked_from"]] == [2] * 8


def test_forks_of_long_sessions_leave_them_behind_all_that_they_copied(daemon, folder):
    folder.mkdir(parents=True)
    for _ in range(3):
        original, fork = Transcript(folder), Transcript(folder)
        for number in range(2500):
            original.user(f"message {number}")
        fork.path.write_text(original.path.read_text().replace(original.id, fork.id))
        fork.user("another way")
        os.utime(original.path, (1, 1))
    daemon.call("set_capture", name="claude", on=True, path=str(folder))
    eventually(lambda: sum(session["message_count"] for session in sessions(daemon)) == 15_003, 30)
    assert [s["forked_from"]["seq"] for s in sessions(daemon) if s["forked_from"]] == [2500] * 3
    eventually(lambda: daemon.call("stats")["agents"][0]["user_messages"] == 7503)


def test_what_was_said_while_a_session_was_in_the_trash_comes_with_it(capturing, transcript):
    transcript.user("one")
    session_id = captured(capturing, "one")["session_id"]
    capturing.call("delete_session", session_id=session_id)
    transcript.user("two")

    def state():
        return capturing.call("get_capture")["tools"][0]

    eventually(lambda: state()["source_bytes"] == transcript.path.stat().st_size and not state()["waiting"])
    capturing.stop()
    capturing.start()
    assert state()["problem"] is None
    assert sessions(capturing) == []
    capturing.call("restore_session", session_id=session_id)
    captured(capturing, "one", "two")


def test_an_original_is_restored_where_its_tool_looks_for_it(capturing, transcript):
    for number in range(3):
        transcript.user(f"message {number}")
        session = captured(capturing, *(f"message {n}" for n in range(number + 1)))
    data = transcript.path.read_bytes()
    session_id = session["session_id"]
    with pytest.raises(pytest.RpcFailed, match="force"):
        capturing.call("restore_original", session_id=session_id)
    shutil.rmtree(transcript.path.parent)
    restored = capturing.call("restore_original", session_id=session_id, agent="claude")
    assert (restored["path"], restored["bytes"]) == (str(transcript.path), len(data))
    assert restored["resume"] == ["claude", "--resume", transcript.id]
    assert transcript.path.read_bytes() == data
    transcript.path.write_bytes(b"other")
    capturing.call("restore_original", session_id=session_id, force=True)
    assert transcript.path.read_bytes() == data
    transcript.user("after")
    captured(capturing, "message 0", "message 1", "message 2", "after")
    for path in (capturing.home / "originals").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_session_without_an_original(capturing):
    session_id = capturing.call("create_session", agent="claude")["session_id"]
    with pytest.raises(pytest.RpcFailed, match="a captured session whose original is kept"):
        capturing.call("restore_original", session_id=session_id)


def test_doctor_says_what_is_captured_and_what_cannot_be_read(capturing, folder, transcript):
    def about():
        findings = capturing.call("check_home")["findings"]
        return [(finding["level"], finding["what"]) for finding in findings if finding["about"] == "capture"]

    transcript.user("one")
    captured(capturing, "one")
    eventually(lambda: about() == [("ok", "claude: 1 sessions from 1 sources")])
    (original,) = (capturing.home / "originals").rglob("*.z")
    data = original.read_bytes()
    original.write_bytes(data[:-9])
    assert [level for level, what in about() if "are damaged" in what] == ["problem"]
    original.write_bytes(data)
    with transcript.path.open("a") as file:
        file.write("no JSON\n")
    ((level, what),) = eventually(lambda: [each for each in about() if each[0] != "ok"])
    assert level == "notice"
    assert f"not all could be read: {transcript.path}: line 2: " in what
    shutil.rmtree(folder)
    assert about()[0][1].startswith("claude: there is no folder ")
    capturing.call("set_capture", name="claude", on=False)
    assert about() == []


def kill_while_it_grows(daemon, transcript, rounds):
    count = 0
    for _ in range(rounds):
        for _ in range(20):
            transcript.user(f"message {count}")
            count += 1
        daemon.kill()
        daemon.start()
    session = captured(daemon, *(f"message {number}" for number in range(count)))
    data = transcript.path.read_bytes()
    restored = eventually(
        lambda: (
            (answer := daemon.call("restore_original", session_id=session["session_id"], force=True))["bytes"]
            == len(data)
            and answer
        )
    )
    assert restored["path"] == str(transcript.path)
    assert transcript.path.read_bytes() == data


def test_kills_while_a_file_grows(capturing, transcript):
    kill_while_it_grows(capturing, transcript, 4)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_200_kills_while_a_file_grows(capturing, transcript):
    kill_while_it_grows(capturing, transcript, 200)


def kept_bytes(daemon):
    """How much is kept of all sources; what is being written is not whole."""
    originals = Originals(daemon.home)
    try:
        return sum(len(part) for original in originals.all() for part in originals.data(original))
    except (OSError, Damaged):
        return 0


def test_what_was_captured_can_be_read_again_when_its_file_is_gone(capturing, folder):
    transcript = Transcript(folder)
    transcript.user("build a parser")
    transcript.assistant({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}})
    transcript.add("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "a.py"}])
    transcript.assistant("I build it.")
    (session,) = eventually(lambda: sessions(capturing))
    session_id = session["session_id"]
    eventually(lambda: len(texts(capturing, session_id)) == 2)
    size = transcript.path.stat().st_size
    eventually(lambda: kept_bytes(capturing) == size)
    assert capturing.call("import_sessions", again=True)["unchanged"] == 1
    transcript.path.unlink()
    file = capturing.home / "sessions" / f"{session_id}.json"
    whole = file.read_bytes()
    lines = [line for line in whole.splitlines(keepends=True) if b'"event":"tool"' not in line]
    file.write_bytes(b"".join(lines))  # as a reader without tool calls would have left it
    (rewritten,) = capturing.call("import_sessions", again=True)["imported"]
    assert (rewritten["session_id"], rewritten["change"]) == (session_id, "rewritten")
    records = capturing.call("get_session", session_id=session_id, events=True)["messages"]
    assert [record["role"] for record in records] == ["user", "tool", "assistant"]
    assert records[2]["turn"]["native_id"] == transcript.id
    assert capturing.call("import_sessions", again=True)["unchanged"] == 1


# --- turns of Port42 that the tool answers ------------------------------------------------------------


@pytest.fixture
def answered(capturing, folder, tmp_path):
    """A daemon with an agent that a program answers as Claude Code does; its transcripts are captured."""
    command = f'"{sys.executable}", "{claude_cli.__file__}", "{folder}"'
    with (capturing.home / "config.toml").open("a") as file:
        file.write(
            f"[backends.claude]\ntype = 'command'\ncommand = [{command}]\n"
            f"resume = [{command}, '--resume', '{{native_id}}']\nparser = 'claude'\nhistory = 'native'\n"
            "[agents.claude]\nbackend = 'claude'\n"
        )
    return capturing


def everything(daemon, session_id):
    """The session's messages and tool calls."""
    page = daemon.call("get_session", session_id=session_id, limit=10_000, events=True)
    shown = [record for record in page["messages"] if record["role"] in {"user", "assistant", "tool"}]
    return [(record["role"], record.get("content", record.get("title"))) for record in shown]


def turn(text):
    return [("user", text), ("assistant", "I look."), ("tool", "ls"), ("assistant", f"Done with {text}")]


def becomes(daemon, session_id, expected):
    try:
        eventually(lambda: everything(daemon, session_id) == expected)
    except AssertionError as error:
        error.add_note(f"{everything(daemon, session_id)}\n{daemon.log()[-2000:]}")
        raise


def test_what_a_turn_records_is_not_captured_again(answered, folder):
    first = answered.call("possess", agent="claude", message="build a parser")
    session_id = first["session_id"]
    second = answered.call("possess", agent="claude", session_id=session_id, message="and a lexer")
    assert second["status"] == "answered"
    both = [*turn("build a parser"), *turn("and a lexer")]
    assert everything(answered, session_id) == both
    (path,) = folder.rglob("*.jsonl")
    transcript = Transcript(folder, path.parent.name)
    transcript.path = path
    transcript.resume(path.stem)
    transcript.user("typed in the tool")
    becomes(answered, session_id, [*both, ("user", "typed in the tool")])
    assert [session["session_id"] for session in sessions(answered)] == [session_id]
    third = answered.call("possess", agent="claude", session_id=session_id, message="go on")
    assert third["status"] == "answered"
    transcript.resume(path.stem)
    transcript.user("the end")
    whole = [*both, ("user", "typed in the tool"), *turn("go on"), ("user", "the end")]
    becomes(answered, session_id, whole)
    assert [session["session_id"] for session in sessions(answered)] == [session_id]
    assert "Traceback" not in answered.log()


def test_a_captured_session_is_continued_by_port42_in_the_tool(answered, folder, tmp_path):
    transcript = Transcript(folder, str(tmp_path))
    transcript.user("begun in the tool")
    session = captured(answered, "begun in the tool")
    reply = answered.call(
        "possess", agent="claude", session_id=session["session_id"], message="continued here"
    )
    assert reply["status"] == "answered"
    transcript.resume(transcript.id)
    transcript.user("and there")
    whole = [("user", "begun in the tool"), *turn("continued here"), ("user", "and there")]
    becomes(answered, session["session_id"], whole)
    assert len(sessions(answered)) == 1


# --- documents: databases and files that are written whole ----------------------------------------------


def test_a_database_that_grows(daemon, tmp_path):
    path = tmp_path / "logs.db"
    llm_database.old(path, {"c1": [("one", "eins")]})
    daemon.call("set_capture", name="llm", on=True, path=str(tmp_path))
    captured(daemon, "be brief", "one", "eins", agent="llm")
    llm_database.old(path, {"c1": [("one", "eins"), ("two", "zwei")], "c2": [("three", "drei")]})
    captured(daemon, "be brief", "one", "eins", "two", "zwei", agent="llm")
    captured(daemon, "be brief", "three", "drei", agent="llm")
    assert len(sessions(daemon, "llm")) == 2


def test_a_file_that_is_written_whole(daemon, tmp_path):
    path = tmp_path / "chat.yaml"
    first = "model: m\nmessages:\n- role: user\n  content: yes\n- role: assistant\n  content: good\n"
    path.write_text(first)
    daemon.call("set_capture", name="aichat", on=True, path=str(tmp_path))
    captured(daemon, "yes", "good", agent="aichat")
    path.write_text(first + "- role: user\n  content: 'yes'\n")
    captured(daemon, "yes", "good", "yes", agent="aichat")
    path.write_text(first)
    path.write_text(first + "- role: user\n  content: 'yes'\n- role: assistant\n  content: bye\n")
    captured(daemon, "yes", "good", "yes", "bye", agent="aichat")
    assert len(sessions(daemon, "aichat")) == 1
