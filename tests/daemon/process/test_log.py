"""The log: to stderr or to a file that is rotated, whole before the daemon ends."""

from __future__ import annotations

import logging
from logging.handlers import QueueHandler

import pytest

from port42_daemon.process.home_lock import CannotStart
from port42_daemon.process.log import logging_to

log = logging.getLogger("port42_daemon.somewhere")


@pytest.fixture(autouse=True)
def as_it_was():
    ours = logging.getLogger("port42_daemon")
    before = ours.level, ours.propagate
    yield
    ours.setLevel(before[0])
    ours.propagate = before[1]
    assert not [handler for handler in ours.handlers if isinstance(handler, QueueHandler)]


def test_lines_reach_the_file_before_the_end_with_their_time(tmp_path):
    path = tmp_path / "daemon.log"
    with logging_to(path):
        log.info("📌 %s → %s", "ai-muse", "cli-1")
        log.debug("not this")
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert line.endswith(" 📌 ai-muse → cli-1")
    assert line[:2] == "20"


def test_without_a_file_it_is_stderr(capsys):
    with logging_to(None):
        log.warning("careful")
    assert capsys.readouterr().err.endswith(" careful\n")


def test_the_file_is_rotated_at_a_mebibyte_and_three_are_kept(tmp_path):
    path = tmp_path / "daemon.log"
    with logging_to(path):
        for _ in range(60):
            log.info("x" * 100_000)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["daemon.log", "daemon.log.1", "daemon.log.2", "daemon.log.3"]
    assert all(path.stat().st_size <= 1024 * 1024 for path in tmp_path.iterdir())


def test_the_level_is_the_environments(tmp_path, monkeypatch):
    monkeypatch.setenv("PORT42_LOG_LEVEL", "warning")
    with logging_to(tmp_path / "daemon.log"):
        log.info("not this")
        log.warning("this")
    assert (tmp_path / "daemon.log").read_text().endswith("this\n")
    monkeypatch.setenv("PORT42_LOG_LEVEL", "loud")
    with pytest.raises(CannotStart, match="got LOUD"), logging_to(None):
        pytest.fail("logged all the same")
