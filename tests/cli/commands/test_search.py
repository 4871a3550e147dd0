"""`port42 search`: lines for a pipe, groups for a person, and a clear word where nothing can be meant."""

from __future__ import annotations


def test_piped_lines_name_the_session_and_the_message(port42):
    begun = port42.begin("@ai-muse", "an ode to parseHttpRequest")
    port42.begin("@ai-engineer", "something else")
    done = port42("search", "HttpRequest")
    assert done.stdout == f"{begun}:1: an ode to parseHttpRequest\n"
    assert port42("search", "an", "-ode").stdout == ""


def test_an_agent_behind_the_words_narrows_and_alone_is_a_word(port42):
    mine = port42.begin("@ai-muse", "about parsers")
    theirs = port42.begin("@ai-engineer", "about parsers and ai-muse")
    assert port42("search", "parsers", "@ai-muse").stdout == f"{mine}:1: about parsers\n"
    assert port42("search", "@ai-muse").stdout.startswith(f"{theirs}:1: ")


def test_json_is_a_page_with_marks(port42):
    port42.begin("@ai-muse", "über den Parser")
    page = port42.json("search", "uber", "--json")
    (hit,) = page["hits"]
    assert [hit["snippet"][mark["start"] : mark["end"]] for mark in hit["marks"]] == ["über"]
    assert (page["next_cursor"], page["complete"]) == (None, True)


def test_a_terminal_shows_where_and_what_to_type_and_obeys_nothing(port42, terminal):
    begun = port42.begin("@ai-muse", "an \x1b[31m ode\x07")
    screen = terminal("search", "ode", TERM="dumb")
    screen.expect_exact(f"{begun}  @ai-muse · ")
    screen.expect_exact("1 user: an ␛[31m ode␇")
    screen.expect_exact(f"port42 possess @ai-muse -s {begun}")


def test_hits_are_bold_on_a_terminal(port42, terminal):
    port42.begin("@ai-muse", "an ode")
    screen = terminal("search", "ode", TERM="xterm-256color")
    screen.expect(r"an \x1b\[1(;33)?mode\x1b\[0m")


def test_more_than_a_page_and_fewer_than_there_are(port42, daemon):
    begun = daemon.call("create_session", agent="ai-muse")["session_id"]
    for number in range(130):
        daemon.call("append_message", agent="ai-muse", session_id=begun, role="user", content=f"ode {number}")
    assert len(set(port42("search", "ode", "-n", "130").stdout.splitlines())) == 130
    done = port42("search", "ode", "-n", "101")
    assert len(done.stdout.splitlines()) == 101
    assert "There are more: -n 202" in done.stderr


def test_nothing_found_is_no_error_and_nothing_asked_is_one(port42):
    done = port42("search", "nothing")
    assert (done.returncode, done.stdout) == (0, "")
    assert "Nothing found." in done.stderr
    done = port42("search", "!?")
    assert (done.returncode, done.stdout) == (1, "")
    assert "query: expected at least one word" in done.stderr
    assert port42("search").returncode == 2


def test_a_filter_that_is_mistyped_is_named(port42):
    port42.begin("@ai-muse", "a user of parsers")
    done = port42("search", "rol:user")
    assert done.stderr == "Nothing found.\nrol: was searched for as a word; the filter is called role:\n"
    assert port42.json("search", "rol:user", "--json")["hints"]
    assert "hints" not in port42.json("search", "role:user", "--json")


def test_a_filter_without_a_value_or_with_an_unknown_agent_is_an_error(port42):
    port42.begin("@ai-muse", "an ode")
    done = port42("search", "role:", "ode")
    assert (done.returncode, done.stdout) == (1, "")
    assert "query: expected role: one of user, assistant," in done.stderr
    for query in ("agent:ai-mues", 'agent:"@ai-mues"'):
        done = port42("search", "ode", query)
        assert (done.returncode, done.stdout) == (1, "")
        assert "unknown agent @ai-mues\n  Did you mean @ai-muse" in done.stderr
    assert port42("search", "-agent:ai-mues", "nothing").returncode == 0
