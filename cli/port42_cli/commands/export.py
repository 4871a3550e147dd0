"""`port42 export`: sessions as JSON, Markdown or a page for a browser, on stdout or in files."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import count, visible
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, Refused

SUFFIXES = {"json": "json", "md": "markdown", "markdown": "markdown", "html": "html", "htm": "html"}
"""Formats by file suffix or ``--format``."""


@click.command()
@click.argument("refs", metavar="[REF…]", nargs=-1, shell_complete=complete.refs)
@click.option(
    "-f", "--format", "kind", type=click.Choice([*SUFFIXES]), help="Default: OUT's suffix, else json."
)
@click.option("-o", "--output", "out", metavar="OUT", help="A file, or a folder for several; -: stdout.")
@click.option(
    "--no-tools", is_flag=True, help="Without tool calls, thoughts, plans and permissions (markdown, html)."
)
@click.option("--redact", is_flag=True, help="Replace keys, tokens and passwords by what they were.")
@click.option(
    "--all",
    "everything",
    metavar="@AGENT",
    shell_complete=complete.agents,
    help="All of this agent's, into the folder OUT.",
)
@_shared.whose
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.pass_obj
def export(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    refs: tuple[str, ...],
    kind: str | None,
    out: str | None,
    no_tools: bool,
    redact: bool,
    everything: str | None,
    agent: str | None,
    force: bool,
) -> None:
    """Write sessions as text. REF is an id, a prefix of 4 or more characters, a title, @AGENT or last.

    json is the session's own document, which `port42 import` takes in without a loss.
    """
    if bool(refs) == bool(everything):
        raise click.UsageError("expected REF, one or several, or --all @AGENT")
    out = None if out == "-" else out
    several = len(refs) != 1 or (out is not None and os.path.isdir(out))  # noqa: PTH112 - no pathlib on this path
    if several and out is None:
        raise click.UsageError("several sessions need a folder: -o OUT")
    # The suffix of a folder's name says nothing.
    suffix = "" if several or out is None else os.path.splitext(out)[1][1:].lower()  # noqa: PTH122 - as above
    params = _params(SUFFIXES.get(kind or suffix, "json"), redact, no_tools)
    redactions: Counter[str] = Counter()
    with daemon.client() as client:
        if everything:
            rows = client.ask_rows("list_sessions", {"agent": everything}, "sessions")["sessions"]
            ids = [row["session_id"] for row in rows]
            if not ids:
                raise Refused(f"--all: expected an agent that has sessions, got {everything}")
        else:
            ids = [_shared.find(client, ref, agent).session_id for ref in refs]
        if several and out:
            _make_folder(out)
        ending = "md" if params["format"] == "markdown" else params["format"]
        for session_id in ids:
            pieces = _pieces(client, {**params, "session_id": session_id}, redactions)
            if out is None:
                _print(pieces)
            else:
                file = os.path.join(out, f"{session_id}.{ending}") if several else out
                write(file, pieces, force=force)
    if out is not None:
        streams.notice(f"{count(len(ids), 'session') if several else ids[0]} → {out}")
    if redact:
        words = ", ".join(f"{times:,} {name}" for name, times in sorted(redactions.items()))
        streams.notice(
            f"Redacted: {words or 'nothing found'}. Secrets that it does not recognise are still there."
        )


def _params(form: str, redact: bool, no_tools: bool) -> dict[str, Any]:
    if no_tools and form == "json":
        raise click.UsageError("--no-tools: expected the format markdown or html; json loses nothing")
    return {"format": form, "redact": redact} | ({"activities": False} if no_tools else {})


def _print(pieces: Iterator[str]) -> None:
    # A file or a pipe gets the text as it is; a terminal would obey what is in it.
    sys.stdout.writelines(map(visible, pieces) if streams.on_terminal() else pieces)
    sys.stdout.flush()


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)  # noqa: PTH103 - no pathlib on this path
    except OSError as error:
        raise BadInput(f"-o: expected a folder, and {path} cannot be one: {error.strerror}") from None


def write(out: str, pieces: Iterator[str], *, force: bool) -> None:
    """The whole text at `out`, readable by its owner only, or nothing. Raises `Refused`."""
    exists = Refused(f"{out} exists already; --force overwrites it")
    if os.path.lexists(out) and not force:
        raise exists
    folder, name = os.path.split(out)
    new = os.path.join(folder, f".{name}.{os.getpid()}.new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            # Unlike a rename, a link never replaces a file that came there meanwhile.
            (os.replace if force else os.link)(new, out)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(new)  # noqa: PTH108 - no pathlib on this path
    except FileExistsError:
        raise exists from None
    except OSError as error:
        raise Refused(f"cannot write {out}: {error.strerror}") from None


def _pieces(client: Client, params: dict[str, Any], redactions: Counter[str]) -> Iterator[str]:
    for page in client.ask_pages("export_session", params):
        redactions.update(page["redactions"])
        yield page["text"]
