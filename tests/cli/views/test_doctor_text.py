"""What doctor, stats and du say as text."""

from __future__ import annotations

import pytest

from port42_cli.views import doctor_text as subject
from port42_protocol.messages.doctor_and_stats import AgentStats, AgentUsage, ModelStats, Statistics, Usage


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_500_000, "1.4 MiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes(number, said):
    assert subject.size(number) == said


def test_a_finding_stays_on_its_line():
    one = {"level": "problem", "about": "sessions", "what": "a\nb\x1b", "do": None, "fixed": True}
    assert list(subject.findings([one], "backups/x")) == [
        "fixed\tsessions\ta␊b␛\t",
        "backup\thome\tkept in backups/x\t",
    ]


def test_statistics_name_days_and_hours_with_messages_only():
    agents = (AgentStats("a", 1, 2, 3, 4, 5, 6, 7, (0, 2)),)
    models = (ModelStats("llm", None, 1, 2, 3),)
    hours = (0,) * 9 + (2,) + (0,) * 14
    found = Statistics("2026-02-28", (0, 2), hours, agents, models, complete=True)
    assert list(subject.statistics(found)) == [
        "@a\t1\t2\t3\t4\t5\t6\t7",
        "model\tllm\t\t1\t2\t3",
        "day\t2026-03-01\t2",
        "hour\t09\t2",
    ]


def test_usage_names_what_is_there():
    found = Usage((AgentUsage("a", 1, 10, 20, 30, 60),), 1024, 0, 0, 5, 1089, 9)
    assert list(subject.usage(found)) == [
        "@a\t1\t10 B\t20 B\t30 B\t60 B",
        "index\t1.0 KiB",
        "other\t5 B",
        "total\t1.1 KiB",
    ]
