"""`port42 tag`: put on, taken off, shown, and listed by."""

from __future__ import annotations


def test_tags_are_put_on_and_taken_off_and_narrow_a_list(port42):
    begun = port42.begin("@ai-muse", "an ode")
    port42.begin("@ai-muse", "another")
    assert port42("tag", begun, "+lang", "later", "-none").stdout == f"{begun}: lang later\n"
    assert port42("tag", begun, "-lang", "-a").stdout == f"{begun}: later\n"
    assert port42("tag", begun).stdout == f"{begun}: later\n"
    rows = [line.split("\t") for line in port42("sessions", "--tag", "later").stdout.splitlines()]
    assert [(row[0], row[4]) for row in rows] == [(begun, "active #later")]
    assert port42("sessions", "--tag", "lang").stdout == ""
    assert port42("search", "later").stdout == f"{begun}:0: #later\n"


def test_a_tag_that_is_none_is_refused(port42):
    begun = port42.begin("@ai-muse", "an ode")
    done = port42("tag", begun, "a b")
    assert (done.returncode, done.stdout) == (1, "")
    assert "without spaces or commas" in done.stderr
    assert port42("tag", "last", "x").returncode == 2
