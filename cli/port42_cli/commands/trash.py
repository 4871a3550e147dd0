"""`port42 rm`, `restore`, `trash`, `prune`: move sessions to the trash, restore, list and delete them."""

from __future__ import annotations

import re

import click

from port42_cli import plain_text, streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_client.client import Client, decode
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, Refused
from port42_client.wire import JsonObject, Session
from port42_protocol.counting import count
from port42_protocol.messages.records import Summary

_SHORTEST_PREFIX = 4
_DAYS = re.compile(r"(\d{1,5})d?")


@click.command()
@click.argument("refs", nargs=-1, required=True, metavar="REF…", shell_complete=complete.refs)
@_shared.whose
@_shared.yes
@click.option("--dry-run", is_flag=True, help="Only show which sessions are meant.")
@_shared.as_json("What was moved, as a JSON array.")
@click.pass_obj
def rm(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, refs: tuple[str, ...], agent: str | None, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Move sessions to the trash.

    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last. Where one of them is not
    found, nothing is moved. Sessions of sub-agents go with theirs, and come back with it. An agent whose last
    session goes, goes on with the one it used before.
    """
    _shared.check_confirmable(yes or dry_run)
    with daemon.client() as client:
        plain = [_shared.ask_for(client, ref, agent) for ref in refs]
        plain = list({session["session_id"]: session for session in plain}.values())
        sessions = [decode(Summary, session) for session in plain]
        if dry_run and as_json:
            streams.as_json(plain)
            return
        if dry_run or not yes:
            from port42_cli.views.sessions import chosen

            views.show([chosen(sessions, streams.now())], stderr=not dry_run)
        if dry_run:
            streams.notice("Nothing was moved.")
            return
        if not yes and not _shared.confirmed(f"Move {count(len(sessions), 'session')} to the trash?"):
            return
        moved = []
        for session in sessions:
            moved.append(client.ask("delete_session", {"session_id": session.session_id}))
            if not as_json:
                back = plain_text.typed(f"restore {session.session_id}")
                streams.banner(f"In the trash. To bring it back: {back}")
    if as_json:
        streams.as_json(moved)


@click.command()
@click.argument("ref", shell_complete=complete.trashed)
@_shared.as_json("The session as JSON.")
@click.pass_obj
def restore(daemon: Daemon, ref: str, as_json: bool) -> None:
    """Restore a session from the trash. REF is an id, a unique prefix of 4 or more characters, or a title."""
    with daemon.client() as client:
        session = _restored(client, ref)
        if as_json:
            streams.as_json(session)
        else:
            session_id = session["session_id"]
            streams.banner(f"{session_id} is back.", plain_text.to_go_on(session["agent"], session_id))


def _restored(client: Client, ref: str) -> Session:
    """Raises `Refused`."""
    try:
        # An id, as `rm` names it: the trash, of which each session is a file to read, is not looked through.
        return _restore(client, ref)
    except DaemonError as error:
        if error.kind not in {"session_not_found", "invalid_params"}:
            raise
    trashed = decode(list[Summary], client.ask_rows("list_trash", {}, "sessions")["sessions"])
    return _restore(client, _find_trashed(trashed, ref))


def _restore(client: Client, session_id: str) -> Session:
    session: Session = client.ask("restore_session", {"session_id": session_id})
    return session


@click.command()
@_shared.agent
@_shared.as_json("All of it as JSON, in the form of list_trash.")
@click.pass_obj
def trash(daemon: Daemon, agent: str | None, as_json: bool) -> None:
    """List the trash, the latest deletion first."""
    with daemon.client() as client:
        page = client.ask_rows("list_trash", {"agent": agent}, "sessions")
        if not page["sessions"]:
            _shared.check_agent(client, agent)
    if as_json:
        streams.as_json(page)
        return
    from port42_cli.views import forks_and_trash as view
    from port42_protocol.messages.forks_and_trash import TrashPage

    if sessions := decode(TrashPage, page).sessions:
        views.show(view.trash(sessions, streams.now()))
    else:
        streams.notice("The trash is empty.")


def _days(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """``90d`` or ``90``."""
    if value is None:
        return None
    if fits := _DAYS.fullmatch(value):
        return int(fits[1])
    raise click.BadParameter(f"expected a number of days, like 90d, got {value!r}", ctx, param)


@click.command()
@_shared.agent
@click.option(
    "--older-than",
    metavar="DAYS",
    callback=_days,
    help="Move sessions to the trash that were not used for so long (90d).",
)
@click.option(
    "--trash-older-than",
    metavar="DAYS",
    callback=_days,
    help="Delete permanently what has been in the trash for so long.",
)
@_shared.yes
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@_shared.as_json("What prune_sessions answered, a line a call.")
@click.pass_obj
def prune(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    agent: str | None,
    older_than: int | None,
    trash_older_than: int | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move old sessions to the trash, and delete old ones there.

    Shows first what will be done. Sessions of sub-agents go to the trash with theirs, and are not shown.
    Pinned sessions, and those with a running turn, stay.
    """
    if older_than is None and trash_older_than is None:
        raise click.UsageError("expected --older-than or --trash-older-than: nothing goes by itself")
    _shared.check_confirmable(yes or dry_run)
    params = {"agent": agent, "older_than_days": older_than, "trash_older_than_days": trash_older_than}
    with daemon.client() as client:
        preview = client.ask("prune_sessions", params)
        nothing = not (preview["trashed"] or preview["deleted"] or preview.get("original_bytes"))
        if nothing:
            _shared.check_agent(client, agent)
        if as_json and dry_run:
            streams.as_json(preview)
            return
        if nothing:
            streams.notice("There is nothing to prune.")
            return
        if not (as_json and yes):
            from port42_cli.views.forks_and_trash import pruning
            from port42_protocol.messages.forks_and_trash import Pruned

            views.show(pruning(decode(Pruned, preview), streams.now()), stderr=as_json)
        if dry_run:
            streams.notice("Nothing was moved or deleted.")
        elif yes or _shared.confirmed("Go on?"):
            _prune(client, params, as_json)


def _prune(client: Client, params: JsonObject, as_json: bool) -> None:
    trashed = sub_agents = deleted = size = 0
    more = True
    while more:
        done = client.ask("prune_sessions", {**params, "dry_run": False})
        trashed += len(done["trashed"])
        sub_agents += done.get("sub_agents", 0)
        deleted += len(done["deleted"])
        size += done["bytes"] + done.get("original_bytes", 0)
        if as_json:
            streams.json_line(done)
        # What cannot be moved (its file is damaged) would come again and again.
        more = done["more"] and bool(done["trashed"] or done["deleted"])
    if not as_json:
        moved, gone = count(trashed, "session"), count(deleted, "session")
        if sub_agents:
            moved += f" and {sub_agents:,} of sub-agents"
        streams.banner(f"{moved} moved to the trash, {gone} ({size:,} bytes) deleted for good.")


def _find_trashed(trashed: list[Summary], ref: str) -> str:
    """The id that `ref`, which is none, stands for, as `find_session` would have it. Raises `Refused`."""
    titles = {session.session_id: session.title or "" for session in trashed}
    fits = [name for name in titles if len(ref) >= _SHORTEST_PREFIX and name.startswith(ref)]
    fits = fits or [name for name, title in titles.items() if title.casefold() == ref.casefold()]
    if not fits:
        raise Refused(f"no session in the trash fits {ref}; to see them: {plain_text.typed('trash')}")
    if len(fits) > 1:
        raise Refused(f"{ref} fits several sessions in the trash: {', '.join(fits[:10])}")
    return fits[0]
