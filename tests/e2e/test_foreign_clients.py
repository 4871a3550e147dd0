"""Clients that Port42 did not write, each with its own framing and parser, talk to a running daemon."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jsonrpcclient import Error, Ok, notification_json, parse, parse_json, request, request_json
from peers import tools

PEERS = Path(__file__).parent.parent / "peers"
WORK = Path(__file__).parent.parent.parent / ".work"
PATIENCE = 60


def tool(name):
    """The path of a program that not every machine has."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command, given=""):
    done = subprocess.run(
        list(map(str, command)), input=given.encode(), capture_output=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


CREATE = request_json(
    "create_session", params={"agent": "ai-engineer", "session_id": "foreign-1"}, id="text id"
)
APPEND = request_json("append_message", params=("ai-engineer", "foreign-1", "user", "grüße 🐢"), id=2)


def assert_created_and_appended(responses):
    """In any order: requests that are sent at once wait for the disk together."""
    results = {response["id"]: response["result"] for response in responses}
    assert results.keys() == {"text id", 2}
    assert results["text id"]["session_id"] == "foreign-1"
    assert results[2] == {"session_id": "foreign-1", "seq": 1}


def test_jsonrpcclient_over_a_plain_socket(daemon):
    with daemon.connect() as peer, peer.makefile("rwb") as stream:

        def tell(line):
            stream.write(line.encode() + b"\n")
            stream.flush()

        def ask(line):
            tell(line)
            return parse_json(stream.readline())

        created = ask(CREATE)
        assert isinstance(created, Ok)
        assert created.id == "text id"
        assert created.result["agent"] == "ai-engineer"
        tell(notification_json("append_message", params=("ai-engineer", "foreign-1", "user", "quietly")))
        assert ask(APPEND) == Ok({"session_id": "foreign-1", "seq": 2}, 2)
        match ask(request_json("get_last_session", params={"agent": "ai-muse"}, id=3)):
            case Error(code, message, data, identity):
                assert (code, message, identity) == (1001, "No sessions found for ai-muse", 3)
                assert data == {"kind": "no_sessions", "retryable": False, "agent": "ai-muse"}
            case other:
                pytest.fail(f"no error: {other}")
        batch = [request("get_last_session", params={"agent": "ai-engineer"}), request("status")]
        tell(json.dumps(batch))
        answers = list(parse(json.loads(stream.readline())))
    assert all(isinstance(answer, Ok) for answer in answers)
    assert {answer.id for answer in answers} == {request["id"] for request in batch}


def test_socat(daemon):
    # -t: how long it stays after its stdin ended; the daemon hangs up long before.
    command = (tool("socat"), "-t", PATIENCE, "-", f"UNIX-CONNECT:{daemon.socket}")
    assert_created_and_appended(run(*command, given=f"{CREATE}\n{APPEND}\n"))


def test_socat_without_a_newline_at_the_end(daemon):
    command = (tool("socat"), "-t", PATIENCE, "-", f"UNIX-CONNECT:{daemon.socket}")
    assert_created_and_appended(run(*command, given=f"{CREATE}\r\n{APPEND}"))


def test_netcat(daemon, process):
    """Kept open as a person would: netcats differ in what they do when their stdin ends."""
    shown = subprocess.run([tool("nc"), "-h"], capture_output=True, check=False, timeout=PATIENCE)
    if b"U" not in (shown.stdout + shown.stderr).partition(b"usage")[2].partition(b"]")[0]:
        pytest.skip("this nc knows no Unix sockets (-U)")
    nc = process(["nc", "-U", str(daemon.socket)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    responses = []
    for line in (CREATE, APPEND):
        nc.stdin.write(line.encode() + b"\n")
        nc.stdin.flush()
        responses.append(json.loads(nc.stdout.readline()))
    assert_created_and_appended(responses)


def test_perl(daemon):
    perl = tool("perl")
    modules = [perl, "-MJSON::PP", "-MIO::Socket::UNIX", "-e", "1"]
    if subprocess.run(modules, capture_output=True, check=False, timeout=PATIENCE).returncode:
        pytest.skip("this perl came without its library")
    created, appended, got = run(perl, PEERS / "perl_client.pl", daemon.socket)
    assert [created["id"], appended["id"], got["id"]] == [1, 2, 3]
    session_id = created["result"]["session_id"]
    assert session_id.startswith("perl-")
    assert appended["result"] == {"session_id": session_id, "seq": 1}
    assert [record["content"] for record in got["result"]["messages"]] == ["naïve 🐪"]


@pytest.fixture(scope="session")
def node_client():
    """A script of ours beside installed packages, which are kept under `.work` from run to run."""
    node, npm = tool("node"), tool("npm")
    folder = WORK / "node-client"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (PEERS / "package.json").read_bytes()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test processes install once
        installed = folder / "installed.json"
        if not installed.exists() or installed.read_bytes() != wanted:
            (folder / "package.json").write_bytes(wanted)
            command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300)
            if done.returncode:
                pytest.skip(f"npm cannot install: {done.stderr.decode().strip().splitlines()[:1]}")
            installed.write_bytes(wanted)
    copies = []

    def command(name):
        # Node looks for packages beside the script, so the script goes to the packages.
        copies.append(folder / f"{os.getpid()}-{name}")
        shutil.copy(PEERS / name, copies[-1])
        return node, copies[-1]

    yield command
    for copy in copies:
        copy.unlink()


def test_jayson_of_the_node_ecosystem(daemon, node_client):
    (answers,) = run(*node_client("node_client.mjs"), daemon.socket)
    assert answers["created"]["result"]["session_id"] == "node-1"
    assert answers["appended"]["result"] == {"session_id": "node-1", "seq": 1}
    assert answers["failed"]["error"]["code"] == 1001
    assert answers["failed"]["error"]["message"] == "No sessions found for ai-muse"
    got, unknown = answers["batch"]
    contents = [record["content"] for record in got["result"]["messages"]]
    assert contents == ["grüße aus Node 🟢", "unanswered", "after it"]
    assert unknown["error"]["code"] == -32601
    assert daemon.call("find_session", ref="node-1")["state"] == "ended"


def test_vscode_jsonrpc_frames_with_content_length(daemon, node_client):
    (answers,) = run(*node_client("vscode_client.mjs"), daemon.socket)
    assert answers["created"]["session_id"] == "vscode-1"
    assert answers["appended"] == {"session_id": "vscode-1", "seq": 1}
    assert (answers["failed"]["code"], answers["failed"]["data"]["kind"]) == (1001, "no_sessions")
    assert [record["content"] for record in answers["got"]["messages"]] == ["zwei\n\nZeilen 🟦"]
    assert [event["kind"] for event in answers["told"]] == ["message"]


def test_pyln_of_core_lightning_sends_no_newline_and_reads_up_to_an_empty_line(daemon):
    (answers,) = run(sys.executable, PEERS / "pyln_client.py", tools.pyln(), daemon.socket)
    assert answers["created"]["session_id"] == "pyln-1"
    assert answers["appended"] == {"session_id": "pyln-1", "seq": 1}
    assert answers["failed"]["code"] == 1001
    assert answers["several"] == [0, 1, 2]


def test_scripts_that_send_json_as_it_is(daemon):
    """Whole in one piece or cut anywhere, printed over several lines, two at once."""
    calls = [{"jsonrpc": "2.0", "id": number, "method": "status", "params": {}} for number in (1, 2)]
    for texts in (map(json.dumps, calls), [json.dumps(call, indent=2) for call in calls]):
        with daemon.connect() as peer, peer.makefile("rb") as stream:
            decoder, data = json.JSONDecoder(), ""
            for number, text in enumerate(texts, 1):
                for piece in (text[:9], text[9:]):
                    peer.sendall(piece.encode())
                while not data.endswith("\n\n"):
                    data += stream.read1(65536).decode()
                answer, end = decoder.raw_decode(data.lstrip())
                assert (answer["id"], end) == (number, len(data.strip()))
                data = ""
