"""`port42 hub`: one PostgreSQL where the sessions of many machines meet."""

from __future__ import annotations

import time
from shlex import quote

import click

from port42_cli import streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_cli.plain_text import typed
from port42_client.client import Client, decode, given
from port42_client.daemon import Daemon
from port42_client.errors import BadInput, DaemonError
from port42_client.wire import JsonObject
from port42_protocol.counting import count

_LOOKS = 0.2
"""Seconds between two requests while sessions are brought here."""

_EXPECTED = "expected ADDRESS (postgresql://USER@HOST/DATABASE) or --service NAME"
_AS_JSON = _shared.as_json("The state of the hub as JSON.")
_ADDRESS = click.argument("address", required=False, metavar="[ADDRESS]")
_SERVICE = click.option("--service", metavar="NAME", help="A service of libpq's service file, for ADDRESS.")


@click.group(invoke_without_command=True)
@_AS_JSON
@click.pass_context
def hub(ctx: click.Context, as_json: bool) -> None:
    """Keep the sessions of all your machines on each of them.

    They are exchanged by way of one PostgreSQL: what is recorded on one is on the others within a second.
    Files stay what counts: without the hub everything works, and what was recorded meanwhile is exchanged
    afterwards. Alone, it shows how that is.
    """
    if _shared.stands_alone(ctx, as_json):
        ctx.invoke(status, as_json=as_json)


@hub.command()
@_AS_JSON
@click.pass_obj
def status(daemon: Daemon, as_json: bool) -> None:
    """Show whether the hub is there, what waits to be exchanged, and how far each machine is.

    Exit code 1 when there is a problem.
    """
    with daemon.client() as client:
        answer = client.ask("get_hub")
    _print(answer, as_json=as_json)
    if answer["state"] in {"unreachable", "refused"}:
        click.get_current_context().exit(1)


@hub.command()
@_ADDRESS
@_SERVICE
@_shared.as_json("What was made, as JSON.")
@click.pass_obj
def init(daemon: Daemon, address: str | None, service: str | None, as_json: bool) -> None:
    """Make Port42's tables at ADDRESS, or bring them up to date.

    ADDRESS is postgresql://USER@HOST/DATABASE; without one, the hub of config.toml. USER must be allowed to
    make a schema there, and owns the tables. Once for a hub, and after an update that says so.
    """
    with daemon.client() as client:
        try:
            answer = client.ask("init_hub", given(url=address, service=service))
        except DaemonError as error:
            if address or service or error.data.get("field") != "url":
                raise
            raise BadInput(f"{_EXPECTED}; config.toml names no hub") from None
    if as_json:
        streams.as_json(answer)
        return
    applied = ", ".join(answer["applied"])
    streams.banner(f"The hub has its tables: {applied}" if applied else "The hub had its tables already.")
    if address or service:
        named = quote(_as_owner(address)) if address else "--service NAME"
        streams.notice(f"To use it on a machine: {typed(f'hub join {named}')}")
        streams.notice("Join as the role whose sessions they are; that of the tables can read everybody's.")


