"""The order in which sources are read: what changes now does not wait for what was there before."""

from __future__ import annotations

from pathlib import Path

from port42_daemon.transfer.capture.pending import AT_ONCE, Pending
from port42_daemon.transfer.capture.tools import TOOLS

CLAUDE = TOOLS["claude"]
OLD = [Path(f"/p/{folder}/{number}") for number in range(3) for folder in "ab"]


def taken(pending, running=()):
    """All paths that can be taken beside those that run, in their order."""
    paths = []
    while due := pending.take([*running, *paths]):
        paths.append(due[0])
    return paths


def test_a_source_that_changes_now_comes_first_behind_older_ones_of_its_folder():
    pending = Pending()
    for path in OLD:
        pending.add_later(path, CLAUDE)
    live = Path("/p/b/live")
    pending.add(live, CLAUDE)
    pending.add(live, CLAUDE)
    assert pending.count(CLAUDE) == 7
    assert [pending.take(())[0] for _ in range(7)] == [*OLD[1::2], live, *OLD[::2]]
    assert pending.take(()) is None


def test_one_place_is_kept_for_what_changes_now():
    pending = Pending()
    running = [Path(f"/r/{number}") for number in range(AT_ONCE - 4)]
    for path in OLD:
        pending.add_later(path, CLAUDE)
    assert taken(pending, running) == OLD[:3]
    running += OLD[:3]
    pending.add(Path("/q/live"), CLAUDE)
    pending.add(Path("/q/other"), CLAUDE)
    assert taken(pending, running) == [Path("/q/live")]
    pending.add(OLD[0], CLAUDE)
    assert taken(pending, running[:-1]) == [Path("/q/other"), OLD[4]]
    assert taken(pending, running[1:]) == [OLD[3]]


def test_what_waits_for_a_turn_is_read_when_that_ended():
    pending = Pending()
    assert not pending.turn_ended()
    pending.add_after_turn(OLD[0], CLAUDE)
    assert pending.take(()) is None
    assert pending.count(CLAUDE) == 1
    assert pending.turn_ended()
    assert pending.take(()) == (OLD[0], CLAUDE, True)


def test_what_is_read_at_a_time_is_added_then_unless_it_is_read_before():
    pending = Pending()
    first, second, third = OLD[:3]
    for when, path in ((3.0, third), (1.0, first), (2.0, second), (5.0, second)):
        pending.add_at(when, path, CLAUDE)
    assert pending.add_due(0.5) == 1.0
    assert pending.take(()) is None
    assert pending.add_due(1.0) == 3.0
    assert taken(pending) == [first]
    pending.begun(third)
    assert pending.add_due(4.0) == 5.0
    assert pending.add_due(5.0) is None
    assert taken(pending) == [second]
