"""Captured databases, and files that are written whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peers import llm_database
from peers.capturing import captured, eventually, sessions

TOOLS = Path(__file__).parents[3] / "data" / "tools"


def test_a_database_that_grows(daemon, tmp_path):
    path = tmp_path / "logs.db"
    llm_database.old(path, {"c1": [("one", "eins")]})
    daemon.call("set_capture", name="llm", on=True, path=str(tmp_path))
    captured(daemon, "be brief", "one", "eins", agent="llm")
    llm_database.old(path, {"c1": [("one", "eins"), ("two", "zwei")], "c2": [("three", "drei")]})
    captured(daemon, "be brief", "one", "eins", "two", "zwei", agent="llm")
    captured(daemon, "be brief", "three", "drei", agent="llm")
    assert len(sessions(daemon, "llm")) == 2


def test_what_is_no_database_any_more_is_named_and_its_sessions_stay(daemon, tmp_path):
    path = tmp_path / "logs.db"
    llm_database.old(path, {"c1": [("one", "eins")]})
    daemon.call("set_capture", name="llm", on=True, path=str(tmp_path))
    captured(daemon, "be brief", "one", "eins", agent="llm")

    def problem():
        return {tool["name"]: tool["problem"] for tool in daemon.call("get_capture")["tools"]}["llm"]

    whole = path.read_bytes()
    path.write_bytes(whole[:5000])
    assert eventually(problem) == f"{path}: it is not one of llm any more"
    path.write_bytes(whole)
    eventually(lambda: problem() is None)
    assert len(sessions(daemon, "llm")) == 1


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


def test_aiders_histories_in_the_folders_of_projects(daemon, tmp_path):
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("set_capture", name="aider", on=True)
    assert refused.value.data["field"] == "path"
    project = tmp_path / "code" / "mill"
    (project / "node_modules").mkdir(parents=True)
    history = next(TOOLS.rglob(".aider.chat.history.md")).read_text()
    (project / "node_modules" / ".aider.chat.history.md").write_text(history)
    starts = history.split("# aider chat started at ")
    assert len(starts) == 4
    path = project / ".aider.chat.history.md"
    path.write_text("# aider chat started at ".join(starts[:3]))
    daemon.call("set_capture", name="aider", on=True, path=str(tmp_path / "code"))
    eventually(lambda: len(sessions(daemon, "aider")) == 2)
    with path.open("a") as file:
        file.write("# aider chat started at " + starts[3])
    eventually(lambda: len(sessions(daemon, "aider")) == 3)
    imported = daemon.call("import_sessions", path=str(path), agent="aider")
    assert (imported["imported"], imported["unchanged"]) == ([], 3)


def test_gemini_clis_older_chats(daemon, tmp_path):
    chat = next((TOOLS / "gemini-0.17").rglob("*a5c91687.json"))
    folder = tmp_path / "tmp" / "mill" / "chats"
    folder.mkdir(parents=True)
    whole = json.loads(chat.read_bytes())
    path = folder / chat.name
    path.write_text(json.dumps({**whole, "messages": whole["messages"][:1]}))
    (folder.parent / "logs.json").write_text('[{"sessionId": "x", "message": "hi"}]')
    daemon.call("set_capture", name="gemini", on=True, path=str(tmp_path / "tmp"))
    [begun] = eventually(lambda: sessions(daemon, "gemini"))
    path.write_bytes(chat.read_bytes())
    eventually(lambda: sessions(daemon, "gemini")[0]["message_count"] > begun["message_count"])
    imported = daemon.call("import_sessions", path=str(path), agent="gemini")
    assert (imported["imported"], imported["unchanged"]) == ([], 1)
    assert len(sessions(daemon, "gemini")) == 1
    assert daemon.call("get_capture")["tools"][2]["problem"] is None
