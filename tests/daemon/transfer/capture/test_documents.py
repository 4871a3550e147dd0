"""Captured databases, and files that are written whole."""

from __future__ import annotations

from peers import llm_database
from peers.capturing import captured, sessions


def test_a_database_that_grows(daemon, tmp_path):
    path = tmp_path / "logs.db"
    llm_database.old(path, {"c1": [("one", "eins")]})
    daemon.call("set_capture", name="llm", on=True, path=str(tmp_path))
    captured(daemon, "be brief", "one", "eins", agent="llm")
    llm_database.old(path, {"c1": [("one", "eins"), ("two", "zwei")], "c2": [("three", "drei")]})
    captured(daemon, "be brief", "one", "eins", "two", "zwei", agent="llm")
    captured(daemon, "be brief", "three", "drei", agent="llm")
    assert len(sessions(daemon, "llm")) == 2


def test_a_file_that_is_written_whole(daemon, tmp_path):
    path = tmp_path / "chat.yaml"
    first = "model: m\nmessages:\n- role: user\n  content: yes\n- role: assistant\n  content: good\n"
    path.write_text(first)
    daemon.call("set_capture", name="aichat", on=True, path=str(tmp_path))
    captured(daemon, "yes", "good", agent="aichat")
    path.write_text(first + "- role: user\n  content: 'yes'\n")
    captured(daemon, "yes", "good", "yes", agent="aichat")
    path.write_text(first)
    path.write_text(first + "- role: user\n  content: 'yes'\n- role: assistant\n  content: bye\n")
    captured(daemon, "yes", "good", "yes", "bye", agent="aichat")
    assert len(sessions(daemon, "aichat")) == 1
