"""The process itself: how `__main__` starts and ends it."""

from __future__ import annotations

import gc

import pytest

from port42_cli import __main__ as subject
from port42_cli import app


@pytest.fixture
def collector():
    """Leaves the interpreter's collector as it was."""
    yield
    gc.enable()
    gc.unfreeze()


def test_the_exit_code_is_the_commands(collector, monkeypatch):
    monkeypatch.setattr(app, "main", lambda: 69)
    assert subject.main() == 69


def test_no_garbage_is_looked_for(collector, monkeypatch):
    looked = []
    monkeypatch.setattr(app, "main", lambda: looked.append(gc.isenabled()) or 0)
    subject.main()
    assert looked == [False]
    assert gc.get_freeze_count() > 0


def test_an_interrupt_before_there_is_a_command_is_130(collector, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "main", interrupted)
    assert subject.main() == 130
