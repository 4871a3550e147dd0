"""JSON texts: what is one, how deep, and `RpcError` is the only thing that may leave on the way in."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.typed_values import JSON, PROPERTY

from port42_protocol.codec import NESTING_LIMIT, decode_json, encode
from port42_protocol.errors import InvalidRequest, ParseError, RpcError

NOT_JSON = [
    pytest.param(b"", id="empty"),
    pytest.param(b"  ", id="blank"),
    pytest.param(b"hello", id="a word"),
    pytest.param(b'{"a":1', id="cut short"),
    pytest.param(b"{} {}", id="two values"),
    pytest.param(b"{'a':1}", id="single quotes"),
    pytest.param(b'{"a":1,}', id="trailing comma"),
    pytest.param(b"[1,2", id="open array"),
    pytest.param(b"NaN", id="NaN"),
    pytest.param(b"[NaN]", id="NaN inside"),
    pytest.param(b"Infinity", id="infinity"),
    pytest.param(b"-Infinity", id="minus infinity"),
    pytest.param(b"1e999", id="a number too large for a float"),
    pytest.param(b"01", id="leading zero"),
    pytest.param(b"+1", id="leading plus"),
    pytest.param(b"9" * 100_000, id="an integer of 100,000 digits"),
    pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
    pytest.param('{"a":1}'.encode("utf-16"), id="utf-16"),
    pytest.param(b'"\xff"', id="not utf-8"),
    pytest.param(b'"\xc3"', id="utf-8 cut short"),
    pytest.param(b'"\xc0\xaf"', id="utf-8 overlong"),
    pytest.param(b'"\xed\xa0\x80"', id="a surrogate as bytes"),
    pytest.param(b'"\\ud800"', id="a lone surrogate"),
    pytest.param(b'"\\ud800x"', id="a lone surrogate and more"),
    pytest.param(b'"\\udc00"', id="a lone low surrogate"),
    pytest.param(b'{"\\ud800":1}', id="a lone surrogate as a key"),
    pytest.param(b'"\x00"', id="NUL in text"),
    pytest.param(b"\x00", id="NUL"),
    pytest.param(b'"\\x41"', id="an escape that JSON has not"),
]


@pytest.mark.parametrize("line", NOT_JSON)
def test_not_json(line: bytes) -> None:
    with pytest.raises(ParseError, match=r"^not JSON: ") as caught:
        decode_json(line)
    assert caught.value.data == {"kind": "parse_error", "retryable": False}
    assert len(caught.value.message) < 200
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"null", None),
        (b" [1, 2.5, true]\r", [1, 2.5, True]),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"\\ud83d\\udccc"', "📌"),
        (b'"\\u0000"', "\x00"),
        ('"é→"'.encode(), "é→"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
    ids=str,
)
def test_json(line: bytes, value: object) -> None:
    assert decode_json(line) == value


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"null" + b"}" * depth


def both(depth: int) -> bytes:
    """Arrays and objects in turn, the object outermost."""
    opening = b'{"a":[' * (depth // 2) + b'{"a":' * (depth % 2)
    closing = b"}" * (depth % 2) + b"]}" * (depth // 2)
    return opening + b"1" + closing


@pytest.mark.parametrize("nested", [arrays, objects, both], ids=lambda one: one.__name__)
class TestNesting:
    def test_the_limit_is_taken(self, nested: Any) -> None:
        line = nested(NESTING_LIMIT)
        assert encode(decode_json(line)) == line

    @pytest.mark.parametrize("depth", [NESTING_LIMIT + 1, 500, 1_000, 5_000, 100_000])
    def test_more_is_refused(self, nested: Any, depth: int) -> None:
        with pytest.raises(InvalidRequest, match="deeper than 64 levels") as caught:
            decode_json(nested(depth))
        assert caught.value.data == {"kind": "invalid_request", "retryable": False, "limit": 64}

    def test_beside_a_shallow_value_too(self, nested: Any) -> None:
        line = b"[1,%s,[]]"
        assert decode_json(line % nested(NESTING_LIMIT - 1))
        with pytest.raises(InvalidRequest):
            decode_json(line % nested(NESTING_LIMIT))


def test_the_limit_is_the_designs() -> None:
    assert NESTING_LIMIT == 64


def test_brackets_that_do_not_nest_are_no_depth() -> None:
    assert decode_json(b"[" + b"[]," * 1_000 + b"{}]") == [*([] for _ in range(1_000)), {}]
    assert decode_json(b'["' + b"[{" * 1_000 + b'"]') == ["[{" * 1_000]


def test_brackets_never_closed_are_refused_however_many() -> None:
    with pytest.raises(RpcError):
        decode_json(b"[" * 1_000_000)


NEARLY_JSON = st.lists(
    st.sampled_from(["[", "]", "{", "}", '"', ":", ",", "1", "-", "e", "\\u", "d800", " ", "null"])
).map(lambda parts: "".join(parts).encode())


@settings(PROPERTY, max_examples=100)
@given(st.binary(max_size=60) | NEARLY_JSON)
def test_whatever_the_bytes_only_an_rpc_error_leaves(line: bytes) -> None:
    try:
        value = decode_json(line)
    except (ParseError, InvalidRequest):
        return
    assert encode(decode_json(encode(value))) == encode(value)


@PROPERTY
@given(JSON)
def test_json_values_come_back(value: object) -> None:
    assert decode_json(encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [object(), {1, "a", object()}, lambda: None, "\ud800"],
    ids=["object", "set", "function", "surrogate"],
)
def test_what_json_cannot_hold_is_not_encoded(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(value)
