"""Lines on a byte stream: every case runs with its bytes whole, and again one byte at a time."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from port42_protocol.errors import FrameTooLarge
from port42_protocol.framing import REQUEST_LIMIT, LineFramer

# No deadline, no slowness check: a busy machine is not a wrong framer.
PROPERTY = settings(max_examples=80)

Cut = Callable[[bytes], Iterable[bytes]]


def drain(framer: LineFramer) -> list[bytes | FrameTooLarge]:
    """Every line that is ready, then the error if that is what stopped it."""
    out: list[bytes | FrameTooLarge] = []
    try:
        while (line := framer.next_line()) is not None:
            out.append(line)
    except FrameTooLarge as error:
        out.append(error)
    return out


def frames(chunks: Iterable[bytes], limit: int = REQUEST_LIMIT, *, end: bool = False) -> list[bytes | str]:
    """What comes out of the chunks in order; an overlong line shows as its kind."""
    framer = LineFramer(limit)
    out = []
    for chunk in chunks:
        framer.feed(chunk)
        out += drain(framer)
    if end:
        framer.end()
        out += drain(framer)
    return [one.kind if isinstance(one, FrameTooLarge) else one for one in out]


LINES = [
    pytest.param(b"", [], id="nothing"),
    pytest.param(b"one", [], id="unfinished"),
    pytest.param(b"one\n", [b"one"], id="one"),
    pytest.param(b"one\ntwo\nthr", [b"one", b"two"], id="two and a half"),
    pytest.param(b"\n\n\none\n\n\n", [b"one"], id="blank lines"),
    pytest.param(b" \n\t\n\r\none\n \r\n", [b"one"], id="lines of white space"),
    pytest.param(b"one\r\ntwo\r\n", [b"one", b"two"], id="crlf"),
    pytest.param(b"one\r\r\n", [b"one\r"], id="only the last carriage return goes"),
    pytest.param(b"o\rne\n", [b"o\rne"], id="carriage return inside"),
    pytest.param(b" one \n", [b" one "], id="white space is kept"),
    pytest.param(b"\x00\xff\xfe\n", [b"\x00\xff\xfe"], id="any bytes"),
    pytest.param("é→📌\n".encode(), ["é→📌".encode()], id="characters of many bytes"),
]


@pytest.mark.parametrize(("stream", "expected"), LINES)
def test_lines(cut: Cut, stream: bytes, expected: list[bytes]) -> None:
    assert frames(cut(stream)) == expected


LIMITED = [
    pytest.param(b"12345678\n", [b"12345678"], id="exactly the limit"),
    pytest.param(b"12345678\r\n", [b"12345678"], id="exactly the limit and crlf"),
    pytest.param(b"123456789\n", ["frame_too_large"], id="one over"),
    pytest.param(b"123456789\r\n", ["frame_too_large"], id="one over and crlf"),
    pytest.param(b"12345678\r\r\n", ["frame_too_large"], id="a carriage return too many"),
    pytest.param(b"1234567890", ["frame_too_large"], id="over without a newline"),
    pytest.param(b"12345678\r", [], id="a carriage return that may end the line"),
    pytest.param(b" " * 10 + b"\n", ["frame_too_large"], id="blank but over"),
    pytest.param(b"ok\n1234567890\n", [b"ok", "frame_too_large"], id="a good line before it"),
    pytest.param(b"1234567890\nok\n", ["frame_too_large"], id="a good line after it"),
    pytest.param(b"\n" * 20 + b"ok\n", [b"ok"], id="blank lines do not add up"),
    pytest.param(b"12345\n67890\n", [b"12345", b"67890"], id="lines do not add up"),
]


@pytest.mark.parametrize(("stream", "expected"), LIMITED)
def test_limit(cut: Cut, stream: bytes, expected: list[bytes | str]) -> None:
    assert frames(cut(stream), limit=8) == expected


ENDED = [
    pytest.param(b"", [], id="nothing"),
    pytest.param(b"one", [b"one"], id="a last line without newline"),
    pytest.param(b"one\n", [b"one"], id="a last line with newline"),
    pytest.param(b"one\r", [b"one"], id="half of a crlf"),
    pytest.param(b"one\ntwo", [b"one", b"two"], id="two lines"),
    pytest.param(b"one\n  ", [b"one"], id="white space left over"),
    pytest.param(b"12345678", [b"12345678"], id="exactly the limit"),
    pytest.param(b"12345678\r", [b"12345678"], id="exactly the limit and half a crlf"),
    pytest.param(b"123456789", ["frame_too_large"], id="one over"),
    pytest.param(b"1234567890\nok", ["frame_too_large"], id="a tail after an overlong line"),
]


@pytest.mark.parametrize(("stream", "expected"), ENDED)
def test_end(cut: Cut, stream: bytes, expected: list[bytes | str]) -> None:
    assert frames(cut(stream), limit=8, end=True) == expected


def test_end_before_anything_was_taken(cut: Cut) -> None:
    framer = LineFramer()
    for chunk in cut(b"one\ntwo"):
        framer.feed(chunk)
    framer.end()
    assert drain(framer) == [b"one", b"two"]


def test_end_twice_gives_the_last_line_once(cut: Cut) -> None:
    framer = LineFramer()
    for chunk in cut(b"one"):
        framer.feed(chunk)
    framer.end()
    framer.end()
    assert drain(framer) == [b"one"]
    framer.end()
    assert drain(framer) == []


def test_nothing_is_parsed_from_the_tail_of_an_overlong_line(cut: Cut) -> None:
    tail = b'{"jsonrpc":"2.0","method":"status","id":1}\n'
    framer = LineFramer(limit=64)
    for chunk in cut(b"x" * 66):
        framer.feed(chunk)
    with pytest.raises(FrameTooLarge):
        framer.next_line()
    for chunk in cut(tail * 3):
        framer.feed(chunk)
        assert framer.next_line() is None
    framer.end()
    assert framer.next_line() is None


def test_the_error_says_the_limit() -> None:
    framer = LineFramer(limit=8)
    framer.feed(b"123456789\n")
    with pytest.raises(FrameTooLarge, match="at most 8 bytes") as caught:
        framer.next_line()
    assert caught.value.data == {"kind": "frame_too_large", "retryable": False, "limit": 8}


def test_the_limit_of_a_request_is_four_mebibytes() -> None:
    longest = b"x" * REQUEST_LIMIT
    assert REQUEST_LIMIT == 4 * 1024 * 1024
    assert frames([longest, b"\n"]) == [longest]
    assert frames([longest, b"x\n"]) == ["frame_too_large"]


def test_the_overlong_line_is_not_kept() -> None:
    framer = LineFramer(limit=8)
    framer.feed(b"x" * 1000)
    with pytest.raises(FrameTooLarge):
        framer.next_line()
    framer.feed(b"y" * 1000)
    assert framer._buffer == b""  # what it holds on to has no other witness


def test_a_line_that_trickles_in_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(bytearray):
        looked_at = 0

        def find(self, sub: bytes, start: int = 0) -> int:
            Watched.looked_at += len(self) - start
            return super().find(sub, start)

    framer = LineFramer()
    framer._buffer = Watched()
    for _ in range(2000):
        framer.feed(b"x")
        assert framer.next_line() is None
    assert Watched.looked_at == 2000


# --- properties ---------------------------------------------------------------------------------

# Short lines of the characters that matter, so that most streams come near the limit of 8.
STREAM = st.lists(st.sampled_from([b"x", b"yy", b"\n", b"\r", b"\r\n", b" ", b"zzzzzzz"])).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream = draw(STREAM)
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)))))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[a:b] for a, b in pairwise(edges)]


@PROPERTY
@given(chunked(), st.booleans())
def test_any_chunking_gives_the_same(example: tuple[bytes, list[bytes]], end: bool) -> None:
    stream, chunks = example
    assert frames(chunks, limit=8, end=end) == frames([stream], limit=8, end=end)


@PROPERTY
@given(STREAM, st.booleans())
def test_what_comes_out_is_what_splitting_says(stream: bytes, end: bool) -> None:
    """The same rules written the slow way: split, strip, stop at the first line over the limit."""
    *lines, rest = stream.split(b"\n")
    if end:
        lines.append(rest)
        rest = b""
    expected: list[bytes | str] = []
    for line in lines:
        if len(line.removesuffix(b"\r")) > 8:
            expected.append("frame_too_large")
            break
        if line.strip():
            expected.append(line.removesuffix(b"\r"))
    else:
        if len(rest) > 9:
            expected.append("frame_too_large")
    assert frames([stream], limit=8, end=end) == expected


@PROPERTY
@given(st.lists(st.binary(max_size=30)), st.integers(0, 12))
def test_only_frame_too_large_leaves_and_only_once(chunks: list[bytes], limit: int) -> None:
    out = frames(chunks, limit=limit, end=True)
    assert "frame_too_large" not in out[:-1]
    assert all(one == "frame_too_large" or len(one) <= limit for one in out)
