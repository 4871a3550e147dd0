"""Params: by name and by position, and the errors that name a field and what was expected of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.typed_values import EACH, JSON, PROPERTY, REQUESTS, TEXT, instances, named

from port42_protocol.codec import decode_json, decode_params, encode
from port42_protocol.errors import InvalidParams, ParseError
from port42_protocol.messages.agents import AddAgent, ListAgents
from port42_protocol.messages.daemon import Status
from port42_protocol.messages.records import Reference
from port42_protocol.messages.sessions import (
    AppendMessage,
    CreateSession,
    FindSession,
    GetLastSession,
    GetSession,
    ListSessions,
    UpdateLastSession,
)
from port42_protocol.messages.turns import Possess
from port42_protocol.messages.types import AgentName
from port42_protocol.methods import METHODS

NAME = (
    "an agent name: a letter or digit, then up to 63 letters, digits, '.', '_' or '-'"
    " (one leading @ is stripped)"
)
ID = "a session id: a letter or digit, then up to 63 letters, digits, '_' or '-'"
FOLDER = "an absolute path of at most 4096 characters"
TITLE = "one line of 1 to 200 characters that is not blank"
KEY = "text of 1 to 128 characters"
CLIENT = "a client name: a letter or digit, then up to 31 letters, digits, '_' or '-'"


def refused(kind: type, params: Any) -> InvalidParams:
    with pytest.raises(InvalidParams) as caught:
        decode_params(kind, params)
    return caught.value


def test_params_by_name_and_by_position_say_the_same() -> None:
    expected = UpdateLastSession("ai-engineer", "cli-1")
    assert decode_params(UpdateLastSession, ["ai-engineer", "cli-1"]) == expected
    assert decode_params(UpdateLastSession, ("ai-engineer", "cli-1")) == expected
    by_name = {"session_id": "cli-1", "agent": "ai-engineer"}
    assert decode_params(UpdateLastSession, by_name) == expected


def test_fields_left_out_have_their_defaults() -> None:
    assert decode_params(GetLastSession, ["a"]) == GetLastSession("a", None)
    assert decode_params(ListSessions, {}) == ListSessions(None, None, None, 50, None)
    assert decode_params(GetSession, ["cli-1"]) == GetSession("cli-1", None, 0, 1000, False)


@pytest.mark.parametrize("params", [None, {}, [], ()], ids=repr)
@pytest.mark.parametrize("kind", [Status, ListAgents], ids=named)
def test_no_params_where_none_are_taken(kind: type, params: Any) -> None:
    assert decode_params(kind, params) == kind()


def test_the_callers_params_are_left_as_they_are() -> None:
    params = {"agent": "@a"}
    assert decode_params(GetLastSession, params) == GetLastSession("a")
    assert params == {"agent": "@a"}


@pytest.mark.parametrize("kind", [GetLastSession, CreateSession, AddAgent], ids=named)
def test_one_at_sign_is_stripped(kind: type) -> None:
    assert decode_params(kind, {"agent": "@ai-engineer"}) == kind("ai-engineer")
    assert decode_params(kind, ["@ai-engineer"]) == kind("ai-engineer")
    assert refused(kind, ["@@x"]).message == f'agent: expected {NAME}, got "@x"'


def test_one_at_sign_is_stripped_where_the_agent_is_optional() -> None:
    assert decode_params(FindSession, ["last", "@a"]) == FindSession("last", "a")
    assert decode_params(ListSessions, ["@a"]) == ListSessions("a")
    assert decode_params(ListSessions, [None]) == ListSessions(None)


def test_only_an_agent_loses_its_at_sign() -> None:
    request = decode_params(Possess, ["@a", "@b, what do you think?"])
    assert request == Possess("a", "@b, what do you think?")
    assert refused(UpdateLastSession, ["a", "@cli-1"]).data["field"] == "session_id"


@pytest.mark.parametrize(
    "params", [None, {}, [], [None], [""], ["@"], {"agent": None}, {"agent": ""}], ids=repr
)
def test_agent_parameter_required(params: Any) -> None:
    error = refused(GetLastSession, params)
    assert error.message == "agent parameter required"
    assert error.data == {
        "kind": "invalid_params",
        "retryable": False,
        "field": "agent",
        "expected": NAME,
    }


REQUIRED = [
    (row.params, one.name)
    for row in METHODS.values()
    for one in dataclasses.fields(row.params)
    if one.default is dataclasses.MISSING
]
WHOLE = {
    "agent": "ai-engineer",
    "session_id": "cli-1",
    "role": "user",
    "content": "hello",
    "message": "hello",
    "ref": "last",
    "permission_id": "p-1",
    "backend": "claude",
    "query": "parser",
    "title": "the parser",
    "path": "/home/ada/.claude",
    "name": "claude",
    "on": True,
    "id": 7,
    "grantee": "ben",
}


@pytest.mark.parametrize(("kind", "field"), REQUIRED)
@pytest.mark.parametrize("how", ["left out", "null"])
def test_missing(kind: type, field: str, how: str) -> None:
    wanted = {one.name for one in dataclasses.fields(kind)}
    params = {name: value for name, value in WHOLE.items() if name in wanted}
    assert decode_params(kind, params)
    del params[field]
    if how == "null":
        params[field] = None
    error = refused(kind, params)
    assert error.message == f"{field} parameter required"
    assert error.data["field"] == field


def test_the_first_of_several_missing_is_named() -> None:
    assert refused(AppendMessage, {"role": "user"}).data["field"] == "agent"
    assert refused(AppendMessage, ["a", "cli-1"]).data["field"] == "role"


def test_empty_text_is_a_value_where_it_is_no_agent() -> None:
    assert decode_params(AppendMessage, ["a", "cli-1", "user", ""]).content == ""
    error = refused(Possess, ["a", ""])
    assert error.message == 'message: expected text that is not blank, got ""'


@pytest.mark.parametrize("kind", REQUESTS, ids=named)
def test_unknown(kind: type) -> None:
    wanted = [one.name for one in dataclasses.fields(kind)]
    params = {name: value for name, value in WHOLE.items() if name in wanted}
    takes = ", ".join(wanted) or "no parameters"
    error = refused(kind, params | {"colour": "red"})
    assert error.message == f'unknown parameter "colour"; this method takes {takes}'
    assert error.data["field"] == "colour"
    assert error.data["expected"] == takes


def test_an_unknown_name_is_said_before_a_missing_one() -> None:
    assert refused(GetLastSession, {"agnet": "a"}).data["field"] == "agnet"


def test_an_unknown_name_is_cut_to_a_bearable_length() -> None:
    error = refused(Status, {"x" * 5_000: 1})
    assert error.message == ("unknown parameter text of 5,000 characters; this method takes no parameters")
    assert error.data["field"] == "x" * 64


@pytest.mark.parametrize("kind", REQUESTS, ids=named)
def test_too_many_by_position(kind: type) -> None:
    count = len(dataclasses.fields(kind))
    error = refused(kind, [None] * (count + 1))
    assert error.message == f"expected at most {count} positional parameters, got {count + 1}"
    assert error.data["field"] is None
    assert error.data["expected"] == f"at most {count} positional parameters"


ILL_TYPED = [
    (GetLastSession, ["a/b"], "agent", NAME, '"a/b"'),
    (GetLastSession, ["a b"], "agent", NAME, '"a b"'),
    (GetLastSession, ["a\n"], "agent", NAME, '"a\\n"'),
    (GetLastSession, ["a`b"], "agent", NAME, '"a`b"'),
    (GetLastSession, ["a" * 65], "agent", NAME, '"' + "a" * 65 + '"'),
    (GetLastSession, ["a" * 10_000], "agent", NAME, "text of 10,000 characters"),
    (GetLastSession, [7], "agent", NAME, "7"),
    (GetLastSession, [True], "agent", NAME, "true"),
    (GetLastSession, [["a"]], "agent", NAME, '["a"]'),
    (GetLastSession, [{"name": "a"}], "agent", NAME, '{"name":"a"}'),
    (GetLastSession, [[0] * 1_000], "agent", NAME, "a list of 2,001 characters"),
    (GetLastSession, [{"a": "x" * 200}], "agent", NAME, "a dict of 208 characters"),
    (GetLastSession, [10**200], "agent", NAME, "a int of 201 characters"),
    (GetLastSession, ["a", "here"], "cwd", FOLDER, '"here"'),
    (GetLastSession, ["a", "/" + "x" * 4096], "cwd", FOLDER, "text of 4,097 characters"),
    (GetSession, ["../etc"], "session_id", ID, '"../etc"'),
    (GetSession, ["a\x00b"], "session_id", ID, '"a\\u0000b"'),
    (GetSession, ["x" * 10_000], "session_id", ID, "text of 10,000 characters"),
    (GetSession, ["s", "a", -1], "after_seq", "a whole number from 0", "-1"),
    (GetSession, ["s", "a", 1.0], "after_seq", "a whole number from 0", "1.0"),
    (GetSession, ["s", "a", "1"], "after_seq", "a whole number from 0", '"1"'),
    (GetSession, ["s", "a", 2**53], "after_seq", "a whole number from 0", "9007199254740992"),
    (GetSession, ["s", "a", 0, 0], "limit", "a whole number from 1 to 10000", "0"),
    (GetSession, ["s", "a", 0, True], "limit", "a whole number from 1 to 10000", "true"),
    (GetSession, ["s", "a", 0, None], "limit", "a whole number from 1 to 10000", "null"),
    (GetSession, ["s", "a", 0, 1, "yes"], "events", "true or false", '"yes"'),
    (GetSession, ["s", "a", 0, 1, 1], "events", "true or false", "1"),
    (CreateSession, ["a", None, "é"], "client", CLIENT, '"é"'),
    (CreateSession, ["a", None, None], "client", CLIENT, "null"),
    (CreateSession, ["a", None, "c", "two\nlines"], "title", TITLE, '"two\\nlines"'),
    (CreateSession, ["a", None, "c", ""], "title", TITLE, '""'),
    (CreateSession, ["a", None, "c", "t", "/", []], "metadata", "an object", "[]"),
    (CreateSession, ["a", None, "c", "t", "/", "x"], "metadata", "an object", '"x"'),
    (ListSessions, {"state": "open"}, "state", "one of active, ended", '"open"'),
    (ListSessions, {"state": 1}, "state", "one of active, ended", "1"),
    (ListSessions, {"limit": 501}, "limit", "a whole number from 1 to 500", "501"),
    (ListSessions, {"cursor": ""}, "cursor", "a next_cursor from an earlier page", '""'),
    (
        AppendMessage,
        ["a", "s", "root", "x"],
        "role",
        "one of user, assistant, system, error",
        '"root"',
    ),
    (AppendMessage, ["a", "s", "user", 5], "content", "text", "5"),
    (AppendMessage, ["a", "s", "user", "x", ""], "idempotency_key", KEY, '""'),
]


@pytest.mark.parametrize(
    ("kind", "params", "field", "expected", "got"),
    ILL_TYPED,
    ids=[f"{case[0].__name__}.{case[2]}-{number}" for number, case in enumerate(ILL_TYPED)],
)
def test_ill_typed(kind: type, params: Any, field: str, expected: str, got: str) -> None:
    error = refused(kind, params)
    assert error.message == f"{field}: expected {expected}, got {got}"
    assert error.data == {
        "kind": "invalid_params",
        "retryable": False,
        "field": field,
        "expected": expected,
    }
    assert error.__cause__ is None


def tried(kind: type, params: Mapping[str, Any] | Sequence[Any] | None) -> Any:
    """The request, or the one error that may come instead of it."""
    try:
        return decode_params(kind, params)
    except InvalidParams as error:
        return error


@pytest.mark.parametrize("kind", REQUESTS, ids=named)
@EACH
@given(st.data())
def test_whatever_the_params_only_invalid_params_leaves(kind: type, data: st.DataObject) -> None:
    """Params are an object, an array or absent: dispatch has refused the rest by then."""
    names = [one.name for one in dataclasses.fields(kind)]
    name = st.sampled_from([*names, "colour"])
    params = data.draw(
        st.none()
        | st.lists(JSON, max_size=len(names) + 1)
        | st.dictionaries(name | TEXT, JSON, max_size=len(names) + 1)
    )
    outcome = tried(kind, params)
    if isinstance(outcome, InvalidParams):
        assert encode(outcome.data)
        assert outcome.data["expected"]
    else:
        assert decode_params(kind, decode_json(encode(outcome))) == outcome


@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if dataclasses.fields(kind)], ids=named)
@settings(PROPERTY, max_examples=30)
@given(data=st.data())
def test_the_field_at_fault_is_the_one_named(kind: type, data: st.DataObject) -> None:
    """One field of a good request becomes any JSON value: it fits, or it is the one named."""
    params = decode_json(encode(data.draw(instances(kind))))
    field = data.draw(st.sampled_from([field.name for field in dataclasses.fields(kind)]))
    params[field] = data.draw(JSON)
    outcome = tried(kind, params)
    if isinstance(outcome, InvalidParams):
        assert outcome.data["field"] == field
        said = (f"{field}: expected ", f"{field} parameter required")
        assert outcome.message.startswith(said)


@pytest.mark.parametrize("digits", [4_300, 4_299, 640])
def test_the_longest_integers_are_answered_like_any_other(digits: int) -> None:
    """Python refuses to print longer ones than 4,300 digits; JSON that holds them is refused."""
    params = decode_json(b'{"limit":%s}' % (b"9" * digits))
    assert refused(ListSessions, params).data["field"] == "limit"
    with pytest.raises(ParseError):
        decode_json(b'{"limit":%s}' % (b"9" * 4_301))


# Shapes that no method has yet, so that the next one is answered as well.


@dataclasses.dataclass(frozen=True)
class Plain:
    word: str
    count: int = 0
    either: str | int | None = None


@pytest.mark.parametrize(
    ("params", "field", "expected"),
    [
        ([1], "word", "text"),
        (["a", "b"], "count", "a whole number"),
        (["a", 1, []], "either", "text or a whole number"),
    ],
)
def test_plain_types_are_said_in_words(params: list[Any], field: str, expected: str) -> None:
    error = refused(Plain, params)
    assert (error.data["field"], error.data["expected"]) == (field, expected)


@dataclasses.dataclass(frozen=True)
class Span:
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("first is after last")


def test_a_fault_of_no_single_field_names_none() -> None:
    error = refused(Span, [2, 1])
    assert error.message == "first is after last"
    assert error.data["field"] is None
    assert error.data["expected"] == "what the OpenRPC document says"


def test_a_meta_without_description_is_passed_over() -> None:
    @dataclasses.dataclass(frozen=True)
    class Described:
        short: Annotated[AgentName, msgspec.Meta(max_length=4)]
        word: Annotated[str, msgspec.Meta(max_length=4)] = ""

    assert refused(Described, ["ai-engineer"]).data["expected"] == NAME
    assert refused(Described, ["ai", "engineer"]).data["expected"] == "text"


# --- parts ----------------------------------------------------------------------------------------


def test_a_list_of_parts() -> None:
    given = [{"type": "file", "target": "/a"}, {"type": "text", "target": "stdin", "content": "piped"}]
    asked = decode_params(Possess, {"agent": "a", "message": "x", "references": given})
    assert asked.references == [Reference("file", "/a"), Reference("text", "stdin", "piped")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            [{"type": "file", "target": "/a"}, {"type": "file", "target": "/b", "path": 1}],
            'references: expected objects with type, target, content, got "path" in references[1]',
        ),
        (
            [{"type": "folder", "target": "/a"}],
            "references: expected a list, each an object with type, target, content",
        ),
        ([{"type": "file"}], "references: expected a list"),
        ([7], "references: expected a list"),
        ({"type": "file"}, "references: expected a list"),
        ("x", "references: expected a list"),
        ([{"type": "text", "target": "t", "content": "x" * 262_145}], "references: expected a list"),
    ],
)
def test_parts_that_do_not_fit(given: object, words: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        decode_params(Possess, {"agent": "a", "message": "x", "references": given})
    assert caught.value.message.startswith(words)
    assert caught.value.data["field"] == "references"
    assert len(caught.value.message) < 400
