"""Shell completion of agents and sessions, from the running daemon.

The user waits after a key press: no daemon is started, no error is printed, and after 0.3 s completion is
empty. Values are names and ids only, never a title: what is put on a
command line must not be able to mean anything to the shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# What asks the daemon is imported when a shell completes: every command imports this module.
if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def agents(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    from port42_cli.completion import candidates

    return candidates.items(ctx, lambda client: candidates.agents(client, typed))


def sessions(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    from port42_cli.completion import candidates

    return candidates.items(ctx, lambda client: candidates.sessions(client, typed, _agent_of(ctx)))


def refs(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """As `sessions`, and ``last``, which is one of them once an agent is named."""
    from click.shell_completion import CompletionItem

    last = CompletionItem("last", help="the one used last")
    return [last] * "last".startswith(typed) + sessions(ctx, _, typed)


def trashed(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    from port42_cli.completion import candidates

    return candidates.items(ctx, lambda client: candidates.trashed(client, typed))


def agents_or_sessions(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    return agents(ctx, _, typed) + ([] if typed.startswith("@") else sessions(ctx, _, typed))


def _agent_of(ctx: click.Context) -> str | None:
    """The agent that was named before on this line."""
    # Behind an option that still lacks its value, click leaves the arguments where it found them.
    named = ctx.params.get("agent") or next((word for word in ctx.args if word.startswith("@")), None)
    return named if isinstance(named, str) and named else None
