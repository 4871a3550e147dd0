"""The main job as a person types it: the installed `port42`, from a machine where no daemon runs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest

SESSION = re.compile(r"^Session: (cli-\d{13})$", re.MULTILINE)
MIB = 1024 * 1024


def begun(done):
    """The id that was announced on stderr; nothing was answered on stdout."""
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    (session_id,) = SESSION.findall(done.stderr)
    return session_id


def transcript(port42, session_id):
    return [
        (record["role"], record["content"])
        for record in port42.rpc("get_session", session_id=session_id)["messages"]
    ]


def everything(home):
    """Each session's bytes: what must not change when something is refused."""
    return {path.name: path.read_bytes() for path in (home / "sessions").glob("*")}


# --- the scene ----------------------------------------------------------------------------------


def test_the_scene(fresh_user):
    port42 = fresh_user
    engineer = begun(port42("possess", "@ai-engineer", "build a parser"))
    analyst = begun(port42("possess", "@ai-analyst", "analyze this data"))
    assert engineer != analyst

    for agent, session_id in (("ai-engineer", engineer), ("ai-analyst", analyst)):
        resumed = port42("possess", f"@{agent}", "--session", "last")
        assert resumed.returncode == 0
        assert resumed.stdout == ""
        assert resumed.stderr == f"🔄 Resuming session {session_id} for @{agent} (1 message)\n"

    mapping = Path(port42.environment["HOME"], ".port42", "agent_sessions.json").read_text()
    assert mapping.strip() == f'{{\n  "ai-engineer": "{engineer}",\n  "ai-analyst": "{analyst}"\n}}'

    assert port42("daemon", "restart").returncode == 0
    onward = port42("possess", "@ai-engineer", "--session", "last", "and now a lexer")
    assert onward.returncode == 0
    assert onward.stderr.startswith(f"🔄 Resuming session {engineer} for @ai-engineer (1 message)\n")
    assert "2 messages" in onward.stderr
    assert transcript(port42, engineer) == [("user", "build a parser"), ("user", "and now a lexer")]

    nobody = port42("possess", "@ai-muse", "--session", "last")
    assert nobody.returncode == 1
    assert nobody.stdout == ""
    assert nobody.stderr == "No previous sessions found for @ai-muse\n"


def test_what_is_made_is_nobody_elses(fresh_user):
    begun(fresh_user("possess", "@ai-engineer", "hello"))
    for path in fresh_user.home.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    address = Path(fresh_user("socket-path").stdout.strip())
    assert address.is_relative_to(fresh_user.environment["XDG_RUNTIME_DIR"])
    assert stat.S_IMODE(address.stat().st_mode) == 0o600
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700


def test_a_message_that_nothing_answers_says_so_once_and_quietly(port42):
    done = port42("possess", "@ai-engineer", "build", "a", "parser")
    begun(done)
    announced, quiet = done.stderr.splitlines()
    assert SESSION.match(announced)
    assert "@ai-engineer" in quiet
    assert "1 message" in quiet


def test_last_is_last_used_whatever_was_created_later(port42):
    first = begun(port42("possess", "@ai-engineer", "first"))
    second = begun(port42("possess", "@ai-engineer", "second"))
    assert first != second
    assert port42("possess", "@ai-engineer", "-s", first, "again").returncode == 0
    assert first in port42("possess", "@ai-engineer", "-c").stderr


def test_naming_a_session_without_a_message_is_a_use(port42):
    first = begun(port42("possess", "@ai-engineer", "first"))
    begun(port42("possess", "@ai-engineer", "second"))
    assert port42("possess", "@ai-engineer", "-s", first).returncode == 0
    assert port42.rpc("get_last_session", agent="ai-engineer")["session_id"] == first


def test_references(port42):
    session_id = begun(port42("possess", "@ai-engineer", "build a parser"))
    for ref in (session_id, session_id[:8], "build a parser", "last"):
        done = port42("possess", "@ai-engineer", "--session", ref)
        assert done.returncode == 0, done.stderr
        assert session_id in done.stderr


