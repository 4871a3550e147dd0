"""The golden wire files and the typed side say the same, byte for byte, and none is orphaned."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from port42_protocol import errors as e
from port42_protocol import openrpc
from port42_protocol.codec import decode_json, decode_params, decode_result, encode
from port42_protocol.messages.events import SessionEvent
from port42_protocol.messages.records import Summary
from port42_protocol.methods import METHODS, NOTIFICATIONS, Method

FOLDER = Path(__file__).parent
EXAMPLES = openrpc.DATA / "examples"
ABSENT = msgspec.Raw()
ERRORS = {kind.code: kind for row in METHODS.values() for kind in (*e.STANDARD, *row.errors)}


class Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A request line in the order it travels; what is compared byte for byte stays raw."""

    jsonrpc: str
    method: str
    params: msgspec.Raw = ABSENT
    id: int = 0


class Notification(msgspec.Struct, forbid_unknown_fields=True):
    """A line that nobody asked for: a request without an id."""

    jsonrpc: str
    method: str
    params: msgspec.Raw


class Error(msgspec.Struct, forbid_unknown_fields=True):
    """The error of a response."""

    code: int
    message: str
    data: dict[str, Any]


class Response(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A response line in the order it travels: a result or an error."""

    jsonrpc: str
    result: msgspec.Raw = ABSENT
    error: Error | None = None
    id: int = 0


@dataclasses.dataclass(frozen=True)
class Exchange:
    """A request and what answers it."""

    row: Method
    request: Request
    response: Response

    @property
    def params(self) -> Any:
        return decode_json(bytes(self.request.params) or b"null")


def read(row: Method) -> list[Exchange]:
    lines = (EXAMPLES / f"{row.handler}.jsonl").read_bytes().split(b"\n")[:-1]
    requests = [msgspec.json.decode(line, type=Request) for line in lines[::2]]
    responses = [msgspec.json.decode(line, type=Response) for line in lines[1::2]]
    return [Exchange(row, *pair) for pair in zip(requests, responses, strict=True)]


# Read on collection, so that each exchange is a test of its own; a missing file is said by
# test_none_is_missing_and_none_is_orphaned, not by a collection error.
EXCHANGES = [
    one for row in METHODS.values() if (EXAMPLES / f"{row.handler}.jsonl").exists() for one in read(row)
]
ANSWERED = [one for one in EXCHANGES if bytes(one.response.result)]
REFUSED = [one for one in EXCHANGES if one.response.error is not None]


def named(value: object) -> str:
    match value:
        case Exchange():
            return f"{value.row.name}-{value.request.id}"
        case Method():
            return value.name
    return str(value)


def test_none_is_missing_and_none_is_orphaned() -> None:
    expected = {f"{name}.jsonl" for name in (*(row.handler for row in METHODS.values()), *NOTIFICATIONS)}
    assert {one.name for one in EXAMPLES.iterdir()} == expected


@pytest.mark.parametrize("row", METHODS.values(), ids=named)
def test_lines_are_as_they_travel(row: Method) -> None:
    """Compact, in the order of the specification's own examples, numbered from 1."""
    exchanges = read(row)
    lines = [encode(line) for one in exchanges for line in (one.request, one.response)]
    assert (EXAMPLES / f"{row.handler}.jsonl").read_bytes() == b"".join(one + b"\n" for one in lines)
    ids = [(one.request.id, one.response.id) for one in exchanges]
    assert ids == [(number, number) for number in range(1, len(ids) + 1)]
    assert {one.request.method for one in exchanges} == {row.name}
    assert {one.request.jsonrpc for one in exchanges} == {"2.0"}
    assert {one.response.jsonrpc for one in exchanges} == {"2.0"}
    assert all(bool(bytes(one.response.result)) != bool(one.response.error) for one in exchanges)


@pytest.mark.parametrize("row", METHODS.values(), ids=named)
def test_every_file_shows_the_whole_of_its_method(row: Method) -> None:
    exchanges = read(row)
    fields = [one.name for one in dataclasses.fields(row.params)]
    shapes = [one.params for one in exchanges]
    assert any(list(one or {}) == fields for one in shapes if not isinstance(one, list))
    assert any(isinstance(one, list) for one in shapes)
    assert any(bytes(one.response.result) for one in exchanges)
    assert any(one.response.error for one in exchanges)


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", ANSWERED, ids=named)
def test_params_decode_to_the_dataclass(exchange: Exchange) -> None:
    request = decode_params(exchange.row.params, exchange.params)
    fields = [one.name for one in dataclasses.fields(exchange.row.params)]
    given = exchange.params or {}
    by_name = given if isinstance(given, dict) else dict(zip(fields, given, strict=False))
    for name in fields:
        default = exchange.row.params.__dataclass_fields__[name].default
        value = by_name.get(name, default)
        if name == "agent" and value is not None:
            value = value.removeprefix("@")
        assert decode_json(encode(getattr(request, name))) == value
    assert decode_params(exchange.row.params, decode_json(encode(request))) == request


WHOLE = [
    one
    for one in ANSWERED
    if isinstance(one.params, dict)
    and list(one.params) == [field.name for field in dataclasses.fields(one.row.params)]
]


@pytest.mark.parametrize("exchange", WHOLE, ids=named)
def test_the_dataclass_encodes_to_the_params(exchange: Exchange) -> None:
    request = decode_params(exchange.row.params, exchange.params)
    assert encode(request) == bytes(exchange.request.params)


# --- results ------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", ANSWERED, ids=named)
def test_results_come_back_as_the_same_bytes(exchange: Exchange) -> None:
    wire = bytes(exchange.response.result)
    assert encode(decode_result(exchange.row.result, decode_json(wire))) == wire


# --- errors -------------------------------------------------------------------------------------


def summary(session_id: str, title: str, created_at: str, last_activity: str) -> dict[str, Any]:
    made = Summary(
        session_id=session_id,
        agent="ai-engineer",
        title=title,
        state="active",
        created_at=created_at,
        last_activity=last_activity,
        message_count=1,
        cwd="/home/ada/parser",
    )
    plain: dict[str, Any] = decode_json(encode(made))
    return plain


RAISED = {
    (error.code, error.message): error.data
    for error in (
        e.NoSessions("ai-muse"),
        e.NoSessions("ai-engineer", "/srv"),
        e.NoSessions(None),
        e.SessionNotFound("cli-1"),
        e.SessionNotFound("cli-1757350466684", vanished=True),
        e.AmbiguousSession(
            "cli-17573",
            [
                summary(
                    "cli-1757350466684",
                    "build a parser",
                    "2025-09-08T16:54:26.684Z",
                    "2025-09-08T16:54:26.691Z",
                ),
                summary(
                    "cli-1757350500001",
                    "build a lexer",
                    "2025-09-08T16:55:00.001Z",
                    "2025-09-08T16:55:00.009Z",
                ),
            ],
        ),
        e.WrongAgent("cli-1757350473456", agent="ai-engineer", owner="ai-analyst"),
        e.UnknownAgent("ai-enginer", ["ai-engineer"]),
        e.StorageFailed("cannot write session cli-1757350466684: no space left on device"),
        e.StorageFailed("cannot ask the index: the index failed"),
        e.SessionExists("parser-1"),
        e.SessionDamaged("cli-1757350466684", "it does not end in a footer"),
        e.ConfigRefused("line 3: agents.ai-muse.system: expected text"),
        e.SessionBusy("cli-1757350466684", 1),
        e.MissingCapability(
            "port42d 0.2.0 does not have possess.colour, which vim 1.4.0 needs: update port42d",
            ["possess.colour"],
            "port42d",
        ),
        e.HubUnavailable("the hub is unreachable: connection timeout expired"),
        e.HubUnavailable(
            "the hub is refused: it has no tables of Port42 yet: `port42 hub init` makes them",
            retryable=False,
        ),
        e.HubUnavailable("the hub is not connected"),
        e.HubUnavailable("the hub does not have session cli-1757350466684, or not yet", retryable=False),
        e.HubUnavailable("there is no hub: `port42 hub join ADDRESS` names one", retryable=False),
        e.BackendFailed("needs_auth", "the key in ANTHROPIC_API_KEY was refused", "cli-1757350466684", seq=7),
        e.BackendFailed(
            "network", "the server cannot be reached: connection refused", "cli-1757350466684", seq=11
        ),
    )
}


@pytest.mark.parametrize("exchange", REFUSED, ids=named)
def test_errors_are_those_that_are_raised(exchange: Exchange) -> None:
    error = exchange.response.error
    assert error is not None
    if ERRORS[error.code] is e.InvalidParams:
        with pytest.raises(e.InvalidParams) as caught:
            decode_params(exchange.row.params, exchange.params)
        expected = Error(caught.value.code, caught.value.message, caught.value.data)
    else:
        assert ERRORS[error.code] in exchange.row.errors
        decode_params(exchange.row.params, exchange.params)
        expected = Error(error.code, error.message, RAISED[error.code, error.message])
    assert encode(error) == encode(expected)


def test_every_error_of_the_table_is_shown_once_at_least() -> None:
    shown = {one.response.error.code for one in REFUSED if one.response.error}
    assert shown >= {kind.code for row in METHODS.values() for kind in row.errors}


def test_no_example_of_an_error_is_left_over() -> None:
    shown = {(one.response.error.code, one.response.error.message) for one in REFUSED}
    assert set(RAISED) <= shown


# --- notifications ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_notifications_come_back_as_the_same_bytes(name: str) -> None:
    """Every kind of event is shown, and every field that an event may have."""
    shown = []
    for line in (EXAMPLES / f"{name}.jsonl").read_bytes().splitlines():
        request = msgspec.json.decode(line, type=Notification)
        assert (request.jsonrpc, request.method) == ("2.0", name)
        shown.append(decode_result(NOTIFICATIONS[name], decode_json(bytes(request.params))))
        assert encode(request) == line
        assert encode(shown[-1]) == bytes(request.params)
        assert fits(decode_json(line)["params"], DOCUMENT["components"]["schemas"]["SessionEvent"])
    kinds = get_args(SessionEvent)
    assert {type(event) for event in shown} == set(kinds)
    fields = {field for kind in kinds for field in kind.__struct_fields__} | {"kind"}
    assert {key for event in shown for key in decode_json(encode(event))} == fields


# --- the OpenRPC document -----------------------------------------------------------------------


def test_derived_files_are_what_the_script_writes(tmp_path: Path) -> None:
    """Key order too. When it fails: `make golden`, and read the diff."""
    subprocess.run([sys.executable, FOLDER / "regenerate.py", tmp_path], check=True)
    written = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert written == {
        "openrpc.json": (FOLDER / "openrpc.json").read_bytes(),
        "since.json": (EXAMPLES.parent / "since.json").read_bytes(),
    }


DOCUMENT = decode_json(encode(openrpc.document()))
DESCRIBED = {method["name"]: method for method in DOCUMENT["methods"]}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    whole = schema | {"components": DOCUMENT["components"]}
    return jsonschema.Draft7Validator(whole).is_valid(value)


@pytest.mark.parametrize("exchange", ANSWERED, ids=named)
def test_the_document_describes_the_wire(exchange: Exchange) -> None:
    """Somebody else's JSON Schema implementation takes every golden value by the document."""
    described = DESCRIBED[exchange.row.name]
    request = decode_json(encode(decode_params(exchange.row.params, exchange.params)))
    for param in described["params"]:
        assert fits(request[param["name"]], param["schema"])
    assert fits(decode_json(bytes(exchange.response.result)), described["result"]["schema"])


FAULTY = [
    one
    for one in REFUSED
    if one.response.error is not None
    and one.response.error.code == e.InvalidParams.code
    and one.response.error.message.startswith(f"{one.response.error.data['field']}: expected")
]


@pytest.mark.parametrize("exchange", FAULTY, ids=named)
def test_the_document_refuses_what_the_daemon_refuses(exchange: Exchange) -> None:
    assert exchange.response.error is not None
    field = exchange.response.error.data["field"]
    params = DESCRIBED[exchange.row.name]["params"]
    position = [one["name"] for one in params].index(field)
    value = exchange.params[field if isinstance(exchange.params, dict) else position]
    assert not fits(value, params[position]["schema"])
