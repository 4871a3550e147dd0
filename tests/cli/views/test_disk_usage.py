"""Disk usage, as a terminal of 80 columns and a script get it."""

from __future__ import annotations

from peers.drawing import drawn_lines, piped

from port42_cli.views import disk_usage as subject
from port42_protocol.messages.doctor_and_stats import AgentUsage, Usage


def test_sizes_fit_in_80_columns_and_empty_columns_are_left_out():
    agents = tuple(AgentUsage(f"agent-{size}", 10, size, 0, 0, size) for size in (5000, 4999, 1))
    lines = drawn_lines(subject.usage(Usage(agents, 1024, 0, 0, 5, 16000, 9 * 1024)))
    assert lines[0].split() == ["AGENT", "SESSIONS", "SIZE", "TOTAL"]
    assert "█" * 16 in lines[1]
    assert lines[5:7] == ["index 1.0 KiB", "other 5 B"]
    assert lines[-1] == "total 15.6 KiB, 9.0 KiB free on this disk"
    large = AgentUsage("ai-engineer-of-the-night", 123_456, 2**33, 2**32, 2**20, 2**34)
    lines = drawn_lines(subject.usage(Usage((large,), 0, 0, 0, 0, 2**34, 1)))
    assert "@ai-engineer-of-the-night" in lines[1]
    assert lines[0].split() == ["AGENT", "SESSIONS", "SIZE", "TRASH", "LEFT", "OVER", "TOTAL"]


def test_scripts_get_all_sizes_of_an_agent_and_of_other_files():
    home = Usage((AgentUsage("a", 1, 10, 20, 30, 60),), 1024, 0, 0, 5, 1089, 9, 20)
    assert piped(subject.usage(home)) == [
        "@a\t1\t10 B\t20 B\t30 B\t60 B",
        "index\t1.0 KiB",
        "originals\t20 B",
        "other\t5 B",
        "total\t1.1 KiB",
    ]
