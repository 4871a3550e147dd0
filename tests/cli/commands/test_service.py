"""`port42 service …` where there is no user manager, as in a container: said, and nothing changed."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="launchd is another matter")


@pytest.mark.parametrize("typed", [["install"], ["install", "-y"], ["install", "--dry-run"], ["status"]])
def test_without_a_user_manager_it_says_so(port42, home, typed):
    done = port42("service", *typed)  # the tests' own runtime folder has no manager's socket
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: there is no user manager to run a service: ")
    assert "every command starts the daemon by itself" in done.stderr
    assert not home.exists()


def test_where_nothing_is_installed_nothing_is_removed(port42):
    done = port42("service", "uninstall")
    assert (done.returncode, done.stderr) == (0, "The service is not installed; nothing was changed.\n")


def test_a_log_without_an_entry_is_told(port42):
    done = port42("service", "logs", "-n", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "journal" in done.stderr
