"""`port42 unpin`: what has no pin stays as it is."""

from __future__ import annotations


def test_a_session_without_a_pin_stays_as_it_is(port42):
    begun = port42.begin("@ai-muse", "an ode")
    before = port42.json("show", begun, "--events", "--json")
    assert port42("unpin", begun).stdout == f"{begun}: not pinned\n"
    assert port42.json("show", begun, "--events", "--json") == before
    assert port42("unpin", "last").returncode == 2
