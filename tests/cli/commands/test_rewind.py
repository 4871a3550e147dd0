"""`port42 rewind`: to a record, or without the last turns."""

from __future__ import annotations

import pytest


def test_without_the_last_turns_and_to_a_record(daemon, port42):
    daemon.call("create_session", agent="ai-muse", session_id="long")
    for number in range(300):
        role = "user" if number % 2 == 0 else "assistant"
        daemon.call("append_message", agent="ai-muse", session_id="long", role=role, content=str(number))
    for args, seq in ((["--turns", "1"], 298), (["--turns", "149"], 2), (["7"], 7)):
        assert port42.json("rewind", "long", *args, "--json")["forked_from"]["seq"] == seq
    done = port42("rewind", "long", "--turns", "150")
    assert (done.returncode, done.stderr) == (
        1, "Error: --turns: expected at most 149, so that something is left of the session\n",
    )  # fmt: skip
    assert port42.json("show", "long", "--json")["session"]["message_count"] == 300


@pytest.mark.parametrize("args", [[], ["1", "--turns", "1"], ["0"], ["--turns", "0"]])
def test_one_of_the_two_is_wanted(port42, args):
    assert port42("rewind", "some", *args).returncode == 2
