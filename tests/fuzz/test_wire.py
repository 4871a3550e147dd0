"""Whatever is sent to a running daemon: documented errors, never an internal one, and it lives on."""

from __future__ import annotations

import itertools
import json
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_protocol.errors import STANDARD, InternalError
from port42_protocol.methods import METHODS

OFTEN = settings(max_examples=80)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)
SESSIONS = ["cli-1", "cli-2", "cli-none", "last", "cli-"]
VALUES = {
    "agent": st.sampled_from(["ai-muse", "@ai-muse", "ai-analyst", "nobody", "@@x", "a/b", "", "x" * 65]),
    "session_id": st.sampled_from([*SESSIONS, "..", "a/b", "x\x00", "x" * 10_000]),
    "ref": st.sampled_from([*SESSIONS, "title", "\x00"]) | st.text(max_size=200),
    "role": st.sampled_from(["user", "assistant", "system", "error", "event", ""]),
    "content": st.text(max_size=50),
    "message": st.text(max_size=50),
    "idempotency_key": st.sampled_from(["k", "", "x" * 129]) | st.text(max_size=5),
    "client": st.sampled_from(["cli", "", "a b"]),
    "cwd": st.sampled_from(["/tmp", "tmp", "/\x00"]) | st.text(max_size=5).map("/".__add__),
    "title": st.text(max_size=10),
    "metadata": st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=3),
    "count": st.booleans(),
    "state": st.sampled_from(["active", "ended", "gone"]),
    "limit": st.integers(-1, 600) | st.integers(),
    "after_seq": st.integers(-1, 5) | st.integers(),
    "events": st.booleans(),
    "cursor": st.text(max_size=40) | st.sampled_from(["MjAyNiB4", "AAAA", "IA", "ICAg"]),
    "system": st.text(max_size=30),
    "references": st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["file", "session", "text", "folder"]),
                "target": st.sampled_from(["/etc/hostname", "/dev/null", "/\x00", "x", "cli-1", ""]),
            },
            optional={"content": st.text(max_size=5), "x": ANY_JSON},
        ),
        max_size=3,
    ),
    "stream": st.booleans(),
    "detach": st.booleans(),
    "if_busy": st.sampled_from(["wait", "error", "fork", "join"]),
    "since_seq": st.integers(-1, 5) | st.integers(),
    "permission_id": st.sampled_from(["p", "", "x" * 65]),
    "option_id": st.sampled_from(["allow_once", ""]),
    "query": st.text(max_size=30)
    | st.sampled_from(['"', "agent:", "x*", "-x", "before:1", "a OR b NEAR(c)"]),
    "add": st.lists(st.text(max_size=5), max_size=3),
    "remove": st.lists(st.text(max_size=5), max_size=3),
    "tag": st.text(max_size=5),
    "pinned": st.booleans(),
    "at_seq": st.integers(-1, 5) | st.integers(),
    "to_agent": st.sampled_from(["ai-muse", "nobody", "a/b"]),
    "older_than_days": st.integers(-1, 5) | st.integers(),
    "trash_older_than_days": st.integers(-1, 5) | st.integers(),
    "dry_run": st.booleans(),
    "format": st.sampled_from(["json", "markdown", "html", "auto", "claude", "pdf"]),
    "redact": st.booleans(),
    "path": st.sampled_from(["/dev/null", "/etc/hostname", "/nowhere", "relative", "/\x00", ""]),
    "environment": st.lists(st.text(max_size=5), max_size=3),
    "fix": st.booleans(),
    "days": st.integers(-1, 5) | st.integers(),
    "parent": st.sampled_from([*SESSIONS, "a/b"]),
    "force": st.booleans(),
    "last": st.booleans(),
    "activities": st.booleans(),
    "again": st.booleans(),
    "depth": st.integers(-1, 9) | st.integers(),
    "model": st.text(max_size=5) | st.just("x" * 201),
    "backend": st.sampled_from(["echo", "none", "nothing", "a/b", ""]),
    "mode": st.sampled_from(["plan", "", "x" * 201]) | st.text(max_size=5),
    "mcp_servers": st.lists(
        st.fixed_dictionaries(
            {"name": st.text(max_size=5)},
            optional={
                "type": st.sampled_from(["stdio", "http", "sse", "ws"]),
                "command": st.just("port42-no-such-program"),
                "url": st.just("http://127.0.0.1:1/"),
                "env": st.lists(st.fixed_dictionaries({"name": st.text(max_size=3)}), max_size=2),
            },
        ),
        max_size=2,
    ),
    "generation": st.integers(-1, 5) | st.integers(),
    "grantee": st.text(max_size=10),
    "may": st.sampled_from(["read", "write", "own"]),
    "version": st.text(max_size=10),
    "needs": st.lists(st.text(max_size=8), max_size=3),
    "notifications": st.booleans(),
    "id": st.integers(0, 9),
}
NEEDED = {
    "agent",
    "session_id",
    "role",
    "content",
    "message",
    "ref",
    "permission_id",
    "query",
    "title",
    "path",
}
OMITTED = {"add_agent", "connect_agent", "remove_agent", "set_capture", "init_hub", "join_hub"}
"""Left to their own tests: they write into config.toml, which grows, and connect programs and databases."""
NAMES = [name for name in METHODS if name not in OMITTED]


