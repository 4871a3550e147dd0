"""Every error that travels: its code, its kind, and words that hold nothing but what was given."""

import inspect
import re

import pytest

from port42_protocol import errors
from port42_protocol.errors import (
    STANDARD,
    AmbiguousSession,
    BackendFailed,
    BatchTooLarge,
    ConfigRefused,
    FrameTooLarge,
    HubUnavailable,
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    MissingCapability,
    NoSessions,
    Overloaded,
    ParseError,
    ReadOnly,
    RequestCancelled,
    RestartNeeded,
    RpcError,
    SessionBusy,
    SessionDamaged,
    SessionExists,
    SessionNotFound,
    ShuttingDown,
    StorageFailed,
    UnknownAgent,
    WrongAgent,
)

KINDS = [
    one
    for one in vars(errors).values()
    if inspect.isclass(one) and issubclass(one, RpcError) and one is not RpcError
]

# Each error as the daemon raises it, its words, and its data beside `kind` and `retryable`.
EXAMPLES = [
    (ParseError("not JSON: truncated"), "not JSON: truncated", {}),
    (
        InvalidRequest("nested deeper than 64 levels", limit=64),
        "nested deeper than 64 levels",
        {"limit": 64},
    ),
    (
        MethodNotFound("get_lst_session", ("get_last_session",)),
        "Method not found",
        {"method": "get_lst_session", "suggestions": ["get_last_session"]},
    ),
    (RequestCancelled(), "the request was cancelled", {}),
    (
        MissingCapability("port42d 0.2.0 does not have x: update port42d", ["x"], "port42d"),
        "port42d 0.2.0 does not have x: update port42d",
        {"missing": ["x"], "update": "port42d"},
    ),
    (HubUnavailable("the hub is unreachable: timeout"), "the hub is unreachable: timeout", {}),
    (MethodNotFound("x"), "Method not found", {"method": "x", "suggestions": []}),
    (
        InvalidParams("agent parameter required", field="agent", expected="an agent name"),
        "agent parameter required",
        {"field": "agent", "expected": "an agent name"},
    ),
    (
        InvalidParams("expected an object", field=None, expected="an object"),
        "expected an object",
        {"field": None, "expected": "an object"},
    ),
    (
        InternalError("3f2a"),
        "Internal error 3f2a; the daemon's log says more",
        {"error_id": "3f2a"},
    ),
    (Overloaded("128 connections at most", limit=128), "128 connections at most", {"limit": 128}),
    (ShuttingDown(), "the daemon is shutting down", {}),
    (
        FrameTooLarge(4194304),
        "a request line may have at most 4,194,304 bytes",
        {"limit": 4194304},
    ),
    (
        BatchTooLarge(size=51, limit=50),
        "a batch may have at most 50 requests, this one has 51",
        {"limit": 50},
    ),
    (
        RestartNeeded(),
        "port42 was reinstalled or removed while this daemon was running; `port42 daemon restart` starts"
        " the installed version",
        {},
    ),
    (
        ReadOnly("append_message"),
        "append_message can change something, and this socket is for reading only; `port42 socket-path` names"
        " the other one",
        {"method": "append_message"},
    ),
    (NoSessions("ai-muse"), "No sessions found for ai-muse", {"agent": "ai-muse"}),
    (
        NoSessions("ai-muse", "/srv/project"),
        "No sessions found for ai-muse in /srv/project",
        {"agent": "ai-muse"},
    ),
    (SessionNotFound("cli-1"), "session cli-1 not found", {"ref": "cli-1"}),
    (
        SessionNotFound("cli-1", vanished=True),
        "session cli-1 no longer exists",
        {"ref": "cli-1"},
    ),
    (
        AmbiguousSession("cli-", [{"session_id": "cli-1"}, {"session_id": "cli-2"}]),
        "cli- fits several sessions: cli-1, cli-2",
        {"ref": "cli-", "candidates": [{"session_id": "cli-1"}, {"session_id": "cli-2"}]},
    ),
    (
        WrongAgent("cli-1", agent="ai-muse", owner="ai-engineer"),
        "session cli-1 belongs to @ai-engineer, not to @ai-muse",
        {"session_id": "cli-1", "agent": "ai-muse", "owner": "ai-engineer"},
    ),
    (
        UnknownAgent("ai-enginer", ["ai-engineer", "ai-analyst"]),
        "unknown agent ai-enginer. Did you mean @ai-engineer or @ai-analyst?"
        " `port42 agents add ai-enginer` makes it known",
        {"agent": "ai-enginer", "suggestions": ["ai-engineer", "ai-analyst"]},
    ),
    (
        UnknownAgent("zzz", []),
        "unknown agent zzz. `port42 agents add zzz` makes it known",
        {"agent": "zzz", "suggestions": []},
    ),
    (
        SessionBusy("cli-1", 0),
        "session cli-1 is busy: a turn is under way",
        {"session_id": "cli-1", "waiting": 0},
    ),
    (
        SessionBusy("cli-1", 2),
        "session cli-1 is busy: a turn is under way and 2 waiting",
        {"session_id": "cli-1", "waiting": 2},
    ),
    (
        BackendFailed("rate_limit", "try again in 20 s", "cli-1", 3),
        "try again in 20 s",
        {"kind": "rate_limit", "retryable": True, "session_id": "cli-1", "seq": 3},
    ),
    (
        BackendFailed("missing", "claude is not on the daemon's PATH", "cli-1", 3),
        "claude is not on the daemon's PATH",
        {"kind": "missing", "retryable": False, "session_id": "cli-1", "seq": 3},
    ),
    (
        StorageFailed("No space left on device", session_id="cli-1", seq=3),
        "No space left on device",
        {"session_id": "cli-1", "seq": 3},
    ),
    (SessionExists("cli-1"), "session cli-1 exists already", {"session_id": "cli-1"}),
    (
        SessionDamaged("cli-1", "line 1 is not a header"),
        "session cli-1 cannot be read: line 1 is not a header",
        {"session_id": "cli-1"},
    ),
    (
        ConfigRefused("agents.a.system: expected text"),
        "config.toml: agents.a.system: expected text",
        {"reason": "agents.a.system: expected text"},
    ),
]


