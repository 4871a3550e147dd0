"""`port42` alone: who there is, where each was left, what to type next."""

from __future__ import annotations


def test_piped_it_is_a_line_for_each_agent_last_used_first(port42):
    muse = port42.begin("@ai-muse", "an ode")
    engineer = port42.begin("@ai-engineer", "a parser")
    rows = [line.split("\t") for line in port42().stdout.splitlines()]
    assert [row[:2] for row in rows[:2]] == [["ai-engineer", engineer], ["ai-muse", muse]]
    assert ["ai-analyst", "", ""] in rows


def test_on_a_terminal_it_says_what_to_type_next(port42, terminal):
    begun = port42.begin("@ai-muse", "an ode")
    screen = terminal(TERM="dumb")
    screen.expect(rf"@ai-muse +{begun} +an ode +1")
    screen.expect("No session yet: @ai-engineer")
    screen.expect(r"port42 possess @ai-muse -c +continue its last session")


def test_on_a_clean_machine_it_offers_a_beginning(terminal):
    screen = terminal(TERM="dumb")
    screen.expect(r'port42 possess @ai-engineer "…" +say something in a new session')
