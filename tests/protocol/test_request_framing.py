"""Requests on a byte stream: every case runs with its bytes whole, and again one byte at a time."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_protocol.errors import FrameTooLarge, ParseError, RpcError
from port42_protocol.framing import REQUEST_LIMIT
from port42_protocol.request_framing import Framing, RequestFramer

# No deadline, no slowness check: a busy machine is not a wrong framer.
PROPERTY = settings(max_examples=80)

Cut = Callable[[bytes], Iterable[bytes]]


def requests(
    chunks: Iterable[bytes], limit: int = REQUEST_LIMIT, *, end: bool = False
) -> tuple[list[bytes | str], Framing]:
    """The requests in the chunks, the kind of the error that ended them, and how they were framed."""
    framer, out = RequestFramer(limit), []

    def drain() -> None:
        try:
            while (frame := framer.next_frame()) is not None:
                out.append(frame.strip())
        except RpcError as error:
            out.append(error.kind)

    for chunk in chunks:
        framer.feed(chunk)
        drain()
    if end:
        framer.end()
        drain()
    return out, framer.framing


ONE = b'{"id":1,"a":"]}\\"{"}'
TWO = b'[{"id":2},{"b":[]}]'
PRETTY = json.dumps(json.loads(ONE), indent=2).encode()
L, U, V, H = Framing.LINES, Framing.UNSURE, Framing.VALUES, Framing.HEADERS
HEADED = b"Content-Length: %d\r\n\r\n" % len(ONE) + ONE
REQUESTS = [
    pytest.param(b"", [], Framing.UNDECIDED, id="nothing"),
    pytest.param(b" \r\n\n", [], Framing.UNDECIDED, id="blank lines"),
    pytest.param(ONE + b"\n", [ONE], L, id="a line"),
    pytest.param(ONE + b"\r\n" + TWO + b"\n\n", [ONE, TWO], L, id="lines"),
    pytest.param(b"\n " + ONE + b" \n", [ONE], L, id="white space around it"),
    pytest.param(ONE + b"\n" + TWO, [ONE, TWO], L, id="the last one without a newline"),
    pytest.param(ONE + b"\n" + TWO[:-1], [ONE], L, id="the last one is not whole"),
    pytest.param(ONE, [ONE], U, id="without a newline"),
    pytest.param(ONE + b" ", [ONE], U, id="with a blank"),
    pytest.param(ONE + TWO, [ONE, TWO], V, id="values in a row"),
    pytest.param(ONE + b" " + TWO + b" ", [ONE, TWO], V, id="values between blanks"),
    pytest.param(PRETTY, [PRETTY], V, id="several lines"),
    pytest.param(PRETTY + b"\n" + PRETTY + b"\n", [PRETTY, PRETTY], V, id="several lines, twice"),
    pytest.param(b"[\n" + TWO[1:], [b"[\n" + TWO[1:]], V, id="an array over lines"),
    pytest.param(b"hello\n" + ONE + b"\n", [b"hello", ONE], L, id="no JSON"),
    pytest.param(b"hello", [], Framing.UNDECIDED, id="no JSON and no end"),
    pytest.param(b'{"id":1,\n' + ONE + b"\n", [b'{"id":1,', ONE], L, id="cut off behind a comma"),
    pytest.param(b'{"id\n' + ONE + b"\n", [b'{"id', ONE], L, id="cut off in a string"),
    pytest.param(b"[{]\n" + ONE + b"\n", [b"[{]", ONE], L, id="brackets that do not match"),
    pytest.param(b"}\n" + ONE + b"\n", [b"}", ONE], L, id="a closing bracket"),
    pytest.param(PRETTY + b"]" + b"\n" + ONE, [PRETTY, b"]", ONE], V, id="one bracket too many"),
    pytest.param(HEADED, [ONE], H, id="a header"),
    pytest.param(HEADED + HEADED, [ONE, ONE], H, id="headers"),
    pytest.param(b"content-LENGTH:2\r\nContent-Type: x\r\n\r\n{}", [b"{}"], H, id="any case, other headers"),
    pytest.param(b"Content-Type: x\nContent-Length: 2\n\n{}", [b"{}"], H, id="bare newlines"),
    pytest.param(b"Content-Length: 0\r\n\r\n" + HEADED, [b"", ONE], H, id="a body of nothing"),
    pytest.param(b"Content-Length: 9\r\n\r\n{}", [], H, id="half a body"),
    pytest.param(b"Content-Length: nine\r\n\r\n{}", ["parse_error"], H, id="no number"),
    pytest.param(b"Content-Size: 9\r\n\r\n{}", ["parse_error"], H, id="no length"),
    pytest.param(b"Content-" + b"x" * 5000, ["parse_error"], H, id="a header without end"),
]


@pytest.mark.parametrize(("stream", "expected", "framing"), REQUESTS)
def test_requests(cut: Cut, stream: bytes, expected: list[bytes], framing: Framing) -> None:
    assert requests(cut(stream)) == (expected, framing)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"12345678\n", [b"12345678"]),
        (b"123456789\n", ["frame_too_large"]),
        (b"1234567890", ["frame_too_large"]),
        (b'{"a":"12345"}', ["frame_too_large"]),
        (b"[\n" * 9, ["frame_too_large"]),
        (b"Content-Length: 8\r\n\r\n12345678", [b"12345678"]),
        (b"Content-Length: 9\r\n\r\n", ["frame_too_large"]),
        (b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n", ["frame_too_large"]),
        (b"[" * 700, ["frame_too_large"]),
    ],
)
def test_no_request_is_longer_than_the_limit_and_nothing_behind_it_is_parsed(
    cut: Cut, stream: bytes, expected: list[bytes | str]
) -> None:
    assert requests([*cut(stream), b"\n{}\n" if expected[-1] == "frame_too_large" else b""], 8)[0] == expected


@pytest.mark.parametrize(
    ("before", "begun"),
    [
        *((before, begun) for before in (b"", ONE + b"\n") for begun in (b'{"a":1', b"[[", b"hello")),
        *((before, b"Content-Length: 9\r\n\r\n{}") for before in (b"", HEADED)),
    ],
)
def test_what_is_left_at_the_end_is_a_request(cut: Cut, before: bytes, begun: bytes) -> None:
    """Half a request is not JSON, and is answered so."""
    frames, _ = requests(cut(before + begun), end=True)
    assert frames == ([ONE, begun] if before else [begun])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
JSON_REQUESTS = st.lists(JSON_VALUES, max_size=4) | st.dictionaries(
    st.text(max_size=8), JSON_VALUES, max_size=4
)
WRITTEN: dict[str, Callable[[Any], bytes]] = {
    "line": lambda value: json.dumps(value).encode() + b"\n",
    "value": lambda value: json.dumps(value, ensure_ascii=False).encode(),
    "pretty": lambda value: json.dumps(value, indent=1).encode() + b"\n",
    "headed": lambda value: b"Content-Length: %d\r\n\r\n" % len(text := json.dumps(value).encode()) + text,
}


@pytest.mark.parametrize("written", WRITTEN)
@PROPERTY
@given(values=st.lists(JSON_REQUESTS.filter(bool), max_size=5), data=st.data())
def test_whatever_is_sent_in_whatever_pieces_comes_out(
    written: str, values: list[Any], data: st.DataObject
) -> None:
    stream = b"".join(map(WRITTEN[written], values))
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    frames, _ = requests(stream[begin:end] for begin, end in pairwise(cuts))
    assert [json.loads(frame) for frame in frames] == values


@PROPERTY
@given(
    chunks=st.lists(
        st.binary() | st.sampled_from([b"{", b"}", b'"', b"\\", b"\n", b"Content-Length: 2\r\n\r\n"])
    )
)
def test_whatever_comes_only_the_two_errors_leave(chunks: list[bytes]) -> None:
    framer = RequestFramer(64)
    try:
        for chunk in chunks:
            framer.feed(chunk)
            while (frame := framer.next_frame()) is not None:
                assert len(frame) <= 66
        framer.end()
        while framer.next_frame() is not None:
            pass
    except (FrameTooLarge, ParseError):
        framer.feed(b"{}\n")
        assert framer.next_frame() is None


def test_answers_are_framed_like_requests() -> None:
    for stream, framed in (
        (ONE + b"\n", b"{}\n"),
        (ONE, b"{}\n"),
        (PRETTY, b"{}\n\n"),
        (HEADED, b"Content-Length: 2\r\n\r\n{}"),
    ):
        framer = RequestFramer()
        framer.feed(stream)
        framer.next_frame()
        assert framer.frame(b"{}") == framed


def test_an_empty_line_follows_when_no_newline_came() -> None:
    framer = RequestFramer()
    framer.feed(ONE)
    assert framer.next_frame() == ONE
    assert framer.frame(b"{}") == b"{}\n"
    assert framer.settle() == b"\n"
    assert framer.settle() == b""
    assert framer.frame(b"{}") == b"{}\n\n"


def test_a_newline_soon_behind_the_first_request_makes_lines_of_it() -> None:
    framer = RequestFramer()
    framer.feed(ONE)
    framer.next_frame()
    framer.frame(b"{}")
    framer.feed(b"\r\n")
    assert framer.next_frame() is None
    assert framer.settle() == b""
    assert framer.frame(b"{}") == b"{}\n"


def test_a_second_request_behind_the_first_makes_values_of_them() -> None:
    framer = RequestFramer()
    framer.feed(ONE)
    framer.next_frame()
    framer.frame(b"{}")
    framer.feed(TWO)
    assert framer.next_frame() == TWO
    assert framer.frame(b"[]") == b"\n[]\n\n"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b'{"a":"' + b"x" * 400_000 + b'"}', id="a long string"),
        pytest.param(b'{"a":"' + b"\\\\" * 200_000 + b'"}', id="backslashes"),
        pytest.param(b"[" + b"[]," * 130_000 + b"[]]", id="brackets"),
        pytest.param(b"[" + b" " * 400_000 + b"]", id="white space"),
    ],
)
def test_each_byte_is_looked_at_once_in_however_many_pieces_it_comes(value: bytes) -> None:
    """A scan begins where the last one stopped."""
    framer = RequestFramer()
    frames, scanned = [], 0
    for begin in range(0, len(value), 1000):
        framer.feed(value[begin : begin + 1000])
        frames.append(framer.next_frame())
        assert frames[-1] or framer._scanned >= scanned
        scanned = framer._scanned
    assert [frame for frame in frames if frame is not None] == [value]
