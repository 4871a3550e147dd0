"""`port42 rpc`: params as JSON or as pairs, results and errors as JSON."""

from __future__ import annotations

import json

import pytest

from port42_cli.commands import rpc as subject
from port42_protocol import __version__


def test_a_result_is_json_on_stdout(port42):
    assert port42.json("rpc", "status")["version"] == __version__
    assert port42.json("rpc", "rpc.discover")["openrpc"].startswith("1.")


@pytest.mark.parametrize(
    "params",
    [['{"agent": "@ai-muse"}'], ['["ai-muse"]'], ["agent=@ai-muse"], ["agent=ai-muse", "cwd=/"]],
)
def test_params_are_an_object_an_array_or_pairs(port42, params):
    port42.begin("@ai-muse", "hi", cwd="/")
    assert port42.json("rpc", "get_last_session", *params)["agent"] == "ai-muse"


def test_an_error_is_json_on_stderr_and_1(port42):
    done = port42("rpc", "get_last_session", "agent=ai-muse")
    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr)
    assert (error["code"], error["message"]) == (1001, "No sessions found for ai-muse")
    assert error["data"]["kind"] == "no_sessions"


def test_an_unknown_method_is_the_daemons_to_tell(port42):
    done = port42("rpc", "get_last_sessions", "agent=x")
    assert json.loads(done.stderr)["data"]["suggestions"][0] == "get_last_session"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (["{"], "PARAMS: expected JSON:"),
        (["[1"], "PARAMS: expected JSON:"),
        (["[" * 100_000], "PARAMS: expected JSON:"),
        (["agent"], "expected one JSON object or array, or KEY=VALUE pairs, got 'agent'"),
        (["=x"], "KEY=VALUE pairs, got '=x'"),
        (["a=1", "a=2"], "a is given twice"),
        (['{"a": NaN}'], "NaN and Infinity are not JSON numbers"),
    ],
)
def test_params_that_are_none_are_a_usage_error(port42, params, words):
    done = port42("rpc", "status", *params)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("method", "key", "text", "value"),
    [
        ("list_sessions", "limit", "5", 5),
        ("list_sessions", "limit", "five", "five"),
        ("get_session", "events", "true", True),
        ("create_session", "session_id", "42", "42"),
        ("create_session", "title", '"quoted"', '"quoted"'),
        ("create_session", "metadata", '{"a": 1}', {"a": 1}),
        ("append_message", "content", "null", "null"),
        ("append_message", "content", "a=b", "a=b"),
        ("no_such_method", "limit", "5", 5),
        ("no_such_method", "name", "five", "five"),
        ("status", "no_such_field", "[1]", [1]),
    ],
)
def test_a_value_is_text_where_text_is_taken_and_json_elsewhere(method, key, text, value):
    assert subject._params(method, (f"{key}={text}",)) == {key: value}


def test_a_program_answers_through_it(port42):
    begun = port42.begin("@ai-muse", "say hello")
    port42.json(
        "rpc", "append_message", "agent=ai-muse", f"session_id={begun}", "role=assistant", "content=hello"
    )
    messages = port42.json("show", begun, "--json")["messages"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("user", "say hello"),
        ("assistant", "hello"),
    ]
