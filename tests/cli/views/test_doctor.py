"""Doctor's findings, as a terminal of 80 columns and a script get them."""

from __future__ import annotations

from peers.drawing import drawn_lines, piped

from port42_cli.views import doctor as subject
from port42_protocol.messages.doctor_and_stats import Finding


def finding(level, what, do=None, **more):
    return Finding(level, "sessions", what, do, **more)


def test_each_finding_has_its_mark_and_what_to_do():
    results = [
        finding("ok", "fine"),
        finding("notice", "a [bold]note", "see to it"),
        finding("problem", "bad", "repair it", mendable=True),
        finding("problem", "worse: repaired", mendable=True, fixed=True),
    ]
    assert drawn_lines(subject.findings(results, None)) == [
        "✓ sessions fine",
        "! sessions a [bold]note",
        "           → see to it",
        "✗ sessions bad",
        "           → repair it",
        "✚ sessions worse: repaired",
        "",
        "1 problem, 1 repaired; `port42 doctor --fix` repairs 1 of what is above",
    ]
    assert drawn_lines(subject.findings(results[:1], "backups/b"))[-1] == (
        "Healthy; what was changed is kept in backups/b"
    )


def test_many_of_a_kind_are_counted_for_people_and_whole_for_scripts():
    results = [finding("problem", f"bad {number}") for number in range(1234)]
    lines = drawn_lines(subject.findings(results, None))
    assert len(lines) == 20 + 1 + 2
    assert "… and 1,214 more; --json has them all" in lines[20]
    assert lines[-1] == "1,234 problems"
    assert len(piped(subject.findings(results, None))) == 1234


def test_for_scripts_a_finding_stays_on_its_line():
    assert piped(subject.findings([finding("problem", "a\nb\x1b", fixed=True)], "backups/x")) == [
        "fixed\tsessions\ta␊b␛\t",
        "backup\thome\tkept in backups/x\t",
    ]