@hub.command()
@_ADDRESS
@_SERVICE
@click.option("--password-env", metavar="NAME", help="The daemon's variable that has the password.")
@click.option("--password-file", metavar="PATH", help="A file of yours alone that has it.")
@click.option("--password-keyring", metavar="USER", help="An entry of the keyring that has it.")
@click.option("--machine", metavar="NAME", help="This machine's name there; its host name by default.")
@click.option(
    "--agent",
    "agents",
    metavar="@AGENT",
    multiple=True,
    shell_complete=complete.agents,
    help="Push sessions of this agent only; may be repeated.",
)
@click.option(
    "--folder",
    "folders",
    metavar="DIR",
    multiple=True,
    help="Push sessions of this folder, or below it, only; may be repeated.",
)
@click.option("--redact", is_flag=True, default=None, help="Replace known secrets before they are pushed.")
@_AS_JSON
@click.pass_obj
def join(  # noqa: PLR0913, PLR0917 - a parameter for each option
    daemon: Daemon,
    address: str | None,
    service: str | None,
    password_env: str | None,
    password_file: str | None,
    password_keyring: str | None,
    machine: str | None,
    agents: tuple[str, ...],
    folders: tuple[str, ...],
    redact: bool | None,
    as_json: bool,
) -> None:
    """Use the hub at ADDRESS on this machine, and bring its sessions here, the newest first.

    ADDRESS is postgresql://USER@HOST/DATABASE. USER is the role whose sessions they are, the same on all your
    machines; not the one that made the tables, which can read everybody's.

    They can be used as they come; after Ctrl-C, and after a restart, the daemon goes on. A tag `private`
    keeps a session on its machine.
    """
    if (address is None) == (service is None):
        raise click.UsageError(_EXPECTED)
    params = given(
        url=address,
        service=service,
        password_env=password_env,
        password_file=_shared.path_there(daemon, password_file, "--password-file") if password_file else None,
        password_keyring=password_keyring,
        machine=machine,
        agents=[agent.removeprefix("@") for agent in agents] or None,
        folders=[_shared.path_there(daemon, folder, "--folder") for folder in folders] or None,
        redact=redact,
    )
    with daemon.client() as client:
        client.ask("join_hub", params)
        try:
            answer = _brought(client, shown=streams.on_terminal() and not as_json)
        except KeyboardInterrupt:
            streams.notice(f"The daemon goes on bringing sessions here. How far it is: {typed('hub')}")
            raise
    _print(answer, as_json=as_json)


def _brought(client: Client, *, shown: bool) -> JsonObject:
    """The state once everything is here, or the hub cannot be asked any more."""
    most = 0
    with views.progress("bringing sessions here", shown=shown) as moved:
        while True:
            answer: JsonObject = client.ask("get_hub")
            state, left = answer["state"], answer["to_pull"]
            if state != "connecting" and not (state == "connected" and left):
                return answer
            most = max(most, left)
            moved(most - left, most)
            time.sleep(_LOOKS)


@hub.command()
@_AS_JSON
@click.pass_obj
def pause(daemon: Daemon, as_json: bool) -> None:
    """Exchange nothing until `port42 hub resume`, after a restart, too."""
    _switched(daemon, "pause_hub", f"Nothing is exchanged with the hub until: {typed('hub resume')}", as_json)


@hub.command()
@_AS_JSON
@click.pass_obj
def resume(daemon: Daemon, as_json: bool) -> None:
    """Exchange again what is recorded here and elsewhere."""
    _switched(daemon, "resume_hub", "Sessions are exchanged with the hub again.", as_json)


@hub.command()
@_shared.yes
@_AS_JSON
@click.pass_obj
def leave(daemon: Daemon, yes: bool, as_json: bool) -> None:
    """Use no hub on this machine any more. The sessions stay, here and at the hub."""
    _shared.check_confirmable(yes)
    with daemon.client() as client:
        answer = client.ask("get_hub")
    if answer["state"] == "off":
        _print(answer, as_json=as_json)
        return
    if not yes and not _shared.confirmed("Leave the hub?"):
        return
    _switched(daemon, "leave_hub", "This machine uses no hub any more. Its sessions stay.", as_json)


def _switched(daemon: Daemon, method: str, told: str, as_json: bool) -> None:
    with daemon.client() as client:
        answer = client.ask(method)
    if as_json:
        streams.as_json(answer)
    else:
        streams.banner(told)


def _as_owner(address: str) -> str:
    """The address with OWNER for the role, which `join` is to be asked as."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://OWNER@{rest[rest.partition('/')[0].rfind('@') + 1 :]}"


def _print(answer: JsonObject, *, as_json: bool) -> None:
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import hub as view
    from port42_protocol.messages.hub import HubStatus

    state = decode(HubStatus, answer)
    views.show(view.status(state))
    if state.state == "off":
        streams.notice(f"No hub is used. To make one: {typed('hub init ADDRESS')}")
        streams.notice(f"To use one on this machine: {typed('hub join ADDRESS')}")
    elif state.forks:
        forks = count(len(state.forks), "session")
        streams.notice(
            f"Continued here and elsewhere at once: {forks}, each forked: {', '.join(state.forks)}"
        )
