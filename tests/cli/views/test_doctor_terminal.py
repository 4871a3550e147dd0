"""Doctor and du as they are drawn: in 80 columns, without colour too."""

from __future__ import annotations

import io

from rich.console import Console

from port42_cli.views import doctor_terminal as subject
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage


def drawn(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def finding(level, what, do=None, **more):
    return {
        "level": level, "about": "sessions", "what": what, "do": do, "mendable": False, "fixed": False, **more
    }  # fmt: skip


def test_each_finding_has_its_mark_and_what_to_do():
    found = [
        finding("ok", "fine"),
        finding("notice", "a [bold]note", "see to it"),
        finding("problem", "bad", "mend it", mendable=True),
        finding("problem", "worse: mended", mendable=True, fixed=True),
    ]
    assert drawn(subject.findings(found, None)) == [
        "✓ sessions fine",
        "! sessions a [bold]note",
        "           → see to it",
        "✗ sessions bad",
        "           → mend it",
        "✚ sessions worse: mended",
        "",
        "1 problem, 1 repaired; `port42 doctor --fix` repairs 1 of what is above",
    ]
    assert drawn(subject.findings(found[:1], "backups/b"))[-1] == (
        "Healthy; what was changed is kept in backups/b"
    )


def test_many_of_a_kind_are_counted():
    lines = drawn(subject.findings([finding("problem", f"bad {number}") for number in range(1234)], None))
    assert len(lines) == 20 + 1 + 2
    assert "… and 1,214 more; --json has them all" in lines[20]
    assert lines[-1] == "1,234 problems"


def test_sizes_fit_in_80_columns_and_what_nobody_has_takes_no_room():
    agents = tuple(AgentUsage(f"agent-{size}", 10, size, 0, 0, size) for size in (5000, 4999, 1))
    lines = drawn(subject.usage(Usage(agents, 1024, 0, 0, 5, 16000, 9 * 1024)))
    assert lines[0].split() == ["AGENT", "SESSIONS", "SIZE", "TOTAL"]
    assert "█" * 16 in lines[1]
    assert lines[-1] == "total 15.6 KiB, 9.0 KiB free on this disk"
    one = AgentUsage("ai-engineer-of-the-night", 123_456, 2**33, 2**32, 2**20, 2**34)
    lines = drawn(subject.usage(Usage((one,), 0, 0, 0, 0, 2**34, 1)))
    assert "@ai-engineer-of-the-night" in lines[1]
    assert lines[0].split() == ["AGENT", "SESSIONS", "SIZE", "TRASH", "LEFT", "OVER", "TOTAL"]


def test_the_bar_moves_and_goes(capsys):
    with subject.progress("Reading") as moved:
        moved(1, 10)
        moved(10, 10)
    assert capsys.readouterr().out == ""
