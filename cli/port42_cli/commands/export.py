"""`port42 export`: sessions as JSON, Markdown or a page for a browser, on stdout or in files."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import click

from port42_cli import streams
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import visible
from port42_client.client import Client
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, Refused
from port42_client.wire import JsonObject
from port42_protocol.counting import count

SUFFIXES = {"json": "json", "md": "markdown", "markdown": "markdown", "html": "html", "htm": "html"}
"""Formats by file suffix or ``--format``."""


@click.command()
@click.argument("refs", metavar="[REF…]", nargs=-1, shell_complete=complete.refs)
@click.option(
    "-f",
    "--format",
    "kind",
    type=click.Choice([*SUFFIXES]),
    help="Default: what a file OUT ends in; json on stdout and in a folder.",
)
@click.option("-o", "--output", "out", metavar="OUT", help="A file, or a folder for several; -: stdout.")
@click.option(
    "--no-tools", is_flag=True, help="Without tool calls, thoughts, plans and permissions (markdown, html)."
)
@click.option("--redact", is_flag=True, help="Replace keys, tokens and passwords by their kind.")
@click.option(
    "--all",
    "everything",
    metavar="@AGENT",
    shell_complete=complete.agents,
    help="All of this agent's, into the folder OUT.",
)
@_shared.whose
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option(
    "--open", "opened", is_flag=True, help="Open the page in a browser; without -o it is ID.html here."
)
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
    opened: bool,
) -> None:
    """Write sessions as text. REF is an id, a prefix of 4 or more characters, a title, @AGENT or last.

    json is the session's own document, which `port42 import` takes in without a loss. With --all, html also
    has a page index.html that links to the others and searches them.
    """
    out = None if out == "-" else out
    several = _several(refs, everything, out)
    # The suffix of a folder's name says nothing.
    form = SUFFIXES[kind] if kind else _format_of(None if several else out, opened=opened)
    params = _params(form, redact, no_tools)
    if opened:
        _check_page(params["format"], single=not several, everything=bool(everything))
    redactions: Counter[str] = Counter()
    with daemon.client() as client:
        ids = _ids(client, refs, agent, everything)
        if opened and out is None:
            out = f"{ids[0]}.html"
        page = out
        if out is None:
            _print(_pieces(client, {**params, "session_id": ids[0]}, redactions))
        elif several:
            _write_folder(client, out, ids, params, redactions, force=force)
            if everything and params["format"] == "html":
                page = _write_contents(client, out, ids, everything, redact=redact, force=force)
        else:
            write(out, _pieces(client, {**params, "session_id": ids[0]}, redactions), force=force)
    if out is not None:
        streams.notice(f"{count(len(ids), 'session') if several else ids[0]} → {out}")
    if redact:
        _tell_redacted(redactions)
    if opened and page:
        _open(os.path.realpath(page))


def _ids(client: Client, refs: tuple[str, ...], agent: str | None, everything: str | None) -> list[str]:
    if not everything:
        # Each once, however often it is named.
        return list(dict.fromkeys(_shared.find(client, ref, agent).session_id for ref in refs))
    rows = client.ask_rows("list_sessions", {"agent": everything}, "sessions")["sessions"]
    if not rows:
        raise Refused(f"--all: expected an agent that has sessions, got {everything}")
    return [row["session_id"] for row in rows]


def _several(refs: tuple[str, ...], everything: str | None, out: str | None) -> bool:
    """Whether `out` is a folder. Raises `click.UsageError`."""
    if bool(refs) == bool(everything):
        raise click.UsageError("expected REF, one or several, or --all @AGENT")
    is_folder = out is not None and os.path.isdir(out)  # noqa: PTH112 - no pathlib on this path
    several = len(refs) != 1
    if several and out is None:
        raise click.UsageError("several sessions need a folder: -o OUT")
    suffix = os.path.splitext(out or "")[1][1:].lower()  # noqa: PTH122 - as above
    if several and suffix in SUFFIXES and not is_folder:
        raise click.UsageError(f"{out}: several sessions need a folder, and this is the name of a file")
    return several or is_folder


def _format_of(file: str | None, *, opened: bool) -> str:
    """The format that the name of `file` ends in. Raises `click.UsageError` where it ends in none."""
    if file is None:
        return "html" if opened else "json"
    suffix = os.path.splitext(file)[1][1:].lower()  # noqa: PTH122 - no pathlib on this path
    if suffix not in SUFFIXES:
        raise click.UsageError(f"{file}: expected a name that ends in .json, .md or .html, or -f FORMAT")
    return SUFFIXES[suffix]


def _params(form: str, redact: bool, no_tools: bool) -> JsonObject:
    if no_tools and form == "json":
        raise click.UsageError("--no-tools: expected the format markdown or html; json loses nothing")
    return {"format": form, "redact": redact} | ({"activities": False} if no_tools else {})


def _check_page(form: str, *, single: bool, everything: bool) -> None:
    """Raises `click.UsageError` where there is not one page to open."""
    if form != "html":
        raise click.UsageError(f"--open: expected the format html, got {form}")
    if not (single or everything):
        raise click.UsageError("--open: expected one REF and a file, or --all: which page to open")


def _write_folder(  # noqa: PLR0913 - what is written, and how
    client: Client, out: str, ids: list[str], params: JsonObject, redactions: Counter[str], *, force: bool
) -> None:
    _make_folder(out)
    ending = "md" if params["format"] == "markdown" else params["format"]
    for session_id in ids:
        file = os.path.join(out, f"{session_id}.{ending}")
        write(file, _pieces(client, {**params, "session_id": session_id}, redactions), force=force)


def _write_contents(  # noqa: PLR0913 - as above
    client: Client, out: str, ids: list[str], agent: str, *, redact: bool, force: bool
) -> str:
    """The path of the page that links to those of the sessions."""
    # Imported here: only a folder of pages needs it.
    from port42_cli import contents_page

    entries = []
    for session_id in ids:
        # The first messages as Markdown, in which secrets are redacted as in the session's page.
        params = {"session_id": session_id, "format": "markdown", "redact": redact, "activities": False}
        beginning = next(_pieces(client, params, Counter()))
        entries.append(contents_page.entry(f"{session_id}.html", beginning))
    page = os.path.join(out, "index.html")
    write(page, contents_page.contents(f"Sessions of @{agent.removeprefix('@')}", entries), force=force)
    return page


def _tell_redacted(redactions: Counter[str]) -> None:
    words = ", ".join(f"{times:,} {name}" for name, times in sorted(redactions.items()))
    streams.notice(
        f"Redacted: {words or 'nothing found'}. Secrets that it does not recognise are still there."
    )


def _open(path: str) -> None:
    # Imported here: half of this command's time, and rarely needed.
    import webbrowser
    from pathlib import Path

    if not webbrowser.open(Path(path).as_uri()):
        raise Refused(f"no browser was found here; the page is {path}")


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
        _remove_leftovers(folder, name)
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


def _remove_leftovers(folder: str, name: str) -> None:
    """Delete what exports to `name` left that were killed: their files end in the process's id."""
    prefix = f".{name}."
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(".new"):
                pid = entry.name.removeprefix(prefix).removesuffix(".new")
                if pid.isdecimal() and not _runs(int(pid)):
                    os.unlink(entry.path)  # noqa: PTH108 - no pathlib on this path


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _pieces(client: Client, params: JsonObject, redactions: Counter[str]) -> Iterator[str]:
    for page in client.ask_pages("export_session", params):
        redactions.update(page["redactions"])
        yield page["text"]