@pytest.mark.parametrize(
    ("error", "words", "details"), EXAMPLES, ids=[type(one[0]).__name__ for one in EXAMPLES]
)
def test_words_and_data(error: RpcError, words: str, details: dict[str, object]) -> None:
    assert error.message == str(error) == words
    assert error.data == {"kind": error.kind, "retryable": error.retryable, **details}


def test_every_error_has_an_example() -> None:
    assert {type(error) for error, _, _ in EXAMPLES} == set(KINDS)


def test_codes() -> None:
    """The whole list: a code, once given, never means anything else."""
    assert {one.__name__: one.code for one in KINDS} == {
        "ParseError": -32700,
        "InvalidRequest": -32600,
        "MethodNotFound": -32601,
        "InvalidParams": -32602,
        "InternalError": -32603,
        "Overloaded": -32001,
        "ShuttingDown": -32002,
        "FrameTooLarge": -32003,
        "BatchTooLarge": -32004,
        "RestartNeeded": -32005,
        "ReadOnly": -32006,
        "RequestCancelled": -32800,
        "NoSessions": 1001,
        "SessionNotFound": 1002,
        "AmbiguousSession": 1003,
        "WrongAgent": 1004,
        "SessionBusy": 1005,
        "UnknownAgent": 1006,
        "BackendFailed": 1007,
        "StorageFailed": 1008,
        "SessionExists": 1009,
        "SessionDamaged": 1010,
        "ConfigRefused": 1011,
        "MissingCapability": 1012,
        "HubUnavailable": 1013,
    }


def test_kinds_are_the_names_in_snake_case() -> None:
    snake = {one: re.sub(r"(?<!^)(?=[A-Z])", "_", one.__name__).lower() for one in KINDS}
    assert {one: one.kind for one in KINDS} == snake


def test_codes_and_kinds_are_unique() -> None:
    assert len({one.code for one in KINDS}) == len({one.kind for one in KINDS}) == len(KINDS)


def test_reserved_codes_are_the_standard_errors() -> None:
    """JSON-RPC 2.0, 5.1 reserves -32768 to -32000; one is the Language Server Protocol's, the others ours."""
    assert {one for one in KINDS if -32768 <= one.code <= -32000} == set(STANDARD) - {RequestCancelled}
    assert all(1001 <= one.code <= 1999 for one in KINDS if one not in STANDARD)
    assert len(STANDARD) == len(set(STANDARD))


def test_what_may_help_to_try_again() -> None:
    may_help = {Overloaded, ShuttingDown, SessionBusy, StorageFailed, HubUnavailable}
    assert {one for one in KINDS if one.retryable} == may_help


def test_the_tree_in_the_docstring_is_whole() -> None:
    tree = (errors.__doc__ or "").split("The words")[0]
    drawn = set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]*\b", tree)) & {one.__name__ for one in KINDS}
    assert drawn == {one.__name__ for one in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.__name__)
def test_every_error_says_what_it_means(kind: type[RpcError]) -> None:
    assert kind.__doc__
    assert kind.__doc__ != RpcError.__doc__
    assert issubclass(kind, Exception)


def test_data_is_the_errors_own() -> None:
    candidates = [{"session_id": "cli-1"}]
    first, second = AmbiguousSession("c", candidates), AmbiguousSession("c", candidates)
    candidates.clear()
    first.data["more"] = True
    assert "more" not in second.data
    assert second.data["candidates"] == [{"session_id": "cli-1"}]


def test_an_error_can_be_raised_and_caught_as_one_kind() -> None:
    with pytest.raises(RpcError, match="No sessions found for ai-muse"):
        raise NoSessions("ai-muse")
