"""`port42 export`: sessions as JSON, Markdown or a page for a browser, on stdout or in files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import visible
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, Refused

SUFFIXES = {"json": "json", "md": "markdown", "markdown": "markdown", "html": "html", "htm": "html"}
"""Formats by file suffix or ``--format``."""


class Wanted(NamedTuple):
    """How sessions are to be written."""

    kind: str
    redact: bool
    force: bool


@click.command()
@click.argument("refs", metavar="[REF…]", nargs=-1, shell_complete=complete.refs)
@click.option(
    "-f", "--format", "kind", type=click.Choice([*SUFFIXES]), help="Default: OUT's suffix, else json."
)
@click.option("-o", "--output", "out", metavar="OUT", help="A file, or a folder for several; -: stdout.")
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
    redact: bool,
    everything: str | None,
    agent: str | None,
    force: bool,
) -> None:
    """Write sessions as text. REF is an id, a unique prefix of 4 or more characters, or a title.

    json is the session's own document, which `port42 import` takes in without a loss.
    """
    if bool(refs) == bool(everything):
        raise click.UsageError("expected REF, one or several, or --all @AGENT")
    _shared.check_refs(agent, *refs)
    out = None if out == "-" else out
    # The suffix of a folder's name says nothing.
    suffix = os.path.splitext(out)[1][1:] if out and len(refs) == 1 and not os.path.isdir(out) else ""  # noqa: PTH112, PTH122 - no pathlib on this path
    wanted = Wanted(SUFFIXES.get(kind or suffix.lower(), "json"), redact, force)
    with daemon.client() as client:
        if len(refs) == 1 and (out is None or not os.path.isdir(out)):  # noqa: PTH112 - as above
            _write_one(client, _shared.find(client, refs[0], agent).session_id, wanted, out)
        elif out is None:
            raise click.UsageError("several sessions need a folder: -o OUT")
        else:
            if everything:
                pages = client.ask_pages("list_sessions", {"agent": everything, "limit": 500})
                ids = [session["session_id"] for page in pages for session in page["sessions"]]
                if not ids:
                    raise Refused(f"--all: expected an agent that has sessions, got {everything}")
            else:
                ids = [_shared.find(client, ref, agent).session_id for ref in refs]
            _write_all(client, ids, wanted, out)


def _write_one(client: Client, session_id: str, wanted: Wanted, out: str | None) -> None:
    counts: dict[str, int] = {}
    pieces = _pieces(client, session_id, wanted, counts)
    if out is None:
        # A file or a pipe gets the text as it is; a terminal would obey what is in it.
        shown = map(visible, pieces) if streams.on_terminal() else pieces
        for piece in shown:
            sys.stdout.write(piece)
        sys.stdout.flush()
    else:
        write(out, pieces, force=wanted.force)
        streams.notice(f"{session_id} → {out}")
    _tell(counts, redact=wanted.redact)


def _write_all(client: Client, ids: list[str], wanted: Wanted, folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - no pathlib on this path
    except OSError as error:
        raise BadInput(f"-o: expected a folder, and {folder} cannot be one: {error.strerror}") from None
    counts: dict[str, int] = {}
    suffix = {"markdown": "md"}.get(wanted.kind, wanted.kind)
    for session_id in ids:
        out = os.path.join(folder, f"{session_id}.{suffix}")
        write(out, _pieces(client, session_id, wanted, counts), force=wanted.force)
    streams.notice(f"{len(ids):,} sessions → {folder}" if len(ids) != 1 else f"1 session → {folder}")
    _tell(counts, redact=wanted.redact)


def write(out: str, pieces: Iterator[str], *, force: bool) -> None:
    """The whole text at `out`, readable by its owner only, or nothing. Raises `Refused`."""
    if os.path.lexists(out) and not force:
        raise Refused(f"{out} exists already; --force overwrites it")
    aside = os.path.join(os.path.dirname(out), f".{os.path.basename(out)}.{os.getpid()}.new")  # noqa: PTH119, PTH120 - as above
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            _move(aside, out, force=force)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(aside)  # noqa: PTH108 - as above
    except OSError as error:
        raise Refused(f"cannot write {out}: {error.strerror}") from None


def _move(aside: str, out: str, *, force: bool) -> None:
    if force:
        os.replace(aside, out)  # noqa: PTH105 - no pathlib on this path
        return
    try:
        os.link(aside, out)  # unlike a rename, it never replaces what came there meanwhile
    except FileExistsError:
        raise Refused(f"{out} exists already; --force overwrites it") from None


def _pieces(client: Client, session_id: str, wanted: Wanted, counts: dict[str, int]) -> Iterator[str]:
    params = {"session_id": session_id, "format": wanted.kind, "redact": wanted.redact}
    for page in client.ask_pages("export_session", params):
        for name, times in page["redactions"].items():
            counts[name] = counts.get(name, 0) + times
        yield page["text"]


def _tell(counts: dict[str, int], *, redact: bool) -> None:
    if redact:
        words = ", ".join(f"{times:,} {name}" for name, times in sorted(counts.items()))
        streams.notice(
            f"Redacted: {words or 'nothing found'}. Secrets that it does not recognise are still there."
        )
