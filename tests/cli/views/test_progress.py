"""The bar: it shows how far the work is, on stderr, and is gone afterwards."""

from __future__ import annotations

from port42_cli.views.progress import Progress


def test_a_bar_that_moves_and_goes(capsys):
    bar = Progress("importing")
    bar.move(3, 10)
    bar.close()
    said = capsys.readouterr()
    assert said.out == ""
