"""`port42 import`: sessions of other programs, or of another Port42, become an agent's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_client.client import Client
from port42_client.daemon import Daemon

if TYPE_CHECKING:
    from port42_cli.views.progress import Progress

FORMATS = ("auto", "port42", "claude", "codex", "llm", "aichat", "original")


@click.command("import")
@click.argument("path")
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option("--format", "named", type=click.Choice(FORMATS), default="auto", help="Whose files they are.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would come in; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One report as JSON.")
@click.pass_obj
def imports(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, path: str, agent: str | None, named: str, dry_run: bool, as_json: bool
) -> None:
    """Bring in the sessions at PATH as AGENT's.

    PATH is a file or a folder.

    \b
    port42 import ~/.claude @ai-engineer          Claude Code
    port42 import ~/.codex/sessions @ai-engineer  Codex
    port42 import ~/.config/io.datasette.llm/logs.db @ai-muse
    port42 import ~/.config/aichat @ai-muse
    port42 import ~/.port42                       the original Port42
    port42 import session.json                    what `port42 export` wrote

    Without AGENT sessions that name one keep it. To import again brings in what is new.
    """
    asked: dict[str, Any] = {"path": _absolute(path), "format": named, "dry_run": dry_run}
    if agent is not None:
        asked["agent"] = agent
    report: dict[str, Any] = {"format": named, "imported": [], "skipped": [], "unchanged": 0, "total": 0}
    progress = None if as_json else _progress()
    try:
        with Client(daemon.connect) as client:
            _gather(client, asked, report, progress)
    finally:
        if progress is not None:
            progress.close()
    if as_json:
        streams.as_json(report)
    else:
        _show(report, dry_run)


def _gather(client: Client, asked: dict[str, Any], report: dict[str, Any], progress: Progress | None) -> None:
    """Every page of the import in one report."""
    while True:
        page = client.ask("import_sessions", asked)
        report["imported"] += page["imported"]
        report["skipped"] += page["skipped"]
        report["unchanged"] += page["unchanged"]
        report["format"], report["total"] = page["format"], page["total"]
        if progress is not None:
            progress.move(page["done"], page["total"])
        if page["next_cursor"] is None:
            return
        asked["cursor"] = page["next_cursor"]


def _show(report: dict[str, Any], dry_run: bool) -> None:
    from port42_cli import plain_text

    if streams.on_terminal():
        streams.lines(map(plain_text.visible, plain_text.import_report(report, dry_run=dry_run)))
    else:
        streams.lines(plain_text.import_report(report, dry_run=dry_run))


def _progress() -> Progress | None:
    """A bar on a terminal; nothing where nobody watches."""
    if not os.isatty(2):
        return None
    from port42_cli.views.progress import Progress

    return Progress("importing")


def _absolute(path: str) -> str:
    """The daemon has another current folder."""
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - no pathlib on this path
