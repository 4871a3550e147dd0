"""`port42 service …`: has systemd or launchd run the daemon."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.service import files, here
from port42_cli.service import install as installation
from port42_cli.service.files import Change
from port42_cli.service.report import report
from port42_cli.views import service as view
from port42_client.daemon import Daemon
from port42_client.errors import Refused
from port42_protocol import paths

_DRY = click.option("--dry-run", is_flag=True, help="Only show what would be done.")
_AS_JSON = _shared.as_json("What was done, or would be, as JSON.")


@click.group()
def service() -> None:
    """Have systemd or launchd run the daemon.

    Without it, commands start the daemon by themselves.
    """


@service.command()
@_shared.yes
@_DRY
@click.option("--replace", is_flag=True, help="Replace service files that Port42 did not write, too.")
@_AS_JSON
@click.pass_obj
def install(daemon: Daemon, yes: bool, dry_run: bool, replace: bool, as_json: bool) -> None:
    """Show the service's files, write them, start the daemon by them, and see whether it answers.

    A running daemon is stopped first, without losing messages. If the service does not start, everything
    is restored.
    """
    supervisor = here()
    if why := supervisor.missing():
        raise Refused(*why)
    changes = installation.planned(supervisor, daemon)
    if not replace:
        _refuse_foreign(changes)
    if not _agreed(changes, "Write this and start the service?", yes=yes, dry_run=dry_run, as_json=as_json):
        return
    running = installation.install(supervisor, daemon, changes)
    streams.banner(
        f"{supervisor.name} runs port42d {running.version} (pid {running.pid}) at {running.socket},"
        " and starts it at the first connection after a login."
    )
    for notice in supervisor.notices():
        streams.notice(notice)
    if as_json:
        daemon_facts = {"version": running.version, "pid": running.pid, "socket": running.socket}
        streams.as_json({"files": list(map(_listed, changes)), **daemon_facts})


@service.command()
@_shared.yes
@_DRY
@_AS_JSON
@click.pass_obj
def uninstall(daemon: Daemon, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Stop the service and remove its files.

    Sessions and settings stay, and commands start the daemon by themselves again.
    """
    supervisor = here()
    changes = files.changes_to(dict.fromkeys(supervisor.paths))
    changes = [change for change in changes if change.before is not None]
    _refuse_foreign(changes)
    if not changes:
        streams.banner("The service is not installed; nothing was changed.")
        if as_json:
            streams.as_json({"files": []})
        return
    if why := supervisor.missing():
        raise Refused(*why)
    if not _agreed(changes, "Stop the service and remove this?", yes=yes, dry_run=dry_run, as_json=as_json):
        return
    supervisor.disable()
    files.carry_out(changes)
    supervisor.forget()
    streams.banner(f"The service is gone. What it kept stays: {daemon.home}")
    if as_json:
        streams.as_json({"files": list(map(_listed, changes))})


@service.command()
@_shared.as_json("All of it as JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show how the service does; exit code 0 when it is installed and healthy, 1 otherwise.

    Nothing is started: a service that waits for its first connection is healthy.
    """
    supervisor = here()
    if why := supervisor.missing():
        raise Refused(*why)
    condition = report(supervisor, ctx.obj)
    if as_json:
        streams.as_json(asdict(condition))
    else:
        views.show(view.report(condition))
        streams.banner(*condition.problems)
    if condition.problems:
        ctx.exit(1)


@service.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@_shared.lines
@click.pass_context
def logs(ctx: click.Context, follow: bool, lines: int) -> None:
    """Print the end of the service's log: the journal, or the daemon's own file under launchd."""
    command = here().log_command(lines, follow=follow)
    if command is None:
        from port42_cli.commands.daemon import logs as own_file

        ctx.invoke(own_file, follow=follow, lines=lines)
        return
    if follow:
        os.execvp(command[0], command)  # noqa: S606 - it follows until Ctrl-C, which is its own affair
    done = subprocess.run(command, check=False, capture_output=True)
    streams.raw_lines(done.stdout.splitlines(keepends=True))
    if not done.stdout and lines:
        why = done.stderr.decode(errors="replace").strip()
        path = paths.log_file(ctx.obj.home)
        also = f"; a daemon that no service ran wrote to {path}" if path.exists() else ""
        raise Refused(f"the journal has nothing of the service{f' ({why})' if why else ''}{also}")


def _refuse_foreign(changes: Sequence[Change]) -> None:
    for change in changes:
        if change.foreign:
            raise Refused(
                f"{change.path} was not written by `port42 service install`; nothing was changed."
                " Move it away, or install with --replace"
            )


def _agreed(changes: Sequence[Change], question: str, *, yes: bool, dry_run: bool, as_json: bool) -> bool:
    """Show what would change; whether to go on."""
    if dry_run and as_json:
        whole = [{**_listed(change), "content": change.after} for change in changes]
        streams.as_json({"files": whole})
    elif dry_run:
        streams.lines(files.shown(changes))
    else:
        streams.banner(*files.shown(changes))
        if all(change.kind == "keep" for change in changes):
            streams.banner("Nothing to change.")
            return True
    if dry_run:
        return False
    _shared.check_confirmable(yes)
    return yes or _shared.confirmed(question)


def _listed(change: Change) -> dict[str, str | None]:
    return {"path": str(change.path), "change": change.kind}
