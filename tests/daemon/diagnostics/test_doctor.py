"""`check_home` of a real daemon: everything is checked, beside writers too, and repaired once."""

from __future__ import annotations

import base64
import json
import os
import threading

import pytest


@pytest.fixture
def check(daemon):
    """Every finding of one check, its backup, and the number of pages."""

    def run(**params):
        findings, backup, answers = [], None, 0
        while True:
            page = daemon.call("check_home", **params)
            findings += page["findings"]
            backup = page["backup"] or backup
            answers += 1
            if not page["next_cursor"]:
                return findings, backup, answers
            params["cursor"] = page["next_cursor"]

    return run


def open_findings(findings):
    return [finding for finding in findings if finding["level"] != "ok" and not finding["fixed"]]


def test_a_fresh_home_is_healthy(daemon, check):
    daemon.call("create_session", agent="ai-muse")
    findings, backup, _ = check()
    assert open_findings(findings) == []
    assert backup is None
    assert not (daemon.home / "backups").exists()
    about = {finding["about"] for finding in findings}
    assert about == {
        "lock", "socket", "disk", "permissions", "index", "mapping", "config", "backends", "threads",
        "environment",
    }  # fmt: skip


def test_damage_of_every_kind_is_found_and_repaired_once(daemon, check):
    ids = [daemon.call("create_session", agent="ai-muse")["session_id"] for _ in range(5)]
    for session_id in ids:
        for _ in range(3):
            daemon.call("append_message", agent="ai-muse", session_id=session_id, role="user", content="x")
    while not daemon.call("get_index_status")["complete"]:  # from then on the index's thread reads nothing
        pass
    folder, home = daemon.home / "sessions", daemon.home
    paths = [folder / f"{finding}.json" for finding in ids]
    paths[0].write_bytes(paths[0].read_bytes().replace(b'"message_count":3', b'"message_count":4'))
    paths[1].write_bytes(paths[1].read_bytes().replace(b'"seq":2,"role":"user"', b'"seq":2,"role":user'))
    paths[2].chmod(0o644)
    paths[3].write_bytes(b"junk")
    (folder / "notes.txt").write_text("mine")
    (folder / f"{ids[0]}.partial").write_text(
        json.dumps({"session_id": ids[0], "agent": "ai-muse", "question": 3, "turn": {"backend": "x"}})
        + '\n"half a reply"\n'
    )
    (home / "agent_sessions.json").write_text("{}")
    (home / "config.toml").write_text("[agents.x]\nbackend = 7\n")
    before = {path: path.read_bytes() for path in home.rglob("*.json")}
    findings, _, _ = check()
    assert {path: path.read_bytes() for path in before} == before
    assert {(finding["level"], finding["about"]) for finding in open_findings(findings)} >= {
        ("problem", "sessions"),
        ("problem", "permissions"),
        ("problem", "mapping"),
        ("problem", "config"),
        ("notice", "sessions"),
        ("notice", "index"),
    }
    fixed, backup, _ = check(fix=True)
    assert [finding["about"] for finding in open_findings(fixed)] == ["config"]
    assert open_findings(fixed)[0]["do"] == "correct it; until then its last valid version is used"
    assert "line 2: agents.x.backend" in open_findings(fixed)[0]["what"]
    assert {path.name for path in (home / backup).rglob("*") if path.is_file()} >= {
        paths[0].name,
        paths[1].name,
        paths[3].name,
        "notes.txt",
        f"{ids[0]}.partial",
        "agent_sessions.json",
        "modes.txt",
    }
    (home / "config.toml").unlink()
    assert open_findings(check()[0]) == []
    page = daemon.call("get_session", session_id=ids[0])["messages"]
    assert page[-1]["content"] == "half a reply"
    assert page[-1]["status"] == "interrupted"
    assert len(daemon.call("get_session", session_id=ids[1])["messages"]) == 2
    assert daemon.call("get_last_session", agent="ai-muse")["session_id"] == ids[4]
    assert daemon.call("list_sessions")["sessions"][0]["session_id"]


def test_the_index_is_made_anew_when_its_file_is_gone(daemon, check):
    daemon.call("create_session", agent="ai-muse")
    (daemon.home / "index.db").unlink()
    assert [finding["about"] for finding in open_findings(check()[0])] == ["index"]
    check(fix=True)
    assert open_findings(check()[0]) == []
    assert len(daemon.call("list_sessions")["sessions"]) == 1


def test_names_of_variables_are_in_findings_and_values_never(daemon, check):
    (daemon.home / "config.toml").write_text(
        '[backends.b]\ntype = "openai"\nmodel = "m"\napi_key_env = "P42_NO_SUCH"\n[agents.a]\nbackend = "b"\n'
    )
    (daemon.home / "config.toml").chmod(0o600)
    findings, _, _ = check(environment=["P42_NO_SUCH", "HOME"])
    (finding,) = [finding for finding in findings if finding["about"] == "environment"]
    assert (finding["level"], finding["what"].split()[0]) == ("problem", "P42_NO_SUCH")
    assert "port42 daemon restart" in finding["do"]


def test_a_repair_is_safe_beside_writers(daemon, check):
    """Repeated repairs while messages are appended: nothing is called damaged, nothing is lost."""
    session_id = daemon.call("create_session", agent="ai-muse")["session_id"]
    stop, sent = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            params = {"agent": "ai-muse", "session_id": session_id, "role": "user", "content": "y" * 500}
            sent.append(daemon.call("append_message", **params)["seq"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            findings, backup, _ = check(fix=True)
            assert open_findings(findings) == []
            assert backup is None
    finally:
        stop.set()
        writer.join()
    assert len(daemon.call("get_session", session_id=session_id, limit=10_000)["messages"]) == len(sent)


def test_an_invalid_cursor(daemon):
    stamp = "20260101T000000-../x"
    parts = ("x", "sessions", "sessions  x", "../etc  ", "trash !! ", f"sessions  {stamp}", "sessions f ")
    for cursor in ("x", *(base64.urlsafe_b64encode(text.encode()).decode() for text in parts)):
        with pytest.raises(pytest.RpcFailed) as refused:
            daemon.call("check_home", cursor=cursor, fix=True)
        assert (refused.value.code, refused.value.data["field"]) == (-32602, "cursor")
        assert "next_cursor" in refused.value.message
    assert not os.path.lexists(daemon.home / "backups")