def test_here_is_this_folders_last(port42, tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    own = begun(port42("possess", "@ai-engineer", "in a"))
    monkeypatch.chdir(tmp_path / "b")
    nothing = port42("possess", "@ai-engineer", "--here")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("No previous sessions found for @ai-engineer")
    begun(port42("possess", "@ai-engineer", "in b"))
    monkeypatch.chdir(tmp_path / "a")
    assert own in port42("possess", "@ai-engineer", "--here").stderr
    assert len(port42("sessions", "--here").stdout.splitlines()) == 1
    assert len(port42("sessions").stdout.splitlines()) == 2


# --- stdout, stderr, stdin ----------------------------------------------------------------------


def test_json_is_the_answer_and_alone_on_stdout(port42):
    done = port42("possess", "@ai-engineer", "build a parser", "--json")
    question, said = map(json.loads, done.stdout.splitlines())
    assert (question["kind"], said["kind"]) == ("message", "result")
    assert question["session_id"] == said["session_id"]
    assert (said["seq"], said["status"], said["reply"]) == (1, "recorded", None)
    resumed = port42("possess", "@ai-engineer", "--session", "last", "--json")
    assert json.loads(resumed.stdout)["session_id"] == said["session_id"]
    assert "Resuming" in resumed.stderr
    (listed,) = json.loads(port42("sessions", "--json").stdout)["sessions"]
    assert listed["session_id"] == said["session_id"]
    shown = json.loads(port42("show", said["session_id"], "--json").stdout)
    assert [record["content"] for record in shown["messages"]] == ["build a parser"]
    agents = json.loads(port42("agents", "--json").stdout)["agents"]
    assert {"ai-engineer", "ai-analyst", "ai-muse"} <= {agent["agent"] for agent in agents}
    status = json.loads(port42("status", "--json").stdout)
    assert {"pid", "version", "socket", "sessions"} <= set(status)
    while status["sessions"] is None:  # not counted yet
        status = json.loads(port42("status", "--json").stdout)
    assert status["sessions"] == 1
    os.kill(status["pid"], 0)


@pytest.mark.parametrize(
    ("words", "piped", "message", "beside"),
    [
        (["explain"], "a\nb\n", "explain", ["a\nb"]),
        ([], "only piped", "only piped", []),
        (["only typed"], "", "only typed", []),
        (["grüße"], "🐢", "grüße", ["🐢"]),
    ],
)
def test_piped_stdin_is_the_message_or_read_beside_it(port42, words, piped, message, beside):
    session_id = begun(port42("possess", "@ai-engineer", *words, stdin=piped))
    (said,) = port42.rpc("get_session", session_id=session_id)["messages"]
    assert said["content"] == message
    read = said.get("references", [])
    assert [(reference["type"], reference["target"], reference["content"]) for reference in read] == [
        ("text", "stdin", text) for text in beside
    ]


def test_no_control_characters_when_piped(port42):
    port42("possess", "@ai-engineer", "build a parser")
    for words in ([], ["sessions"], ["agents"], ["status"], ["show", "last", "-a", "ai-engineer"]):
        done = port42(*words)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert "\x1b" not in done.stdout + done.stderr


def test_debug_traces_on_stderr(port42):
    done = port42("rpc", "reload_config", env={"PORT42_DEBUG": "1"})
    sent, received = (line for line in done.stderr.splitlines() if line[0] in "→←")
    assert json.loads(sent[2:])["method"] == "reload_config"
    assert json.loads(received[2:])["result"] == json.loads(done.stdout)


def test_rpc(port42):
    made = port42("rpc", "create_session", "agent=@ai-engineer", "session_id=parser-1", 'metadata={"a": 1}')
    assert json.loads(made.stdout)["session_id"] == "parser-1"
    again = port42("rpc", "create_session", '["ai-engineer", "parser-1"]')
    assert again.returncode == 1
    assert again.stdout == ""
    assert json.loads(again.stderr)["code"] == 1009
    found = port42("rpc", "get_session", '{"session_id": "parser-1"}')
    assert json.loads(found.stdout)["metadata"] == {"a": 1}
    described = json.loads(port42("rpc", "rpc.discover").stdout)
    assert "possess" in {method["name"] for method in described["methods"]}
    assert json.loads(port42("rpc", "no_such_method").stderr)["code"] == -32601


# --- what is refused, and changes nothing -------------------------------------------------------


@pytest.fixture
def two_sessions(port42):
    for name in ("parser-1", "parser-2"):
        port42.rpc("create_session", agent="ai-engineer", session_id=name, title=f"title of {name}")
    return everything(port42.home)


def test_a_session_of_another_agent(port42, two_sessions):
    done = port42("possess", "@ai-analyst", "--session", "parser-1", "mine now")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "belongs to @ai-engineer" in done.stderr
    assert everything(port42.home) == two_sessions
    assert port42.rpc("get_last_session", agent="ai-engineer")["session_id"] == "parser-2"


def test_a_prefix_of_two_lists_both(port42, two_sessions):
    done = port42("possess", "@ai-engineer", "--session", "pars", "which?")
    assert done.returncode == 1
    for name in ("parser-1", "parser-2"):
        assert name in done.stderr
        assert f"title of {name}" in done.stderr
    assert everything(port42.home) == two_sessions


def test_an_unknown_agent_is_told_the_nearest_name_and_how_to_add_it(port42):
    done = port42("possess", "@ai-enginer", "hello")
    assert done.returncode == 1
    assert "@ai-engineer" in done.stderr
    assert "port42 agents add ai-enginer" in done.stderr
    assert json.loads(port42("sessions", "--json").stdout)["sessions"] == []
    assert port42("agents", "add", "ai-enginer", "--system", "You misspell.").returncode == 0
    begun(port42("possess", "@ai-enginer", "hello"))


@pytest.mark.parametrize(
    ("name", "code"), [("a/b", 2), ("an agent", 2), ("a" * 65, 2), ("@a/b", 1), ("@@x", 1), ("", 1)]
)
def test_names_that_are_none(port42, name, code):
    done = port42("possess", name, "hello")
    assert done.returncode == code
    assert "agent" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert json.loads(port42("sessions", "--json").stdout)["sessions"] == []


@pytest.mark.parametrize("ref", ["..", "../agent_sessions", "/etc/passwd", "x" * 10_000, "abc"])
def test_references_that_reach_nothing(port42, two_sessions, ref):
    done = port42("possess", "@ai-engineer", "--session", ref, "hello")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr) < 500
    assert everything(port42.home) == two_sessions


