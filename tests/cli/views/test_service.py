"""The report on the service, as terminals and scripts get it."""

from __future__ import annotations

from peers.drawing import drawn, piped

from port42_cli.service.report import Report
from port42_cli.views import service as subject


def report(**facts):
    known = dict.fromkeys(Report.__dataclass_fields__, None) | {
        "supervisor": "systemd",
        "files": ("/units/port42.service",),
        "running": True,
        "pid": 7,
        "since": "2026-11-23T20:00:00+00:00",
    }
    return Report(**(known | facts))


def test_since_when_it_runs_is_local_on_a_terminal_and_utc_for_scripts(timezone):
    timezone("Asia/Kolkata")
    assert "since 2026-11-24 01:30 IST" in " ".join(drawn(subject.report(report())).split())
    assert "since: 2026-11-23T20:00:00+00:00" in piped(subject.report(report()))
    assert "since" not in drawn(subject.report(report(running=False)))