def test_each_parameter_has_values():
    known = {field for name in NAMES for field in METHODS[name].params.__dataclass_fields__}
    assert known - VALUES.keys() == set()


@st.composite
def requests(draw: st.DrawFn) -> dict:
    """A request that is right in most places, and mutated in some."""
    name = draw(st.sampled_from(NAMES))
    fields = list(METHODS[name].params.__dataclass_fields__)
    chosen = draw(st.lists(st.sampled_from(fields), unique=True)) if fields else []
    needed = [field for field in fields if field in NEEDED]
    params = {
        # A path that is anything could be `/`, and an import goes through all that is there.
        field: draw(VALUES[field] if field == "path" else VALUES[field] | VALUES[field] | ANY_JSON)
        for field in dict.fromkeys([*needed, *chosen])
    }
    if draw(st.integers(0, 9)) == 0:
        unknown = st.text(max_size=8) | st.sampled_from(["context", "self", "args", "call"])
        params[draw(unknown)] = draw(ANY_JSON)
    if name == "prune_sessions":
        params["dry_run"] = True  # it may delete for good, and what is kept is looked at in the end
    request = {"jsonrpc": "2.0", "id": draw(st.integers(0, 9) | ANY_JSON), "method": name, "params": params}
    if name != "prune_sessions" and draw(st.integers(0, 9)) == 0:
        request["params"] = list(params.values())
    if draw(st.integers(0, 9)) == 0:
        request[draw(st.sampled_from([*request, "x"]))] = draw(ANY_JSON)
    if draw(st.integers(0, 9)) == 0:
        del request[draw(st.sampled_from(list(request)))]
    return request


@pytest.fixture
def running(daemon):
    for session_id, agent in (("cli-1", "ai-muse"), ("cli-2", "ai-analyst")):
        daemon.call("create_session", agent=agent, session_id=session_id, title="title")
        daemon.call("append_message", agent=agent, session_id=session_id, role="user", content="kept")
    yield daemon
    assert daemon.call("status")["pid"] == daemon.pid
    trashed = {row["session_id"] for row in daemon.call("list_trash", limit=500)["sessions"]}
    for session_id in ("cli-1", "cli-2"):
        if session_id in trashed:  # a request that was right
            daemon.call("restore_session", session_id=session_id)
        kept = daemon.call("get_session", session_id=session_id)
        assert kept["messages"][0]["content"] == "kept"
    assert "internal error" not in daemon.log()
    assert "Traceback" not in daemon.log()


def talk(daemon, data: bytes, name: str = "port42.sock") -> list[bytes]:
    """Send it all, say that this is all, and read every answer until the daemon closes."""
    with socket.socket(socket.AF_UNIX) as peer, peer.makefile("rb") as lines:
        peer.settimeout(30)
        peer.connect(str(daemon.socket.with_name(name)))
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it was refused and closed before all was sent
        # An answer to JSON that came without a newline is followed by an empty line.
        return [line for line in lines if line.strip() and not line.startswith(NOTIFICATION)]


