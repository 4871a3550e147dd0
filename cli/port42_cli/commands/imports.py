"""`port42 import`: imports sessions of other programs, or of another Port42, for an agent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from shlex import quote
from typing import get_args

import click
from msgspec import UNSET, Struct, field

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import advice, typed
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, Refused
from port42_protocol.counting import count
from port42_protocol.messages.transfer import ImportedSession, ImportFormat, ImportSessions, SkippedSource


@click.command("import")
@click.argument("path", required=False)
@click.argument("agent", required=False, metavar="[@AGENT]", shell_complete=complete.agents)
@click.option(
    "--format",
    "named",
    type=click.Choice(get_args(ImportFormat)),
    default="auto",
    metavar="FORMAT",
    help=f"Whose files they are: {', '.join(get_args(ImportFormat))}. Default: recognised by their content.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would come in; write nothing.")
@click.option("--again", is_flag=True, help="Also rewrite what was imported before, as it is read today.")
@click.option("--json", "as_json", is_flag=True, help="One report as JSON.")
@click.pass_obj
def imports(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    path: str | None,
    agent: str | None,
    named: ImportFormat,
    dry_run: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Import the sessions at PATH for AGENT.

    PATH is a file or a folder.

    \b
    port42 import ~/.claude @ai-engineer           Claude Code
    port42 import ~/.codex/sessions @ai-engineer   Codex
    port42 import ~/.gemini/tmp @ai-engineer       Gemini CLI
    port42 import ~/.local/share/opencode @coder   opencode
    port42 import ~/.copilot @coder                Copilot CLI
    port42 import ~/.pi/agent @coder               pi
    port42 import .aider.chat.history.md @coder    aider
    port42 import "$(llm logs path)" @ai-muse      llm
    port42 import ~/.config/aichat @ai-muse        aichat
    port42 import export.zip @ai-muse              from ChatGPT or claude.ai
    port42 import ~/old-home/.port42               the original Port42
    port42 import session.json                     what `port42 export` wrote

    Without AGENT, sessions that name one keep it. Importing again adds what is new. With --again a session is
    made what its source says, and what was added to it here; ~/.port42/backups has it as it was. --again
    without PATH is for the originals that `port42 capture` keeps.
    """
    if path is None and not again:
        raise click.UsageError("Missing argument 'PATH'.")
    if path and path.startswith("@") and agent is None:
        raise click.UsageError(f"{path}: expected PATH before the agent (a file of that name is ./{path})")
    path = path and _shared.path_there(daemon, path, "PATH")
    request = ImportSessions(path, agent.removeprefix("@") if agent else None, named, dry_run, again=again)
    report = Report(format=named)
    shown = os.isatty(2) and not as_json
    try:
        with daemon.client() as client, views.progress("importing", shown=shown) as moved:
            for page in client.pages(request):
                report.imported += page.imported
                report.skipped += page.skipped
                report.unchanged += page.unchanged
                report.format, report.total = page.format, page.total
                moved(page.done, page.total)
    except DaemonError as error:
        if agent or error.data.get("field") != "agent":
            raise
        command = typed(f"import {quote(str(path))} @AGENT")
        raise Refused(error.message, f"  To import them as an agent's: {command}") from None
    if as_json:
        from msgspec import to_builtins

        streams.as_json(to_builtins(report))
    else:
        streams.lines(_lines(report, dry_run=dry_run))
    if report.skipped and not report.imported and not report.unchanged:
        click.get_current_context().exit(1)


class Report(Struct):
    """All pages of an import in one."""

    format: str
    imported: list[ImportedSession] = field(default_factory=list)
    skipped: list[SkippedSource] = field(default_factory=list)
    unchanged: int = 0
    total: int = 0


def _lines(report: Report, *, dry_run: bool) -> Iterator[str]:
    """A line for each session that came in, then for each that did not, with why; last, how many."""
    for session in report.imported:
        messages = ("+" if session.change == "grown" else "") + count(session.messages, "message")
        if session.parent is UNSET:
            yield f"{session.session_id}\t@{session.agent}\t{messages}\t{session.title or ''}"
    for source in report.skipped:
        yield f"skipped {source.source}: {advice(source.reason)}"
    own = [session for session in report.imported if session.parent is UNSET]
    new = sum(session.change == "new" for session in own)
    rewritten = sum(session.change == "rewritten" for session in own)
    facts = f"{new:,} new, {len(own) - new - rewritten:,} grown, {report.unchanged:,} here already"
    if rewritten:
        facts += f", {rewritten:,} rewritten"
    if sub_agents := len(report.imported) - len(own):
        facts += f", {sub_agents:,} of sub-agents"
    done = "would be imported" if dry_run else "imported"
    yield f"{report.format}: {facts}, {len(report.skipped):,} skipped; {done}"
