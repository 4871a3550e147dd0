"""The types of the protocol to JSON and back, and results of other versions."""

import re
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers.requests import SUMMARY
from peers.typed_values import EACH, PROPERTY, REQUESTS, RESULTS, instances, named

from port42_protocol.codec import decode_json, decode_params, decode_result, encode, expectation, to_plain
from port42_protocol.messages.records import Summary
from port42_protocol.messages.sessions import (
    Appended,
)

# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REQUESTS, ids=named)
@EACH
@given(st.data())
def test_requests_come_back_by_name_and_by_position(kind: type, data: st.DataObject) -> None:
    request = data.draw(instances(kind))
    params = decode_json(encode(request))
    assert decode_params(kind, params) == request
    assert decode_params(kind, list(params.values())) == request


@pytest.mark.parametrize("kind", RESULTS, ids=named)
@EACH
@given(st.data())
def test_results_come_back(kind: type, data: st.DataObject) -> None:
    result = data.draw(instances(kind))
    line = encode(result)
    assert b"\n" not in line
    assert decode_result(kind, decode_json(line)) == result
    assert encode(decode_result(kind, decode_json(line))) == line


# --- decode_result ------------------------------------------------------------------------------


def test_a_newer_daemons_fields_are_passed_over() -> None:
    result = decode_result(Summary, SUMMARY | {"mood": ["new"]})
    assert result == Summary(**SUMMARY)


def test_an_older_daemons_missing_fields_have_their_defaults() -> None:
    assert decode_result(Summary, SUMMARY).tags == ()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"session_id": "cli-1"},
        {"session_id": "cli-1", "seq": "1"},
        {"session_id": "cli-1", "seq": None},
    ],
    ids=repr,
)
def test_a_result_that_does_not_fit_is_refused(value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_result(Appended, value)


def test_output_is_compact_and_one_line() -> None:
    assert encode({"a": ["é\n", 1.0, None]}) == '{"a":["é\\n",1.0,null]}'.encode()
    assert re.search(rb"[\x00-\x1f]", encode("".join(map(chr, range(0x80))))) is None


@pytest.mark.parametrize("kind", RESULTS, ids=named)
@settings(PROPERTY, max_examples=10)
@given(data=st.data())
def test_plain_values_are_written_as_the_same_json(kind: type, data: st.DataObject) -> None:
    result = data.draw(instances(kind))
    plain = to_plain(result)
    assert type(plain) is dict
    assert encode(plain) == encode(result)


def test_every_parameter_says_what_it_accepts_in_whole_words():
    for request in REQUESTS:
        for name, hint in get_type_hints(request, include_extras=True).items():
            expected = expectation(hint)
            assert expected, (request.__name__, name)
            assert not expected.endswith("one of "), (request.__name__, name)
