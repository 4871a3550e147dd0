"""Output: results and data to stdout, banners and notices to stderr, with or without colour."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from port42_cli.plain_text import advice, one_line, problem, visible, visible_json
from port42_client.errors import CommandError, DaemonError


def on_terminal() -> bool:
    return sys.stdout.isatty()


def can_draw() -> bool:
    """Whether answers are read at a terminal that can move its cursor, so that they may be drawn again."""
    return on_terminal() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


def can_be_written() -> bool:
    """False where the command was started with stdout closed: see `__main__`."""
    import fcntl

    try:
        return fcntl.fcntl(sys.stdout.fileno(), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except (OSError, ValueError):
        return False


def now() -> datetime:
    return datetime.now(UTC)


def lines(text: Iterable[str]) -> None:
    """Answers, a line each: exactly as they are when piped, harmless on a terminal."""
    # Not click.echo, which takes colour codes out of what is piped: data is data.
    for line in map(visible, text) if on_terminal() else text:
        print(line)
    sys.stdout.flush()


def raw_lines(text: Iterable[bytes]) -> None:
    """A log's own lines with their ends, made harmless on a terminal, each shown when it comes."""
    for line in text:
        shown = line.decode(errors="replace")
        print(visible(shown) if on_terminal() else shown, end="", flush=True)


def as_json(value: Any, *, to: TextIO | None = None) -> None:
    """One JSON value, on stdout unless told otherwise: a line when piped, laid out on a terminal."""
    stream = to or sys.stdout
    _print_json(value, stream, indent=2 if stream.isatty() else None)


def json_line(value: Any) -> None:
    """One of many JSON values, a line each wherever they go."""
    _print_json(value, sys.stdout, indent=None)


def _print_json(value: Any, stream: TextIO, indent: int | None) -> None:
    ascii_only = "utf" not in (stream.encoding or "").lower()
    separators = (",", ": " if indent else ":")
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators)
    print(visible_json(text) if stream.isatty() else text, file=stream, flush=True)


def banner(*text: str) -> None:
    """Progress information, on stderr."""
    for line in text:
        click.echo(one_line(line), err=True)


def notice(text: str) -> None:
    """Additional information, dimmed, on stderr."""
    click.secho(one_line(text), dim=True, err=True, color=_colour())


def failure(error: CommandError) -> None:
    """Why it did not work, on stderr; the first line says it, the others say what to do."""
    click.secho("Error: ", fg="red", nl=False, err=True, color=_colour())
    if isinstance(error, DaemonError):
        banner(*problem(error, now()))
    else:
        banner(*map(advice, (error.message, *error.advice)))


def _colour() -> bool | None:
    """None leaves it to click, which colours terminals only."""
    return False if os.environ.get("NO_COLOR") else None
