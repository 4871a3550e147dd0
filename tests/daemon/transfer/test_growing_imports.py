"""A file that is imported again and again while its program writes it: everything comes in, once."""

from __future__ import annotations

import os

import pytest
from peers.capturing import captured
from peers.claude_transcript import File, result, tool
from peers.importing import import_all, transcript

USAGE = {"input_tokens": 10, "output_tokens": 3}
QUIET = (1, 1)
"""The time of a file that no program writes any more."""


def write(path, file, time=None):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in file.lines()))
    os.utime(path, time)


def records(daemon, session_id):
    return transcript(daemon, session_id)["messages"]


def tokens(daemon, session_id):
    turns = [record["turn"] for record in records(daemon, session_id) if record.get("turn")]
    return sum(turn["input_tokens"] or 0 for turn in turns), sum(turn["output_tokens"] or 0 for turn in turns)


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_file_that_ended_with_tokens_and_goes_on(daemon, tmp_path, role):
    """The reader reports them at the end of the file, and then with what follows."""
    file = File().user("draw a boat").assistant("", usage=USAGE)
    for change in ("new", "grown"):
        write(tmp_path / "a.jsonl", file, QUIET)
        [session], skipped, _ = import_all(daemon, tmp_path, agent="ai-muse")
        assert (session["change"], session["messages"], skipped) == (change, 1, [])
        getattr(file, role)("and a sail")
    assert records(daemon, session["session_id"])[-1]["content"] == "and a sail"
    assert tokens(daemon, session["session_id"]) == (10, 3)


@pytest.mark.parametrize("time", [None, QUIET])
def test_tokens_are_counted_once_however_often_a_file_that_grows_is_imported(daemon, tmp_path, time):
    """A call costs, too, though no message has its tokens."""
    file, path = File().user("draw a boat"), tmp_path / "in" / "a.jsonl"
    for number in range(8):
        part = "a part" if number in {0, 3} else tool(f"t{number}")
        file.assistant(part, answer=f"m{number}", usage=USAGE)
        if number in {1, 5}:
            file.user([result(f"t{number}", "ok")])
        write(path, file, time)
        import_all(daemon, path, agent="ai-muse")
        import_all(daemon, path.parent, agent="ai-muse")
    write(path, file, (2, 2))
    import_all(daemon, path, agent="ai-muse")
    [grown] = daemon.call("list_sessions")["sessions"]
    assert tokens(daemon, grown["session_id"]) == (80, 24)
    assert import_all(daemon, path.parent, agent="ai-muse") == ([], [], 1)


def test_the_tokens_of_a_file_that_was_just_written_are_all_there(daemon, tmp_path):
    file = File().user("draw a boat").assistant("a part", answer="m0", usage=USAGE)
    write(tmp_path / "a.jsonl", file.assistant(tool("t"), answer="m1", usage=USAGE))
    [session], _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    assert tokens(daemon, session["session_id"]) == (20, 6)
    write(tmp_path / "a.jsonl", file.user([result("t", "ok")]).assistant("done", answer="m2", usage=USAGE))
    assert import_all(daemon, tmp_path, agent="ai-muse", again=True)[0][0]["change"] == "rewritten"
    assert tokens(daemon, session["session_id"]) == (30, 9)


def test_a_call_that_ends_after_the_first_import_comes_in(daemon, tmp_path):
    """Until then there were only messages, as in what an early version imported."""
    file = File().user("draw a boat").assistant("I look.", tool("t"))
    write(tmp_path / "a.jsonl", file)
    [session], _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    write(tmp_path / "a.jsonl", file.user([result("t", "ok")]).assistant("drawn"))
    import_all(daemon, tmp_path, agent="ai-muse")
    assert [record["role"] for record in records(daemon, session["session_id"])] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_tokens_that_an_import_counted_are_not_counted_by_capture_again(daemon, tmp_path):
    file = File().user("draw a boat").assistant("a part", answer="m0", usage=USAGE)
    path = tmp_path / "projects" / "boat" / "a.jsonl"
    path.parent.mkdir(parents=True)
    write(path, file.assistant(tool("t"), answer="m1", usage=USAGE))
    [session], _, _ = import_all(daemon, path, agent="claude")
    daemon.call("set_capture", name="claude", on=True, path=str(tmp_path / "projects"))
    write(path, file.user([result("t", "ok")]).assistant("drawn", answer="m2", usage=USAGE))
    captured(daemon, "draw a boat", "a part", "drawn")
    assert tokens(daemon, session["session_id"]) == (30, 9)
