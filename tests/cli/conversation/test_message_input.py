"""What is read of stdin: pipes that stay open, files that another program reads, closed streams."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess

import click
import pytest
from peers.cli_fixtures import COMMAND

from port42_cli.conversation import message_input as subject
from port42_client.errors import BadInput

BESIDE = {"type": "text", "target": "stdin"}


@pytest.fixture
def stdin(monkeypatch):
    """Gives the writing end of a pipe that is stdin."""
    monkeypatch.setattr(subject, "FIRST_BYTE", 0.05)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        yield pipe


@pytest.fixture
def notices(monkeypatch):
    """The notices that are shown; each is followed by the next of the calls in `notices.then`."""

    class Notices(list):
        then = ()

        def append(self, text):
            super().append(text)
            if self.then:
                step, *self.then = self.then
                step()

    notices = Notices()
    monkeypatch.setattr(subject.streams, "notice", notices.append)
    return notices


def test_beside_a_message_a_silent_pipe_is_not_waited_for(stdin, notices):
    assert subject.message(("hello", "you")) == ("hello you", [])
    assert [text.split(" for ")[0] for text in notices] == ["stdin brought nothing"]


def test_with_wait_a_silent_pipe_is_waited_for(stdin, notices):
    notices.then = [lambda: (stdin.write(b"late"), stdin.close())]
    assert subject.message(("look",), wait=True) == ("look", [{**BESIDE, "content": "late"}])
    waiting, read = notices
    assert waiting.startswith("Reading what goes beside the message from stdin until it is closed")
    assert read.startswith("Read 4 bytes of stdin beside the message")


def test_a_pipe_with_data_is_read_to_its_end(stdin, notices):
    stdin.write(b"one ")
    notices.then = [lambda: (stdin.write(b"two"), stdin.close())]
    assert subject.message(("look",)) == ("look", [{**BESIDE, "content": "one two"}])
    assert "until it is closed" in notices[0]


def test_a_piped_message_is_waited_for_with_a_notice(stdin, notices):
    notices.then = [lambda: (stdin.write(b"the message\n"), stdin.close())]
    assert subject.message(()) == ("the message", [])
    assert [text.split(";")[0] for text in notices] == ["Reading the message from stdin until it is closed"]


@pytest.mark.parametrize("non_blocking", [False, True])
def test_a_socket_is_read_as_a_pipe(monkeypatch, non_blocking):
    """As under inetd and some editors."""
    writer, reader = socket.socketpair()
    with writer, reader:
        os.set_blocking(reader.fileno(), not non_blocking)
        monkeypatch.setattr("sys.stdin", reader)
        writer.sendall(b"x" * 100_000)
        writer.shutdown(socket.SHUT_WR)
        assert subject.message(("look",))[1][0]["content"] == "x" * 100_000


@pytest.mark.parametrize(("words", "limit"), [((), subject.REQUEST_LIMIT), (("x",), subject.REFERENCE_LIMIT)])
def test_too_much_input_is_refused(monkeypatch, tmp_path, words, limit):
    path = tmp_path / "much"
    path.write_bytes(b"x" * (limit + 1))
    with path.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        with pytest.raises(BadInput, match="expected at most"):
            subject.message(words)


def test_input_that_is_not_utf_8_is_refused(stdin):
    stdin.write(b"caf\xe9")
    stdin.close()
    with pytest.raises(BadInput, match="byte 3 is not"):
        subject.message(())


def test_a_reference_has_a_known_type_and_a_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert subject.reference("file:x") == {"type": "file", "target": str(tmp_path / "x")}
    for wrong in ("x", "file:", "mail:x"):
        with pytest.raises(click.UsageError, match="--ref: expected"):
            subject.reference(wrong)


# --- as a shell does it ---------------------------------------------------------------------------


def shell(script, **options):
    command = script.replace("port42", " ".join(COMMAND))
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.mark.parametrize("number", [1, 3])
def test_each_line_of_a_file_is_a_message_of_its_own(port42, tmp_path, number):
    lines = tmp_path / "lines"
    lines.write_text("".join(f"line {n}\n" for n in range(number)))
    done = shell('while read -r line; do port42 possess @ai-muse "$line"; done < ' + str(lines))
    assert "beside" not in done.stderr
    titles = {row.split("\t")[-1] for row in port42("sessions").stdout.splitlines()}
    assert titles == {f"line {n}" for n in range(number)}


def test_a_notice_says_that_a_loops_pipe_was_read(port42):
    done = shell('printf "one\\ntwo\\n" | while read -r line; do port42 possess @ai-muse "$line"; done')
    assert "Read 4 bytes of stdin beside the message" in done.stderr
    assert len(port42("sessions").stdout.splitlines()) == 1


def test_a_pipe_that_stays_open_does_not_hold_a_message(port42, process):
    child = process([*COMMAND, "possess", "@ai-muse", "here"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.wait(60) == 0
    assert b"stdin brought nothing" in child.stderr.read()
    assert port42("sessions").stdout.endswith("\there\n")


EACH_WAY = [">&-", "2>&-", "<&-", ">&- 2>&- <&-"]


@pytest.mark.parametrize("closed", EACH_WAY)
def test_a_message_is_recorded_whatever_stream_is_closed(port42, closed):
    done = shell(f"port42 possess @ai-muse hello {closed}")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert port42("sessions").stdout.endswith("\thello\n")


def test_with_stdout_closed_a_notice_says_where_the_reply_is(port42, home):
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        '[agents.shout]\nbackend = "tr"\n[backends.tr]\ntype = "command"\ncommand = ["tr", "a-z", "A-Z"]\n'
    )
    done = shell("port42 possess @shout hello >&-")
    assert done.returncode == 0
    shown = re.search(r"the reply is in port42 show (\S+)", done.stderr)
    assert "HELLO" in port42("show", shown[1]).stdout


@pytest.mark.parametrize(
    "typed", ["sessions", "status --json", "agents", "--help", "rpc status", "socket-path", "completion bash"]
)
def test_with_stdout_closed_a_command_that_prints_fails(port42, typed):
    port42.begin("@ai-muse", "hello")
    done = shell(f"port42 {typed} >&-")
    assert (done.returncode, done.stderr) == (1, "Error: cannot write the answer: stdout is closed\n")
    assert shell(f"port42 {typed} <&-").returncode == 0
    assert shell(f"port42 {typed} >&- 2>&- <&-").returncode == 1


@pytest.mark.parametrize(
    "typed",
    [
        ["possess", "@ai-muse", "- [ ] milk"],
        ["possess", "@ai-muse", "--why"],
        ["possess", "@ai-muse", "-sorry, no"],
        ["possess", "@ai-muse", "-help me"],
        ["possess", "@ai-muse", "--session was lost"],
        ["rename", "x", "-5 degrees"],
        ["rename", "x", "-all of it"],
    ],
)
def test_the_error_for_a_text_that_begins_with_a_dash_names_the_two_dashes(port42, home, typed):
    done = port42(*typed)
    assert done.returncode == 2
    assert f"go after --: port42 {typed[0]} … -- '-text'" in done.stderr
    assert not home.exists()


def test_an_options_value_may_have_blanks(port42):
    port42.begin("@ai-muse", "an old title")
    for typed in (["-s", "an old title"], ["--session=an old title"], ["--session", "an old title"]):
        assert "Resuming" in port42("possess", "@ai-muse", *typed, "more").stderr


def test_after_two_dashes_a_dash_begins_a_message(port42):
    assert port42("possess", "@ai-muse", "--", "- [ ] buy milk").returncode == 0
    messages = port42.json("show", "last", "-a", "ai-muse", "--json")["messages"]
    assert messages[0]["content"] == "- [ ] buy milk"