def check(line: bytes, method: object = None) -> None:
    assert line.endswith(b"\n")
    answer = json.loads(line)
    for one in answer if isinstance(answer, list) else [answer]:
        assert one["jsonrpc"] == "2.0"
        if "error" in one:
            check_error(one["error"], method)
        else:
            assert set(one) == {"jsonrpc", "id", "result"}


def check_error(error: dict, method: object) -> None:
    documented = list(STANDARD)
    for row in METHODS.values():
        if not isinstance(method, str) or row.name == method:
            documented += row.errors
    codes = {one.code: one.kind for one in documented}
    assert error["code"] != InternalError.code, error
    assert codes.get(error["code"]) == error["data"]["kind"], error
    assert isinstance(error["data"]["retryable"], bool)
    assert len(error["message"]) < 1000


NOTIFICATION = b'{"jsonrpc":"2.0","method":"session_event",'
"""What a subscription or a streamed turn brings beside its answer."""
PIECES = [b"\n", b"\r\n", b"\xff", b"{}", b"[]"]


def test_any_bytes(running):
    @OFTEN
    @given(
        st.lists(
            st.binary(max_size=200) | st.sampled_from([b"\n", b"\r\n", b"\xff", b"{}", b"[]"]), max_size=6
        )
    )
    def run(chunks: list[bytes]) -> None:
        for line in talk(running, b"".join(chunks)):
            check(line)

    run()


def test_any_json(running):
    @OFTEN
    @given(st.lists(ANY_JSON, min_size=1, max_size=5))
    def run(values: list) -> None:
        sent = b"".join(json.dumps(value).encode() + b"\n" for value in values)
        lines = talk(running, sent)
        assert len(lines) == len(values)
        for line in lines:
            check(line)

    run()


def test_valid_requests_mutated(running):
    @settings(OFTEN, max_examples=250)
    @given(requests())
    def run(request: dict) -> None:
        lines = talk(running, json.dumps(request).encode() + b"\n")
        # A notification is a request that is right and has no id; nothing answers it.
        assert len(lines) == 1 or (not lines and "id" not in request)
        for line in lines:
            check(line, request.get("method"))

    run()


def test_nothing_that_is_sent_to_the_socket_for_reading_changes_anything(running):
    def contents() -> dict[str, bytes]:
        # The index is derived, and SQLite touches its files when it reads.
        files = (path for path in running.home.rglob("*") if path.is_file() and "index.db" not in path.name)
        return {str(path): path.read_bytes() for path in files}

    before = contents()

    @settings(OFTEN, max_examples=250)
    @given(requests())
    def run(request: dict) -> None:
        for line in talk(running, json.dumps(request).encode() + b"\n", "port42-read.sock"):
            check(line, request.get("method"))

    run()
    assert contents() == before


def test_batches_of_anything(running):
    @OFTEN
    @given(st.lists(requests() | ANY_JSON, min_size=1, max_size=8))
    def run(batch: list) -> None:
        for line in talk(running, json.dumps(batch).encode() + b"\n"):
            check(line)

    run()


def test_requests_with_bytes_changed(running):
    @OFTEN
    @given(requests(), st.data())
    def run(request: dict, data: st.DataObject) -> None:
        line = bytearray(json.dumps(request).encode())
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(line)))
            line[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        for answer in talk(running, bytes(line) + b"\n"):
            check(answer)

    run()


def test_any_cut_of_the_stream_into_packets_is_the_same_stream(running):
    request = b'{"jsonrpc":"2.0","id":1,"method":"get_last_session","params":["ai-muse"]}\n'

    @OFTEN
    @given(st.lists(st.integers(1, len(request) * 3), max_size=8))
    def run(cuts: list[int]) -> None:
        stream = request * 3
        with running.connect() as peer, peer.makefile("rb") as lines:
            places = sorted({0, len(stream), *cuts})
            for start, end in itertools.pairwise(places):
                peer.sendall(stream[start:end])
            answers = [json.loads(lines.readline()) for _ in range(3)]
        assert [one["result"]["session_id"] for one in answers] == ["cli-1"] * 3

    run()
