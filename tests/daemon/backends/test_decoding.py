"""JSON of other programs: emojis cut in two, bytes that are no UTF-8."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from port42_daemon.backends.decoding import ANY, SurrogateJoiner, decode, whole


def joined(pieces):
    joiner = SurrogateJoiner()
    return "".join([*map(joiner.feed, pieces), joiner.end()])


@given(st.text(), st.lists(st.integers(0, 200)))
def test_text_cut_anywhere_between_utf16_units_is_joined(text, cuts):
    units = text.encode("utf-16-le", "surrogatepass")
    pieces, start = [], 0
    for cut in sorted(cuts):
        end = min(2 * cut, len(units))
        pieces.append(units[start:end].decode("utf-16-le", "surrogatepass"))
        start = max(start, end)
    pieces.append(units[start:].decode("utf-16-le", "surrogatepass"))
    assert joined(pieces) == whole(text)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["a \ud83e", "\udd8a b"], "a 🦊 b"),
        (["a \ud83e", " b"], "a � b"),
        (["\udd8a b"], "� b"),
        (["a \ud83e"], "a �"),
        (["\ud83e", "", "\udd8a"], "🦊"),
        (["\ud83e", "\ud83e", "\udd8a"], "�🦊"),
    ],
)
def test_half_a_pair_is_joined_or_replaced(pieces, text):
    assert joined(pieces) == text


def test_json_with_half_a_pair_and_with_cut_bytes_is_read():
    assert decode(rb'{"a": "fox \ud83e", "n": 1}', ANY) == {"a": "fox \ud83e", "n": 1}
    assert decode(b'{"a": "fox \xf0\x9f\xa6"}', ANY) == {"a": "fox �"}
    typed = msgspec.json.Decoder(dict[str, int])
    with pytest.raises(msgspec.DecodeError):
        decode(rb'{"a": "\ud83e"}', typed)


@pytest.mark.parametrize("data", [b"", b"{", b"nope", b"[" * 100_000, rb'{"a": "\ud83e'])
def test_what_is_no_json_is_said_so(data):
    with pytest.raises(msgspec.DecodeError):
        decode(data, ANY)


@given(st.text())
def test_whole_text_can_be_written(text):
    assert json.loads(msgspec.json.encode(whole(text))) == whole(text)
