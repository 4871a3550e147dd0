"""What moves: it shows how far the work is, on stderr, and is gone afterwards."""

from __future__ import annotations

from port42_cli.views import live
from port42_cli.views.parts import Line


def test_a_bar_that_moves_and_goes(capsys):
    with live.progress("importing") as moved:
        moved(0, 0)
        moved(3, 10)
    assert capsys.readouterr().out == ""


def test_the_last_view_stays(capsys):
    live.redraw([[Line("first")], [Line("second")]])
    assert capsys.readouterr().out.strip() == "second"
