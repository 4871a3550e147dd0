"""`port42 capture`: has the daemon read what other tools write, and restores what they deleted."""

from __future__ import annotations

import sys

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import advice, one_line, size, typed
from port42_cli.views import capture as view
from port42_client.client import decode, given
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError, Refused
from port42_protocol.counting import count
from port42_protocol.messages.capture import CapturedTool, CaptureStatus, Restored

_AS_JSON = _shared.as_json("The state of every tool as JSON.")
_NAME = click.argument("name", required=False, shell_complete=complete.tools)


@click.group(invoke_without_command=True)
@_AS_JSON
@click.pass_context
def capture(ctx: click.Context, as_json: bool) -> None:
    """Capture the sessions of other tools while these write them.

    Claude Code, Codex and others keep their sessions in files, and delete them after a while. What is
    captured is listed, found, shown and continued like every session, and stays. Nothing is read before
    `port42 capture on`; alone, it shows what is captured.
    """
    if _shared.stands_alone(ctx, as_json):
        ctx.invoke(status, as_json=as_json)


@capture.command()
@_NAME
@_AS_JSON
@click.pass_obj
def status(daemon: Daemon, name: str | None, as_json: bool) -> None:
    """Show for each tool, or for NAME: folder, agent, sessions, sizes, the last change that was read."""
    with daemon.client() as client:
        answer = client.ask("get_capture")
    state = decode(CaptureStatus, answer)
    if name is not None:
        tools = [_tool(state, name)]
        answer["tools"] = [tool for tool in answer["tools"] if tool["name"] == name]
    else:
        tools = [*state.tools]
    if as_json:
        streams.as_json(answer)
        return
    views.show(view.tools(tools, streams.now()))
    if state.problem:
        streams.notice(advice(state.problem))


@capture.command()
@_NAME
@click.option("--agent", metavar="@AGENT", shell_complete=complete.agents, help="Whose its sessions become.")
@click.option("--path", metavar="DIR", help="Where the tool keeps its sessions, if not in the usual folder.")
@_shared.yes
@_AS_JSON
@click.pass_obj
def on(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, name: str | None, agent: str | None, path: str | None, yes: bool, as_json: bool
) -> None:
    """Capture the tool NAME from now on; without NAME, ask for each tool that is found on this machine.

    What the tool wrote before is read first. config.toml has the choice; its comments stay.
    """
    if name is None and (agent is not None or path is not None):
        raise click.UsageError("--agent, --path: expected NAME, the tool that they are about")
    if path:
        path = _shared.path_there(daemon, path, "--path")
    with daemon.client() as client:
        answer = client.ask("get_capture", given(count=name is None or None))
        names = [name] if name else _choose(decode(CaptureStatus, answer), yes)
        for chosen in names:
            answer = client.ask("set_capture", given(name=chosen, on=True, agent=agent, path=path))
    if as_json:
        streams.as_json(answer)
        return
    state = decode(CaptureStatus, answer)
    for chosen in names:
        tool = _tool(state, chosen)
        streams.banner(f"{tool.name} is captured for @{tool.agent}: {tool.path}")
        if tool.problem:
            streams.notice(f"{tool.name}: {advice(tool.problem)}")
        elif not tool.available:
            streams.notice("That folder is not there yet; it is read as soon as the tool makes it.")
    if names:
        streams.notice(f"`{typed('capture')}` shows how far it is.")


@capture.command()
@click.argument("name", shell_complete=complete.tools)
@_AS_JSON
@click.pass_obj
def off(daemon: Daemon, name: str, as_json: bool) -> None:
    """Stop capturing the tool NAME; its sessions stay."""
    with daemon.client() as client:
        answer = client.ask("get_capture")
        was_on = _tool(decode(CaptureStatus, answer), name).on
        if was_on:
            answer = client.ask("set_capture", {"name": name, "on": False})
    if as_json:
        streams.as_json(answer)
    elif was_on:
        streams.banner(f"{name} is no longer captured; its sessions here stay.")
    else:
        streams.banner(f"{name} is not captured; nothing was changed.")


@capture.command()
@_shared.ref
@_shared.whose
@click.option("--force", is_flag=True, help="Replace another file that is in its place.")
@click.option(
    "--generation",
    type=_shared.Integer(min=1),
    metavar="N",
    help="An earlier one of a file that its tool wrote anew, counted from the oldest; default: the newest.",
)
@_shared.as_json("The file and the command as JSON.")
@click.pass_obj
def restore(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon, ref: str, agent: str | None, force: bool, generation: int | None, as_json: bool
) -> None:
    """Write the file of a captured session to where its tool looks for it.

    Prints the file, and the command with which the tool itself continues the session.
    REF is an id, a unique prefix of 4 or more characters, a title, @AGENT or last; of a session that is
    damaged, or not here any more, its whole id.
    """
    with daemon.client() as client:
        session_id, cwd, missing = ref, None, None
        try:
            session = _shared.find(client, ref, agent)
            session_id, cwd = session.session_id, session.cwd
        except DaemonError as error:
            if agent or error.kind not in {"session_not_found", "session_damaged"}:
                raise
            missing = error  # but what capture kept of it may be there
        try:
            params = given(session_id=session_id, force=force, generation=generation)
            answer = client.ask("restore_original", params)
        except DaemonError as error:
            if missing is not None and error.data.get("field") == "session_id":
                raise missing from None
            if error.data.get("field") != "force":
                raise
            raise Refused("its file is there already; --force replaces it") from None
    if as_json:
        streams.as_json(answer)
    else:
        views.show(view.restored(decode(Restored, answer), cwd))


def _tool(state: CaptureStatus, name: str) -> CapturedTool:
    """Raises `Refused` for a name that is unknown."""
    for tool in state.tools:
        if tool.name == name:
            return tool
    names = ", ".join(tool.name for tool in state.tools)
    raise Refused(f"unknown tool {name}: expected one of {names}")


def _choose(state: CaptureStatus, yes: bool) -> list[str]:
    """The tools to capture of those that are here, as a person answers; all of them with `yes`."""
    here = [tool for tool in state.tools if tool.available and not tool.on]
    if not here:
        if captured := [tool.name for tool in state.tools if tool.on]:
            streams.banner(f"No other tool was found here; captured: {', '.join(captured)}")
            return []
        names = ", ".join(tool.name for tool in state.tools)
        raise Refused(
            f"none of these was found here: {names}",
            f"  To name its folder: {typed('capture on NAME --path DIR')}",
        )
    if yes:
        return [tool.name for tool in here]
    if not sys.stdin.isatty():
        names = ", ".join(tool.name for tool in here)
        raise click.UsageError(
            f"stdin is not a terminal: expected NAME ({names}), or -y for all that are here"
        )
    chosen: list[str] = []
    for position, tool in enumerate(here):
        streams.banner(f"{tool.name}: {tool.path} ({count(tool.sources, 'file')}, {size(tool.source_bytes)})")
        answer = click.prompt(
            one_line(f"Capture {tool.name} for @{tool.agent}?"),
            type=click.Choice(["y", "n", "all", "none"]),
            default="n",
            err=True,
        )
        if answer in {"y", "all"}:
            chosen.append(tool.name)
        if answer == "all":
            return chosen + [other.name for other in here[position + 1 :]]
        if answer == "none":
            break
    if not chosen:
        streams.banner("Nothing was changed.")
    return chosen
