"""Whether somebody really wants it: asked on a terminal, and nowhere else taken for granted."""

from __future__ import annotations

import sys

import click

from port42_cli import streams


def check(agreed: bool) -> None:
    """Raises `click.UsageError` where it is not agreed to already and nobody can be asked."""
    if not agreed and not sys.stdin.isatty():
        raise click.UsageError("nobody is there to be asked: expected -y")


def agreed(question: str) -> bool:
    """The answer; a no is said back."""
    if click.confirm(question, err=True):
        return True
    streams.banner("Nothing was changed.")
    return False
