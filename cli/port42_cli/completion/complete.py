"""Shell completion of agents and sessions, from the running daemon.

The user waits after a key press: no daemon is started, no error is printed, and after 0.3 s completion is
empty. Values are names and ids only, never a title: nothing that is put on a command line may mean anything
to the shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def agents(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return _items("agents", ctx, typed)


def sessions(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return _items("sessions", ctx, typed, _agent(ctx))


def refs(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """As `sessions`, and ``last``; behind ``@`` the agents, whose last session is meant."""
    from click.shell_completion import CompletionItem

    if typed.startswith("@"):
        return agents(ctx, param, typed)
    last = CompletionItem("last", help="the one used last")
    return [last] * "last".startswith(typed) + sessions(ctx, param, typed)


def trashed(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return _items("trashed", ctx, typed)


def tools(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return _items("tools", ctx, typed)


def commands(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Those of the program."""
    import click

    root = ctx.find_root()
    return (
        click.Group.shell_complete(root.command, root, typed) if isinstance(root.command, click.Group) else []
    )


def backends(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Those that can be connected: what Port42 has settings for, and what config.toml has."""
    from click.shell_completion import CompletionItem

    from port42_protocol.presets import PRESETS

    known = [CompletionItem(name, help=what) for name, what in PRESETS.items() if name.startswith(typed)]
    return known + [item for item in _items("backends", ctx, typed) if item.value not in PRESETS]


def models(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Those of the agent's back end."""
    agent = _agent(ctx)
    return _items("models", ctx, typed, agent, None) if agent else []


def modes(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    agent = _agent(ctx)
    return _items("modes", ctx, typed, agent) if agent else []


def models_to_connect(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Those of the back end that is to be connected."""
    words = [ctx.params.get("name"), ctx.params.get("backend")]
    words = words if all(words) else [word for word in ctx.args if not word.startswith("-")]
    return _items("models", ctx, typed, *words[:2]) if len(words) > 1 else []


def mcp_clients(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from port42_cli.mcp_clients.known import CLIENTS

    return [
        CompletionItem(client.name, help=client.title)
        for client in CLIENTS.values()
        if client.name.startswith(typed)
    ]


def hosts(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    import os

    from click.shell_completion import CompletionItem

    from port42_client import hosts
    from port42_client.errors import BadInput
    from port42_protocol import paths

    try:
        names = hosts.names(paths.home_folder(os.environ))
    except BadInput:
        return []
    return [CompletionItem(name) for name in names if name.startswith(typed)]


def agents_or_sessions(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    return agents(ctx, param, typed) + ([] if typed.startswith("@") else sessions(ctx, param, typed))


def _agent(ctx: click.Context) -> str | None:
    # Behind an option that still lacks its value, click leaves the arguments where it found them.
    agent = ctx.params.get("agent") or next((word for word in ctx.args if word.startswith("@")), None)
    return agent if isinstance(agent, str) else None


def _items(look: str, ctx: click.Context, *typed: str | None) -> list[CompletionItem]:
    # Imported here: every command imports this module, and only a shell that completes asks the daemon.
    from port42_cli.completion import candidates

    return candidates.items(ctx, getattr(candidates, look), *typed)
