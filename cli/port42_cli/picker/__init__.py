"""Choosing a session on a whole screen."""

from __future__ import annotations

import sys

import click

from port42_cli import streams
from port42_cli.picker.matching import Choice
from port42_client.daemon import Daemon


def pick(daemon: Daemon, agent: str | None, typed: str = "") -> Choice | None:
    """The session that the person chooses, None when the screen was left. Raises `click.UsageError`."""
    if not (sys.stdin.isatty() and streams.can_draw()):
        raise click.UsageError("a session is picked at a terminal; `port42 sessions` lists them")
    # Imported here: what follows loads prompt_toolkit, and `possess` only needs it with --pick.
    from port42_cli.picker.gathering import Gathering
    from port42_cli.picker.screen import Picker

    gathering = Gathering(daemon, agent)
    try:
        return Picker(gathering, typed).run()
    finally:
        gathering.close()
