"""`port42 restore`: by id, prefix or title; what fits none or several is said."""

from __future__ import annotations


def test_by_id_prefix_and_title(port42):
    begun = port42.begin("@ai-muse", "An Ode")
    for ref in (begun, begun[:-2], "an ode"):
        assert port42("rm", "-y", begun).returncode == 0
        assert port42("restore", ref).stderr.startswith(f"{begun} is back.\n")
    assert port42("possess", "@ai-muse", "-c").returncode == 0


def test_what_fits_none_or_several(port42):
    ids = [port42.begin("@ai-muse", "same") for _ in range(2)]
    port42("rm", "-y", *ids)
    assert port42("restore", "nosuch").stderr.startswith("Error: no session in the trash fits nosuch")
    several = port42("restore", "same")
    assert several.returncode == 1
    assert all(one in several.stderr for one in ids)
