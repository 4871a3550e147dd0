"""`port42 sessions`: newest use first, narrowed, paged, and piped as stable lines."""

from __future__ import annotations

import json

import pytest


def create(daemon, number, agent="ai-muse", **more):
    return daemon.call("create_session", agent=agent, session_id=f"made-{number}", **more)["session_id"]


def test_none_yet_is_no_error(port42):
    done = port42("sessions")
    assert (done.returncode, done.stdout) == (0, "")
    assert "No sessions." in done.stderr
    assert "'few' is not a valid integer." in port42("sessions", "-n", "few").stderr
    assert "No session fits" in port42("sessions", "--tag", "unused").stderr


def test_piped_lines_are_newest_use_first(port42):
    first = port42.begin("@ai-muse", "an ode")
    second = port42.begin("@ai-engineer", "a parser")
    rows = [line.split("\t") for line in port42("sessions").stdout.splitlines()]
    assert [row[:3] for row in rows] == [[second, "ai-engineer", "1"], [first, "ai-muse", "1"]]
    assert [row[4:] for row in rows] == [["active", "a parser"], ["active", "an ode"]]


def test_a_terminal_gets_a_table_whose_short_id_resolves(terminal, port42):
    begun = port42.begin("@ai-muse", "an ode")
    screen = terminal("sessions", TERM="dumb")
    screen.expect(r"ID +AGENT +TITLE +MESSAGES +LAST USED\r\n")
    screen.expect(r"(\S+) +@ai-muse +an ode +1 +(now|\d+ s ago)")
    assert port42.json("show", screen.match[1], "--json")["session"]["session_id"] == begun


def test_an_agents_own(port42):
    mine = port42.begin("@ai-muse", "mine")
    port42.begin("@ai-engineer", "theirs")
    for agent in ("@ai-muse", "ai-muse"):
        assert [
            session["session_id"] for session in port42.json("sessions", agent, "--json")["sessions"]
        ] == [mine]
    assert port42("sessions", "@ai-founder").stdout == ""


def test_those_begun_here(port42, tmp_path):
    here = port42.begin("@ai-muse", "here", cwd=tmp_path)
    port42.begin("@ai-muse", "elsewhere")
    page = port42.json("sessions", "--here", "--json", cwd=tmp_path)
    assert [session["session_id"] for session in page["sessions"]] == [here]


def test_a_folder_that_no_session_can_have_is_refused(port42, tmp_path):
    (tmp_path / "two\nlines").mkdir()
    done = port42("sessions", "--here", cwd=tmp_path / "two\nlines")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--here: expected a folder that still exists and whose path is one line of text" in done.stderr


def test_those_in_a_state(port42):
    ended, active = port42.begin("@ai-muse", "a"), port42.begin("@ai-muse", "b")
    port42.json("rpc", "end_session", f"session_id={ended}")
    for state, expected in (("ended", ended), ("active", active)):
        page = port42.json("sessions", "--state", state, "--json")
        assert [session["session_id"] for session in page["sessions"]] == [expected]
    assert port42("sessions", "--state", "lost").returncode == 2


def test_as_many_as_asked_for_however_many_requests_it_takes(daemon, port42, monkeypatch):
    for number in range(7):
        create(daemon, number)
    assert len(port42.json("sessions", "--json", "-n", "3")["sessions"]) == 3
    done = port42("sessions", "-n", "3")
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == "There are more: -n 6 shows twice as many.\n"
    assert port42("sessions", "-n", "7").stderr == ""


def test_a_title_is_exact_in_a_pipe_and_no_markup_on_a_terminal(port42, terminal):
    title = "[red]Grüße[/red] <x>"
    port42.json("rpc", "create_session", "agent=ai-muse", f"title={title}")
    assert port42.json("sessions", "--json")["sessions"][0]["title"] == title
    assert title in port42("sessions").stdout
    screen = terminal("sessions", TERM="dumb")
    screen.expect_exact(title)


@pytest.mark.parametrize("bad", ["a/b", "x" * 65])
def test_a_bad_agent_name_is_no_empty_list(port42, bad):
    done = port42("sessions", bad)
    assert (done.returncode, done.stdout) == (1, "")
    assert "agent: expected an agent name" in done.stderr


@pytest.mark.parametrize("typed", ["sessions @ai-muze", "search word @ai-muze", "trash @ai-muze"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_agent_that_is_unknown_is_no_empty_list(port42, typed, options):
    done = port42(*typed.split(), *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: unknown agent @ai-muze\n  Did you mean @ai-muse")


def test_an_agent_that_only_its_sessions_make_known_may_have_none_of_that_kind(port42):
    port42.begin("@ai-muse", "word")
    port42.json("rpc", "create_session", "agent=other")
    for typed in ("sessions @other --pinned", "search word @other", "trash @other"):
        assert port42(*typed.split()).returncode == 0


def test_json_is_one_object_also_when_empty(port42):
    assert json.loads(port42("sessions", "--json").stdout) == {"sessions": [], "next_cursor": None}


def test_alone_piped_it_is_a_line_for_each_agent_last_used_first(port42):
    muse = port42.begin("@ai-muse", "an ode")
    engineer = port42.begin("@ai-engineer", "a parser")
    rows = [line.split("\t") for line in port42().stdout.splitlines()]
    assert [row[:2] for row in rows[:2]] == [["ai-engineer", engineer], ["ai-muse", muse]]
    assert ["ai-analyst", "", ""] in rows


def test_alone_on_a_terminal_it_says_what_to_type_next(port42, terminal):
    begun = port42.begin("@ai-muse", "an ode")
    screen = terminal(TERM="dumb")
    screen.expect(rf"@ai-muse +{begun} +an ode +1")
    screen.expect("No session yet: @ai-engineer")
    screen.expect(r"port42 possess @ai-muse -c +continue its last session")


def test_alone_on_a_clean_machine_it_offers_a_beginning(terminal):
    screen = terminal(TERM="dumb")
    screen.expect(r'port42 possess @ai-engineer "…" +say something in a new session')


@pytest.fixture
def sub_agent(port42, home):
    """A session and that of its sub-agent, whose header says so."""
    parent, child = (port42.begin("@ai-muse", word) for word in ("the task", "a part of it"))
    port42("daemon", "stop")
    path = home / "sessions" / f"{child}.json"
    of_parent = json.dumps({"session_id": parent, "seq": 1})
    path.write_text(path.read_text().replace('"forked_from":', f'"parent":{of_parent},"forked_from":', 1))
    return parent, child


def test_sub_agents_are_listed_under_their_parent_only(port42, sub_agent):
    parent, child = sub_agent
    assert [row.split("\t")[0] for row in port42("sessions").stdout.splitlines()] == [parent]
    (session,) = port42.json("sessions", "--parent", parent, "--json")["sessions"]
    assert (session["session_id"], session["parent"]["session_id"]) == (child, parent)
    none = port42("sessions", "--parent", child)
    assert (none.returncode, none.stdout, none.stderr) == (0, "", f"{child} has no sub-agents.\n")
    assert "1 sub-agent of this session: port42 sessions --parent " in port42("show", parent).stderr
    assert port42("show", child).stderr == f"This is a sub-agent's session: port42 show {parent}\n"
    assert port42.json("sessions", "--parent", "last", "--json")["sessions"] == [session]


def test_a_sub_agent_without_its_session_says_so(port42, home, sub_agent):
    parent, child = sub_agent
    (home / "sessions" / f"{parent}.json").unlink()
    shown = port42("show", child)
    assert shown.returncode == 0
    assert f"the one that began it, {parent}, is not here" in shown.stderr
