"""`port42 agents`: lists agents, and changes them and their back ends."""

from __future__ import annotations

from typing import Any

import click

from port42_cli import plain_text, streams, views
from port42_cli.commands import _shared
from port42_cli.completion import complete
from port42_client.client import Client, decode, given
from port42_client.daemon import Daemon
from port42_client.errors import DaemonError
from port42_protocol.presets import PRESETS

_AS_JSON = _shared.as_json("The agent as JSON.")
_NAME = click.argument("name", metavar="@AGENT", shell_complete=complete.agents)
_CONNECT = "\n".join(
    (
        "Set BACKEND as the back end of @AGENT in config.toml, whose comments stay.",
        "",
        "BACKEND is one of config.toml's, or one of these:",
        "",
        "\b",
        *(f"{name:11} {what}" for name, what in PRESETS.items()),
    )
)


@click.group(invoke_without_command=True)
@_shared.as_json("The daemon's answer as JSON.")
@click.pass_context
def agents(ctx: click.Context, as_json: bool) -> None:
    """List the agents, or change them and their back ends.

    For each: its back end and model, whether it is ready, and its number of sessions.
    """
    if not _shared.stands_alone(ctx, as_json):
        return
    answer = _ask(ctx.obj, "list_agents")
    if as_json:
        streams.as_json(answer)
        return
    from port42_cli.views import agents as view
    from port42_protocol.messages.agents import AgentList

    known = decode(AgentList, answer)
    views.show(view.agents(known.agents))
    if offers := view.offers(known):
        streams.notice(f"Found here and not connected: {', '.join(offers)}.")
        streams.notice(f"To connect one: {next(iter(offers.values()))}")
    if known.config_error:
        streams.notice(f"{known.config_error}; it is not used until that is corrected")


@agents.command()
@_NAME
@_AS_JSON
@click.pass_obj
def show(daemon: Daemon, name: str, as_json: bool) -> None:
    """Show everything about @AGENT, including its persona."""
    agent = _ask(daemon, "get_agent", agent=name)
    if as_json:
        streams.as_json(agent)
        return
    from port42_cli.views import agents as view
    from port42_protocol.messages.agents import Agent

    views.show(view.agent(decode(Agent, agent)))


@agents.command()
@click.argument("name", metavar="NAME")
@click.option("--system", metavar="TEXT", help="Its persona.")
@_AS_JSON
@click.pass_obj
def add(daemon: Daemon, name: str, system: str | None, as_json: bool) -> None:
    """Add the agent NAME to config.toml."""
    agent = _ask(daemon, "add_agent", agent=name, system=system)
    if as_json:
        streams.as_json(agent)
    else:
        possess = plain_text.typed(f'possess @{agent["agent"]} "…"')
        streams.banner(f"@{agent['agent']} is known now: {possess}")


@agents.command()
@_NAME
@_shared.yes
@click.pass_obj
def remove(daemon: Daemon, name: str, yes: bool) -> None:
    """Remove @AGENT from config.toml; its sessions stay."""
    _shared.check_confirmable(yes)
    if not yes:
        _ask(daemon, "get_agent", agent=name)
        if not _shared.confirmed(f"Remove {name} from config.toml?"):
            return
    removed = _ask(daemon, "remove_agent", agent=name)
    streams.banner(f"@{removed['agent']} is no longer in config.toml; its sessions stay.")


@agents.command(help=_CONNECT)
@_NAME
@click.argument("backend", metavar="BACKEND", shell_complete=complete.backends)
@click.option(
    "--model",
    metavar="NAME",
    shell_complete=complete.models_to_connect,
    help="Which of its models; without, the one named for it before, or its own choice.",
)
@_AS_JSON
@click.pass_obj
def connect(daemon: Daemon, name: str, backend: str, model: str | None, as_json: bool) -> None:
    with daemon.client() as client:
        unlisted = _unlisted(client, name, backend, model) if model else None
        params = given(agent=name, backend=backend, model=model)
        agent = client.ask("connect_agent", params)
    if as_json:
        streams.as_json(agent)
    else:
        streams.banner(_health(agent))
    if unlisted:
        streams.notice(unlisted)


@agents.command()
@_NAME
@click.argument("backend", required=False, metavar="[BACKEND]", shell_complete=complete.backends)
@_shared.as_json("The daemon's answer as JSON.")
@click.pass_context
def models(ctx: click.Context, name: str, backend: str | None, as_json: bool) -> None:
    """List the models that @AGENT can be asked with, its own first, or those of BACKEND.

    A model server is asked for its list. Exit code 1 when no model is known.
    """
    answer = _ask(ctx.obj, "list_models", agent=name, backend=backend)
    if as_json:
        streams.as_json(answer)
    else:
        streams.lines(map(plain_text.one_line, answer["models"]))
        if answer["detail"]:
            streams.notice(f"{answer['backend']}: {answer['detail']}")
    if not answer["models"]:
        ctx.exit(1)


@agents.command()
@_NAME
@_AS_JSON
@click.pass_context
def test(ctx: click.Context, name: str, as_json: bool) -> None:
    """Check whether @AGENT is ready, without a request to a model; exit code 1 when it is not.

    An agent without a back end only records messages, and is always ready.
    """
    agent = _ask(ctx.obj, "get_agent", agent=name)
    if as_json:
        streams.as_json(agent)
    else:
        streams.lines([_health(agent)])
    if agent["health"] not in {"ready", "none"}:
        ctx.exit(1)


def _ask(daemon: Daemon, method: str, **params: str | None) -> Any:
    with daemon.client() as client:
        return client.ask(method, given(**params))


def _unlisted(client: Client, name: str, backend: str, model: str) -> str | None:
    """What to say of a model that the back end does not list; it may have it all the same."""
    from port42_cli.views.agents import unlisted
    from port42_protocol.messages.agents import ModelList

    try:
        offer = decode(ModelList, client.ask("list_models", {"agent": name, "backend": backend}))
    except DaemonError:  # connecting says what is wrong; an earlier version's daemon has no lists
        return None
    return unlisted(offer, model)


def _health(agent: object) -> str:
    from port42_cli.views import agents as view
    from port42_protocol.messages.agents import Agent

    return view.health(decode(Agent, agent))
