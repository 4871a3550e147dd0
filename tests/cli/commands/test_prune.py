"""`port42 prune`: shows what goes, asks, and does no more than that."""

from __future__ import annotations

import pytest


def test_it_shows_then_moves_then_deletes(port42):
    begun = port42.begin("@ai-muse", "old")
    shown = port42("prune", "--older-than", "0d", "--dry-run")
    assert shown.stdout.startswith(f"to the trash\t{begun}\tai-muse\t1\t")
    assert port42("prune", "--older-than", "1", "-y").stderr == "There is nothing to prune.\n"
    done = port42("prune", "--older-than", "0", "-y")
    assert done.stderr.startswith("1 session moved to the trash, 0 sessions (0 bytes) deleted for good.")
    gone = port42.json("prune", "--trash-older-than", "0d", "-y", "--json")
    assert [one["session_id"] for one in gone["deleted"]] == [begun]
    assert port42("restore", begun).returncode == 1


@pytest.mark.parametrize("args", [[], ["--older-than", "90d"], ["--older-than", "x", "-y"], ["-y"]])
def test_usage(port42, args):
    assert port42("prune", *args).returncode == 2