@pytest.mark.parametrize(
    ("size", "code", "words"), [(5 * MIB, 2, "4,194,304 bytes"), (4 * MIB - 10, 1, "4,194,304 bytes")]
)
def test_a_message_that_is_too_long(port42, size, code, words):
    done = port42("possess", "@ai-engineer", stdin="x" * size)
    assert done.returncode == code
    assert words in done.stderr
    assert json.loads(port42("sessions", "--json").stdout)["sessions"] == []


def test_a_message_of_4_mib_but_a_little(port42):
    message = "x" * (4 * MIB - 4096)
    session_id = begun(port42("possess", "@ai-engineer", stdin=message))
    assert transcript(port42, session_id) == [("user", message)]


# --- exit codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["possess"],
        ["possess", "@ai-engineer"],
        ["possess", "@ai-engineer", "--no-such-option"],
        ["possess", "@ai-engineer", "-c", "--session", "parser-1", "hello"],
        ["sessions", "-n", "0"],
        ["sessions", "--state", "asleep"],
        ["rpc", "status", "not json"],
    ],
    ids=" ".join,
)
def test_usage_is_2_and_starts_nothing(port42, words):
    done = port42(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert not port42.home.exists()


def test_no_daemon_is_69_and_never_looks_like_no_sessions(port42):
    done = port42("possess", "@ai-engineer", "--session", "last", env={"PORT42_NO_AUTOSTART": "1"})
    assert done.returncode == 69
    assert done.stdout == ""
    assert "no daemon answers" in done.stderr
    assert "sessions" not in done.stderr
    assert not port42.home.exists()


def test_a_home_that_is_no_folder_is_69(port42):
    done = port42("status", env={"PORT42_HOME": "/dev/null/home"})
    assert done.returncode == 69
    assert "/dev/null/home" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_home_that_cannot_be_written_is_69(port42):
    folder = port42.home.parent / "read-only"
    folder.mkdir(mode=0o500)
    done = port42("status", env={"PORT42_HOME": str(folder / "home")})
    assert done.returncode == 69
    assert str(folder / "home") in done.stderr
    assert list(folder.iterdir()) == []


def test_a_file_in_the_sockets_place_is_69_and_stays(port42):
    address = Path(port42.environment["PORT42_SOCKET"])
    address.write_text("precious")
    done = port42("status")
    assert done.returncode == 69
    assert str(address) in done.stderr
    assert "not a socket" in done.stderr
    assert address.read_text() == "precious"


def test_another_program_on_the_socket_is_69(port42):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(port42.environment["PORT42_SOCKET"])
        other.listen()
        other.settimeout(60)
        asking = port42.start("status")
        peer, _ = other.accept()
        with peer:
            assert b'"status"' in peer.recv(4096)
            peer.sendall(b"220 mail.example ESMTP\r\n")
            stdout, stderr = asking.communicate(timeout=60)
    assert asking.returncode == 69
    assert stdout == ""
    assert "JSON-RPC" in stderr


def test_a_socket_path_that_is_too_long_is_69(port42):
    done = port42("status", env={"PORT42_SOCKET": "/tmp/" + "x" * 120})
    assert done.returncode == 69
    assert "103" in done.stderr
    assert not Path("/tmp/" + "x" * 120).exists()


def test_an_open_folder_for_the_socket_is_69(port42):
    folder = port42.home.parent / "open"
    folder.mkdir()
    folder.chmod(0o755)
    done = port42("status", env={"PORT42_SOCKET": str(folder / "s")})
    assert done.returncode == 69
    assert "open to others" in done.stderr


def test_ctrl_c_is_130(port42):
    """While a daemon that was stopped in its tracks does not answer."""
    pid = json.loads(port42("status", "--json").stdout)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        waiting = port42.start("status", env={"PORT42_DEBUG": "1"})
        assert waiting.stderr.readline().startswith("→")  # it was sent
        waiting.send_signal(signal.SIGINT)
        stdout, stderr = waiting.communicate(timeout=60)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert waiting.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr


def test_a_reader_that_leaves_is_no_error_with_a_traceback(port42):
    begun(port42("possess", "@ai-engineer", stdin="x\n" * 500_000))
    showing = port42.start("show", "last", "-a", "ai-engineer")
    assert showing.stdout.read(1)
    showing.stdout.close()
    assert "Traceback" not in showing.stderr.read()
    assert showing.wait(timeout=60) in {0, 1, 141}


# --- the daemon, by hand and by itself ----------------------------------------------------------


def test_start_stop_restart_logs(port42):
    stopped = port42("daemon", "stop")
    assert (stopped.returncode, stopped.stderr) == (0, "port42d is not running\n")

    started = port42("daemon", "start")
    (pid,) = re.findall(r"^port42d started \(pid (\d+)\)$", started.stderr, re.MULTILINE)
    again = port42("daemon", "start")
    assert (again.returncode, again.stderr) == (0, f"port42d is running already (pid {pid})\n")
    session_id = begun(port42("possess", "@ai-engineer", "hello"))

    restarted = port42("daemon", "restart")
    (new,) = re.findall(r"^port42d started \(pid (\d+)\)$", restarted.stderr, re.MULTILINE)
    assert new != pid
    assert json.loads(port42("status", "--json").stdout)["pid"] == int(new)
    assert transcript(port42, session_id) == [("user", "hello")]

    logs = port42("daemon", "logs")
    assert logs.returncode == 0
    assert f"📌 ai-engineer → {session_id}" in logs.stdout
    assert port42("daemon", "logs", "-n", "1").stdout in logs.stdout

    assert port42("daemon", "stop").stderr == f"port42d stopped (pid {new})\n"
    assert not Path(port42.environment["PORT42_SOCKET"]).exists()
    assert not (port42.home / "daemon.json").exists()


def test_logs_are_followed_until_ctrl_c(port42):
    assert port42("daemon", "start").returncode == 0
    following = port42.start("daemon", "logs", "-f", "-n", "1")
    assert following.stdout.readline()  # what was there
    session_id = begun(port42("possess", "@ai-muse", "hello"))
    assert f"📌 ai-muse → {session_id}" in following.stdout.readline()
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    assert following.returncode == 130


def test_the_daemon_in_the_foreground(port42):
    running = port42.start("daemon", "run")
    assert "listens at" in running.stderr.readline()
    status = json.loads(port42("status", "--json", env={"PORT42_NO_AUTOSTART": "1"}).stdout)
    assert status["pid"] == running.pid
    second = port42("daemon", "run")
    assert second.returncode == 1
    assert f"already running (pid {running.pid})" in second.stderr
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "Traceback" not in stderr


def test_after_kill_9_the_next_command_works(port42):
    session_id = begun(port42("possess", "@ai-engineer", "before"))
    os.kill(json.loads(port42("status", "--json").stdout)["pid"], signal.SIGKILL)
    onward = port42("possess", "@ai-engineer", "--session", "last", "after")
    assert onward.returncode == 0, onward.stderr
    assert session_id in onward.stderr
    assert transcript(port42, session_id) == [("user", "before"), ("user", "after")]


def at_once(port42, count):
    """So many commands started together; their sessions, and how many daemons were started for them."""
    log = port42.home / "daemon.log"
    before = log.read_text().count("listens at") if log.exists() else 0
    commands = [port42.start("possess", "@ai-engineer", f"message {n}") for n in range(count)]
    ended = [(*command.communicate(timeout=120), command.returncode) for command in commands]
    assert [(code, stderr) for _, stderr, code in ended if code] == []
    sessions = [SESSION.findall(stderr) for _, stderr, _ in ended]
    return [session for found in sessions for session in found], log.read_text().count("listens at") - before


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.torture)])
def test_20_commands_at_once_start_one_daemon(port42, rounds):
    """From nothing, and then after a kill -9 and a clean stop in turn."""
    sessions = set()
    for number in range(rounds):
        begun_now, daemons = at_once(port42, 20)
        assert daemons == 1
        sessions |= set(begun_now)
        assert len(sessions) == 20 * (number + 1)
        pid = json.loads(port42("status", "--json").stdout)["pid"]
        if number % 2 == 0:
            os.kill(pid, signal.SIGKILL)
        else:
            assert port42("daemon", "stop").returncode == 0
    listed = json.loads(port42("sessions", "-n", "1000", "--json").stdout)["sessions"]
    assert {session["session_id"] for session in listed} == sessions
    assert all(session["message_count"] == 1 for session in listed)
