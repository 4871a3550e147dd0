"""`import_sessions` against a real daemon: nothing twice, nothing lost, and each agent's last its own."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from peers import llm_database
from peers.importing import import_all, transcript

DATA = Path(__file__).parents[2] / "data" / "imports"


@pytest.mark.parametrize("source", ["claude", "codex", "aichat", "original"])
def test_again_changes_nothing(daemon, tmp_path, source):
    imported, skipped, _ = import_all(daemon, DATA / source, agent="@ai-muse")
    assert imported
    assert all(item["change"] == "new" and item["agent"] == "ai-muse" for item in imported)
    before = [transcript(daemon, item["session_id"]) for item in imported]
    shutil.copytree(DATA / source, tmp_path / "elsewhere" / source)  # another path, the same sessions
    for path in (DATA / source, tmp_path / "elsewhere" / source):
        assert import_all(daemon, path, agent="ai-muse") == ([], skipped, len(imported))
    assert [transcript(daemon, item["session_id"]) for item in imported] == before
    assert before[0]["session"]["message_count"] == imported[0]["messages"]


def test_a_longer_source_is_appended_and_a_continued_session_is_not_changed(daemon, tmp_path):
    path = tmp_path / "logs.db"
    llm_database.old(path, {"a": [("1", "one")], "b": [("1", "one")]})
    imported, _, _ = import_all(daemon, path, agent="ai-muse")
    [here, continued] = [item["session_id"] for item in imported]
    daemon.call("append_message", agent="ai-muse", session_id=continued, role="user", content="mine")
    assert import_all(daemon, path, agent="ai-muse") == ([], [], 2)
    llm_database.old(path, {"a": [("1", "one"), ("2", "two")], "b": [("1", "one"), ("2", "two")]})
    imported, skipped, unchanged = import_all(daemon, path, agent="ai-muse")
    assert [(item["session_id"], item["change"], item["messages"]) for item in imported] == [
        (here, "grown", 2)
    ]
    assert [(item["source"], "continued here" in item["reason"]) for item in skipped] == [("b", True)]
    assert unchanged == 0
    said = [item["content"] for item in transcript(daemon, here)["messages"]]
    assert said == ["be brief", "1", "one", "2", "two"]
    assert [item["content"] for item in transcript(daemon, continued)["messages"]][-1] == "mine"


def test_an_import_does_not_change_an_agents_last_session(daemon):
    own = daemon.call("create_session", agent="ai-muse")["session_id"]
    import_all(daemon, DATA / "codex", agent="ai-muse")
    assert daemon.call("get_last_session", agent="ai-muse")["session_id"] == own
    import_all(daemon, DATA / "claude", agent="newcomer")
    assert daemon.call("get_last_session", agent="newcomer")["title"] == "A parser for arithmetic"


def test_the_newest_of_an_import_is_last_also_across_calls(daemon, tmp_path):
    path = tmp_path / "logs.db"
    times = {f"c{number:03}": [("1", "x")] * (5 if number == 7 else 1) for number in range(120)}
    llm_database.old(path, times)
    imported, _, _ = import_all(daemon, path, agent="fresh")
    assert len(imported) == 120
    assert daemon.call("get_last_session", agent="fresh")["title"] == "about c007"


@pytest.mark.parametrize("source", ["claude", "codex", "aichat", "original"])
def test_a_dry_run_reports_what_the_import_will_do_and_writes_nothing(daemon, source):
    preview = import_all(daemon, DATA / source, agent="ai-muse", dry_run=True)
    assert all(session["title"] for session in preview[0])
    assert daemon.call("list_sessions")["sessions"] == []
    assert import_all(daemon, DATA / source, agent="ai-muse") == preview


def test_a_dry_run_has_the_title_that_a_stored_session_will_have(daemon, tmp_path):
    transcript_file(tmp_path / "a.jsonl", "one", *HELLO)
    import_all(daemon, tmp_path, agent="ai-muse")
    for title in ("draw a boat", "The boat"):
        more = [entry("", 3, "user", "in blue"), {"type": "custom-title", "customTitle": title}]
        transcript_file(tmp_path / "a.jsonl", "one", *HELLO, *more)
        preview = import_all(daemon, tmp_path, agent="ai-muse", dry_run=True)
        assert [session["title"] for session in preview[0]] == [title]
    assert import_all(daemon, tmp_path, agent="ai-muse") == preview


def test_an_imported_session_stays_with_its_agent(daemon):
    import_all(daemon, DATA / "codex", agent="ai-muse")
    imported, skipped, _ = import_all(daemon, DATA / "codex", agent="ai-engineer")
    assert imported == []
    assert all("of @ai-muse" in item["reason"] for item in skipped)


def test_port42s_json_is_imported_whole_also_beside_another_session_of_its_id(daemon, start_daemon, tmp_path):
    begun = daemon.call("create_session", agent="ai-muse", session_id="parser-1", title="first")["session_id"]
    daemon.call(
        "append_message", agent="ai-muse", session_id=begun, role="user", content="hi", idempotency_key="k"
    )
    daemon.call("end_session", session_id=begun)
    text = daemon.call("export_session", session_id=begun)["text"]
    file = tmp_path / "parser-1.json"
    file.write_text(text)
    assert import_all(daemon, file) == ([], [], 1)
    other = start_daemon(home=tmp_path / "other", socket=daemon.socket.with_name("other.sock"))
    taken = other.call("create_session", agent="ai-muse", session_id="parser-1")
    [imported], _, _ = import_all(other, file)
    assert imported["session_id"].startswith("port42-")
    assert other.call("get_session", session_id="parser-1")["session"] == taken
    assert import_all(other, file) == ([], [], 1)
    third = start_daemon(home=tmp_path / "third", socket=daemon.socket.with_name("third.sock"))
    import_all(third, file)
    assert third.call("export_session", session_id="parser-1")["text"] == text
    again = {"agent": "ai-muse", "session_id": "parser-1", "role": "user", "content": "hi"}
    assert third.call("append_message", **again, idempotency_key="k")["seq"] == 1, "keys come, too"


@pytest.mark.parametrize(
    ("params", "field", "word"),
    [
        ({}, "path", "again"),
        ({"again": True}, "path", "keeps no originals that"),
        ({"again": True, "format": "codex"}, "path", "no originals of codex"),
        ({"path": "/nonexistent/x"}, "path", "nothing there"),
        ({"path": "relative"}, "path", "absolute"),
        ({"path": "/dev/null"}, "path", "ordinary file"),
        ({"path": str(DATA / "codex")}, "agent", "name no agent"),
        ({"path": str(DATA), "format": "word"}, "format", "one of"),
        ({"path": str(DATA / "original"), "format": "llm", "agent": "a b"}, "agent", "agent name"),
    ],
)
def test_what_cannot_be_imported(daemon, params, field, word):
    with pytest.raises(pytest.RpcFailed) as refused:
        daemon.call("import_sessions", **params)
    assert (refused.value.code, refused.value.data["field"]) == (-32602, field)
    assert word in refused.value.message


def test_a_broken_file_is_named_and_the_rest_comes_in(daemon, tmp_path):
    shutil.copytree(DATA / "codex", tmp_path / "codex")
    (tmp_path / "codex" / "zz.jsonl").write_bytes(b"\x00\xff broken\n")
    imported, skipped, _ = import_all(daemon, tmp_path / "codex", agent="ai-muse")
    assert len(imported) == 2
    assert {item["source"] for item in skipped} == {"zz.jsonl"}
    assert json.dumps(skipped).count(str(tmp_path)) == 0


def test_the_next_import_sets_the_last_session_that_an_interrupted_one_did_not(daemon):
    import_all(daemon, DATA / "codex", agent="fresh")
    last = daemon.call("get_last_session", agent="fresh")["session_id"]
    daemon.stop()
    (daemon.home / "agent_sessions.json").write_text("{}")
    daemon.start()
    assert import_all(daemon, DATA / "codex", agent="fresh") == ([], [], 2)
    assert daemon.call("get_last_session", agent="fresh")["session_id"] == last


# --- what a source tells of its sessions ----------------------------------------------------------


def entry(session_id, number, role, text):
    content = text if role == "user" or isinstance(text, list) else [{"type": "text", "text": text}]
    return {
        "type": role,
        "uuid": f"u{number}",
        "sessionId": session_id,
        "timestamp": f"2026-02-03T04:05:{number:02}.000Z",
        "message": {"role": role, "content": content, "model": "m"},
    }


def transcript_file(path, session_id, *entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    talk = [{**each, "sessionId": session_id} for each in entries]
    path.write_text("".join(json.dumps(each) + "\n" for each in talk))


HELLO = [entry("", 1, "user", "draw a boat"), entry("", 2, "assistant", "drawn")]


def test_a_windows_folder_survives_export_and_import(daemon, start_daemon, tmp_path):
    transcript_file(tmp_path / "in" / "a.jsonl", "one", *[{**each, "cwd": "C:\\boats"} for each in HELLO])
    [session], _, _ = import_all(daemon, tmp_path / "in", agent="ai-muse")
    text = daemon.call("export_session", session_id=session["session_id"])["text"]
    (tmp_path / "a.json").write_text(text)
    other = start_daemon(home=tmp_path / "other", socket=daemon.socket.with_name("other.sock"))
    assert import_all(other, tmp_path / "a.json")[1] == []
    copy = other.call("get_session", session_id=session["session_id"])["session"]
    assert copy["cwd"] == "C:\\boats"


def test_sessions_are_told_apart_by_their_id_and_not_by_their_files_name(daemon, tmp_path):
    transcript_file(tmp_path / "1" / "transcript.jsonl", "one", entry("", 1, "user", "first"))
    transcript_file(tmp_path / "2" / "transcript.jsonl", "two", entry("", 2, "user", "second"))
    imported, skipped, _ = import_all(daemon, tmp_path, agent="ai-muse")
    assert [session["title"] for session in imported] == ["first", "second"]
    assert skipped == []
    (tmp_path / "1" / "transcript.jsonl").rename(tmp_path / "moved.jsonl")
    assert import_all(daemon, tmp_path, agent="ai-muse") == ([], [], 2)


def test_a_dry_run_counts_copies_of_a_session_once(daemon, tmp_path):
    for number, end in enumerate((1, 2, 1)):
        transcript_file(tmp_path / f"{number}" / "full.jsonl", "one", *HELLO[:end])
    dry = import_all(daemon, tmp_path, agent="ai-muse", dry_run=True)
    assert dry == import_all(daemon, tmp_path, agent="ai-muse", dry_run=True), "a dry run changes nothing"
    assert [(each["change"], each["messages"]) for each in dry[0]] == [("new", 1), ("grown", 1)]
    assert dry == import_all(daemon, tmp_path, agent="ai-muse")


def test_a_later_title_arrives_unless_the_session_was_named_here(daemon, tmp_path):
    for name in ("a", "b"):
        transcript_file(tmp_path / f"{name}.jsonl", name, *[{**each, "uuid": name} for each in HELLO])
    [a, b] = [session["session_id"] for session in import_all(daemon, tmp_path, agent="ai-muse")[0]]
    daemon.call("rename_session", session_id=b, title="mine")
    titles = []
    for title in ("The boat", "The blue boat"):
        titles.append({"type": "custom-title", "customTitle": title})
        for name in ("a", "b"):
            talk = [{**each, "uuid": name} for each in HELLO]
            transcript_file(tmp_path / f"{name}.jsonl", name, *talk, *titles)
        imported, skipped, unchanged = import_all(daemon, tmp_path, agent="ai-muse")
        assert [(session["session_id"], session["messages"]) for session in imported] == [(a, 0)]
        assert (skipped, unchanged) == ([], 1)
        assert daemon.call("get_session", session_id=a)["session"]["title"] == title
        assert daemon.call("get_session", session_id=b)["session"]["title"] == "mine"
    assert import_all(daemon, tmp_path, agent="ai-muse") == ([], [], 2)


def test_a_session_that_begins_with_a_copy_of_another_is_its_fork(daemon, tmp_path):
    transcript_file(tmp_path / "a.jsonl", "one", *HELLO, entry("", 3, "user", "in blue"))
    transcript_file(tmp_path / "b.jsonl", "two", *HELLO, entry("", 4, "user", "in red"))
    imported, _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    [original, fork] = [
        daemon.call("get_session", session_id=session["session_id"])["session"] for session in imported
    ]
    assert original["forked_from"] is None
    assert fork["forked_from"] == {"session_id": original["session_id"], "seq": 2}
    assert fork["message_count"] == 3
    assert import_all(daemon, tmp_path, agent="ai-muse") == ([], [], 2)


def test_a_fork_that_names_its_original_is_one_in_whichever_order_they_come(daemon, tmp_path):
    copies = [{**each, "forkedFrom": {"sessionId": "two", "messageUuid": each["uuid"]}} for each in HELLO]
    transcript_file(tmp_path / "a.jsonl", "one", *copies, entry("", 4, "user", "in red"))
    transcript_file(tmp_path / "b.jsonl", "two", *HELLO, entry("", 3, "user", "in blue"))
    imported, _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    [fork, original] = [
        daemon.call("get_session", session_id=session["session_id"])["session"] for session in imported
    ]
    assert fork["forked_from"] == {"session_id": original["session_id"], "seq": 2}
    assert original["forked_from"] is None


def test_two_programs_are_read_and_sub_agents_have_a_parent(daemon, tmp_path):
    shutil.copytree(DATA / "codex", tmp_path / "codex")
    for number in (1, 2):
        transcript_file(tmp_path / f"agent-{number}.jsonl", "one", entry("", number, "user", "look"))
    transcript_file(tmp_path / "one.jsonl", "one", *HELLO)
    page = daemon.call("import_sessions", path=str(tmp_path), agent="ai-muse")
    assert page["format"] == "claude, codex"
    assert page["skipped"] == []
    [main] = [session for session in page["imported"] if session["title"] == "draw a boat"]
    agents = [session for session in page["imported"] if "parent" in session]
    assert [session["parent"] for session in agents] == [main["session_id"]] * 2
    assert len(page["imported"]) == 5
    again = daemon.call("import_sessions", path=str(tmp_path), agent="ai-muse")
    assert (again["imported"], again["unchanged"]) == ([], 5)
    assert "parent" not in daemon.call("get_last_session", agent="ai-muse")


def test_a_path_that_is_no_sessions_says_what_to_do(daemon, tmp_path):
    of_qwen = '{"message":{"role":"user","parts":[{"text":"x"}]}}\n'
    for name, text, words in [
        ("qwen.jsonl", of_qwen, ["Qwen Code, whose format is not read"]),
        ("notes.jsonl", '{"a":1}\n', ["--format", "codex"]),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(pytest.RpcFailed) as refused:
            daemon.call("import_sessions", path=str(tmp_path / name), agent="ai-muse")
        assert refused.value.data["field"] == "path"
        for word in (name, *words):
            assert word in refused.value.message


# --- sessions that are larger than a batch --------------------------------------------------------


def test_the_sessions_of_this_home_are_no_source(daemon, tmp_path):
    begun = daemon.call("create_session", agent="ai-muse")["session_id"]
    daemon.call("append_message", agent="ai-muse", session_id=begun, role="user", content="hello")
    own = daemon.home / "sessions" / f"{begun}.json"
    link = tmp_path / "link"
    link.symlink_to(daemon.home)
    for path in (daemon.home, own, link, link / "sessions" / own.name):
        assert import_all(daemon, path, agent="ai-engineer") == ([], [], 1)
    shutil.copy(own, tmp_path / "copy.json")
    imported, _, _ = import_all(daemon, tmp_path / "copy.json", agent="ai-engineer")
    assert [item["title"] for item in imported] == ["hello"]


def test_a_session_of_many_batches_is_imported_and_appended_to(daemon, tmp_path):
    talk = [entry("", number, "user", f"{number} " + "x" * 600_000) for number in range(1, 25)]
    transcript_file(tmp_path / "a.jsonl", "one", *talk[:20])
    [session], _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    assert (session["change"], session["messages"]) == ("new", 20)
    transcript_file(tmp_path / "a.jsonl", "one", *talk)
    [session], _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    assert (session["change"], session["messages"]) == ("grown", 4)
    assert import_all(daemon, tmp_path, agent="ai-muse") == ([], [], 1)
    numbers, position = [], 0
    while position is not None:
        page = daemon.call("get_session", session_id=session["session_id"], after_seq=position)
        numbers += [int(message["content"].split(" ")[0]) for message in page["messages"]]
        position = page["next_after_seq"]
    assert numbers == list(range(1, 25))


def test_port42s_json_keeps_gaps_between_its_seqs(daemon, tmp_path):
    header = {"format": 1, "agent": "ai-muse", "client": "cli", "created_at": "2026-02-03T04:05:06.000Z"}
    text = "x" * 1_500_000
    gaps = [
        {"seq": seq, "role": "user", "content": text, "timestamp": header["created_at"]}
        for seq in (3, 7, 8, 20)
    ]
    (tmp_path / "empty.json").write_text(json.dumps({**header, "id": "empty", "messages": []}))
    (tmp_path / "gaps.json").write_text(json.dumps({**header, "id": "gaps", "messages": gaps}))
    imported, skipped, _ = import_all(daemon, tmp_path)
    assert [(session["session_id"], session["messages"]) for session in imported] == [
        ("empty", 0),
        ("gaps", 4),
    ]
    assert skipped == []
    file = json.loads((daemon.home / "sessions" / "gaps.json").read_text())
    assert [record["seq"] for record in file["messages"]] == [3, 7, 8, 20]
    assert import_all(daemon, tmp_path) == ([], [], 2)


def test_a_session_of_which_only_a_summary_is_there(daemon, tmp_path):
    """As in capture: Claude Code goes on with it, and its words are found."""
    summary = {**entry("", 1, "user", "The boat has two masts."), "isCompactSummary": True}
    transcript_file(tmp_path / "in" / "a.jsonl", "one", summary)
    [session], skipped, _ = import_all(daemon, tmp_path / "in", agent="ai-muse")
    assert (session["messages"], skipped) == (0, [])
    [record] = transcript(daemon, session["session_id"])["messages"]
    assert (record["event"], record["content"]) == ("compacted", "The boat has two masts.")
    assert import_all(daemon, tmp_path / "in", agent="ai-muse") == ([], [], 1)
    transcript_file(tmp_path / "in" / "a.jsonl", "one", summary, entry("", 2, "user", "a third"))
    [grown], _, _ = import_all(daemon, tmp_path / "in", agent="ai-muse")
    assert (grown["session_id"], grown["messages"]) == (session["session_id"], 1)


@pytest.mark.torture
def test_memory_does_not_grow_with_a_source(daemon, tmp_path):
    talk = [{**entry("", 1, "user", "x" * 1000), "uuid": f"u{number}"} for number in range(200_000)]
    transcript_file(tmp_path / "a.jsonl", "one", *talk)
    import_all(daemon, DATA / "claude", agent="ai-muse")

    def peak():
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    before = peak()
    import_all(daemon, tmp_path, agent="ai-muse")
    assert peak() - before < 160, "MiB, most of them text that waits for the index; the source has 240 MB"


def test_a_session_that_was_imported_without_its_tool_calls_grows_by_new_messages(daemon, tmp_path):
    """Versions before tool calls were read left such sessions."""
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "boat.txt"}

    def used(number):
        return [entry("", number, "assistant", [call]), entry("", number + 1, "user", [result])]

    talk = [HELLO[0], *used(10), HELLO[1]]
    transcript_file(tmp_path / "a.jsonl", "one", *HELLO)
    [session], _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    transcript_file(tmp_path / "a.jsonl", "one", *talk, *used(12))
    assert import_all(daemon, tmp_path, agent="ai-muse") == ([], [], 1)
    for number in (20, 30):
        talk += [*used(number), entry("", number + 2, "user", f"more {number}"), *used(number + 3)]
        transcript_file(tmp_path / "a.jsonl", "one", *talk)
        [grown], skipped, _ = import_all(daemon, tmp_path, agent="ai-muse")
        assert (grown["change"], grown["messages"], skipped) == ("grown", 1, [])
    records = transcript(daemon, session["session_id"])["messages"]
    assert [record["role"] for record in records] == [
        *("user", "assistant", "user", "tool"),
        *("tool", "user", "tool"),
    ]


# --- reading a source again -----------------------------------------------------------------------


def test_a_session_is_rewritten_as_its_source_is_read_today(daemon, tmp_path):
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "boat.txt"}
    talk = [HELLO[0], entry("", 2, "assistant", [call]), entry("", 3, "user", [result]), HELLO[1]]
    transcript_file(tmp_path / "a.jsonl", "one", *HELLO)  # as a reader without tool calls would read it
    [session], _, _ = import_all(daemon, tmp_path, agent="ai-muse")
    session_id = session["session_id"]
    daemon.call("rename_session", session_id=session_id, title="mine")
    daemon.call("append_message", agent="ai-muse", session_id=session_id, role="user", content="and now?")
    before = (daemon.home / "sessions" / f"{session_id}.json").read_bytes()
    transcript_file(tmp_path / "a.jsonl", "one", *talk)
    preview, _, _ = import_all(daemon, tmp_path, agent="ai-muse", again=True, dry_run=True)
    assert (daemon.home / "sessions" / f"{session_id}.json").read_bytes() == before
    rewritten, _, _ = import_all(daemon, tmp_path, agent="ai-muse", again=True)
    assert rewritten == preview
    assert [(item["session_id"], item["change"], item["messages"]) for item in rewritten] == [
        (session_id, "rewritten", 3)
    ]
    records = transcript(daemon, session_id)["messages"]
    assert [record["role"] for record in records] == ["user", "tool", "assistant", "event", "user"]
    assert [record["seq"] for record in records] == [1, 2, 3, 4, 5]
    assert daemon.call("get_session", session_id=session_id)["session"]["title"] == "mine"
    [kept] = (daemon.home / "backups").rglob(f"{session_id}.json")
    assert kept.read_bytes() == before
    assert import_all(daemon, tmp_path, agent="ai-muse", again=True) == ([], [], 1)
    daemon.call("append_message", agent="ai-muse", session_id=session_id, role="user", content="still here")
    search = {"query": "boat", "agent": "ai-muse"}
    while not (page := daemon.call("search_sessions", **search))["complete"]:
        pass
    assert page["hits"][0]["session"]["session_id"] == session_id


def test_a_session_is_not_rewritten_while_a_turn_is_under_way(daemon, tmp_path):
    waits, ends = tmp_path / "waits", tmp_path / "ends"
    script = f"cat; touch {waits}; while [ ! -e {ends} ]; do sleep 0.02; done"
    (daemon.home / "config.toml").write_text(
        '[agents.ai-muse]\nbackend = "slow"\n[backends.slow]\ntype = "command"\n'
        f'command = ["sh", "-c", {json.dumps(script)}]\nhistory = "none"\n'
    )
    transcript_file(tmp_path / "in" / "a.jsonl", "one", *HELLO)
    [session], _, _ = import_all(daemon, tmp_path / "in", agent="ai-muse")
    session_id = session["session_id"]
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(daemon.call, "possess", agent="ai-muse", session_id=session_id, message="and now?")
        while not waits.exists():
            assert not turn.done()
        _, [skipped], _ = import_all(daemon, tmp_path / "in", agent="ai-muse", again=True)
        ends.touch()
    assert "a turn is under way" in skipped["reason"]
    assert turn.result()["reply"].strip() == "and now?"
    assert import_all(daemon, tmp_path / "in", agent="ai-muse", again=True) == ([], [], 1)


TOOLS = Path(__file__).parents[2] / "data" / "tools"


@pytest.mark.parametrize(
    ("case", "shared"),
    [("pi/fork", 4), ("opencode/all/opencode", 4), ("claude/fork", 6), ("claude/tui-branch", 2)],
)
def test_the_fork_that_a_tool_made_is_one_of_its_original(daemon, case, shared):
    daemon.call("import_sessions", path=str(TOOLS / case), agent="ai-muse")
    sessions = {
        session["session_id"]: session
        for session in daemon.call("list_sessions", agent="ai-muse")["sessions"]
    }
    [fork] = [session for session in sessions.values() if session["forked_from"]]
    original = sessions[fork["forked_from"]["session_id"]]
    assert original["created_at"] < fork["last_activity"]

    def said(session_id, seq):
        page = daemon.call("get_session", session_id=session_id)
        return [message["content"] for message in page["messages"] if message["seq"] <= seq]

    seq = fork["forked_from"]["seq"]
    assert said(original["session_id"], seq) == said(fork["session_id"], 10_000)[:shared]
    assert len(said(original["session_id"], seq)) == shared
