"""`port42`: which command is meant, and with which exit code it ends. Each is imported when typed.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the daemon returned an error, or something does not exist |
| 2 | usage: invalid arguments or options |
| 69 | no daemon could be reached or started |
| 130 | interrupted: by Ctrl-C, or a turn that was stopped |
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_cli.plain_text import machine, program
from port42_client.daemon import Daemon
from port42_client.errors import INTERRUPTED, CommandError
from port42_protocol import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

GROUPS = {
    "Talk": {
        "possess": "possess.possess",
        "resume": "possess.resume",
        "follow": "follow.follow",
        "fork": "forks.fork",
        "rewind": "forks.rewind",
    },
    "Find": {
        "sessions": "sessions.sessions",
        "show": "show.show",
        "search": "search.search",
        "tree": "forks.tree",
        "stats": "stats.stats",
    },
    "Keep": {
        "rename": "labels.rename",
        "tag": "labels.tag",
        "pin": "labels.pin",
        "unpin": "labels.unpin",
        "rm": "trash.rm",
        "restore": "trash.restore",
        "trash": "trash.trash",
        "prune": "trash.prune",
        "share": "sharing.share",
        "unshare": "sharing.unshare",
        "export": "export.export",
        "import": "imports.imports",
        "capture": "capture.capture",
        "du": "stats.du",
    },
    "Agents": {
        "agents": "agents.agents",
        "mcp": "mcp.mcp",
        "acp": "acp.acp",
    },
    "Daemon": {
        "status": "status.status",
        "doctor": "doctor.doctor",
        "index": "index.index",
        "hub": "hub.hub",
        "daemon": "daemon.daemon",
        "service": "service.service",
        "rpc": "rpc.rpc",
        "dial-stdio": "dial_stdio.dial_stdio",
        "socket-path": "rpc.socket_path",
    },
    "Help": {
        "help": "help.show_help",
        "version": "help.version",
        "completion": "help.completion",
    },
}
"""For each command its module in `commands`, and its name there, under the headings of ``--help``."""

COMMANDS = {name: where for group in GROUPS.values() for name, where in group.items()}

ALIASES = {
    "ls": ("sessions",),
    "list": ("sessions",),
    "new": ("possess",),
    "chat": ("possess",),
    "logs": ("daemon", "logs"),
    "start": ("daemon", "start"),
}
"""Words that other programs have taught people, each with the command that it stands for."""

MEANT = {
    "ask": "possess",
    "config": "agents connect",
    "connect": "agents connect",
    "continue": "resume",
    "delete": "rm",
    "find": "search",
    "grep": "search",
    "history": "show last",
    "init": "agents connect",
    "log": "logs",
    "models": "agents models",
    "remove": "rm",
    "restart": "daemon restart",
    "run": "possess",
    "stop": "daemon stop",
}
"""Words that are no commands, each with the one that is suggested."""

LOCAL = frozenset({"daemon", "service", "socket-path"})
"""The commands that look after the daemon's process, its files or its socket, which is done where it runs."""


MAY_BE_EMPTY = frozenset({"--host", "--system"})
"""Options whose empty value means something: this machine, no persona."""


class _Filled(click.types.StringParamType):
    """Text that is not empty: an unset variable of a script must not be taken for an option left out."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(super().convert(value, param, ctx))
        if not text:
            expected = (param and param.metavar) or "text"
            self.fail(f"expected {expected}, got an empty text", param, ctx)
        return text


def _refuse_empty_options(command: click.Command) -> None:
    for param in command.params:
        takes_text = isinstance(param, click.Option) and not param.is_flag and param.type is click.STRING
        if takes_text and not MAY_BE_EMPTY & set(param.opts):
            param.type = _Filled()
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            _refuse_empty_options(sub)


class CommandsOnDemand(click.Group):
    """A group that imports a command's module when it is typed, or when ``--help`` lists them all.

    Also knows `ALIASES`, and ``@AGENT …`` for ``possess @AGENT …``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click asks so
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click asks so
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(".")
        command = getattr(import_module(f"port42_cli.commands.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - tells mypy what the table promises
        _refuse_empty_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        typed, *rest = args
        if typed.startswith("@"):
            args = ["possess", *args]
        elif typed in ALIASES:
            args = [*ALIASES[typed], *rest]
        elif typed not in COMMANDS and not (typed.startswith("-") or ctx.resilient_parsing):
            if typed in MEANT:
                raise click.UsageError(f"No such command {typed!r}. Did you mean {MEANT[typed]!r}?", ctx)
            error = click.NoSuchCommand(typed, possibilities=[*COMMANDS, *ALIASES], ctx=ctx)
            if not error.possibilities:
                message = f"{error.message} An agent's name is written with @ before it."
                error = click.NoSuchCommand(typed, message, ctx=ctx)
            raise error
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for heading, group in GROUPS.items():
            commands = [(name, self.get_command(ctx, name)) for name in group]
            with formatter.section(heading):
                formatter.write_dl(
                    (name.ljust(width), command.get_short_help_str(formatter.width - width - 6))
                    for name, command in commands
                    if command
                )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        if incomplete.startswith("@"):
            return complete.agents(ctx, self.params[0], incomplete)
        # None before one begins so: the commands themselves are to be seen.
        aliases = [alias for alias in ALIASES if incomplete and alias.startswith(incomplete)]
        return super().shell_complete(ctx, incomplete) + [
            CompletionItem(alias, help=f"short for {' '.join(ALIASES[alias])}") for alias in aliases
        ]


@click.group(
    cls=CommandsOnDemand,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command: the agents, their last sessions, and what to type next."
    ' `port42 @AGENT "…"` is short for possess, ls for sessions, logs for daemon logs.',
)
@click.option("--socket", metavar="PATH", help="Where the daemon listens; before PORT42_SOCKET.")
@click.option(
    "--host",
    metavar="HOST",
    shell_complete=complete.hosts,
    help="The machine whose daemon is meant, reached by ssh; before PORT42_HOST.",
)
@click.version_option(__version__, "-V", "--version", prog_name="port42", message="%(prog)s %(version)s")
@click.pass_context
def port42(ctx: click.Context, socket: str | None, host: str | None) -> None:
    """Sessions of AI agents, kept by a daemon: each agent has its own and can continue them at any time."""
    ctx.obj = _daemon(ctx.invoked_subcommand, socket, host)
    machine.set(ctx.obj.host)
    if socket or host:
        program.set(ctx.obj.typed())
    if ctx.invoked_subcommand is None:
        from port42_cli.commands.sessions import overview

        ctx.invoke(overview)


_refuse_empty_options(port42)


def _daemon(command: str | None, address: str | None, host: str | None) -> Daemon:
    if address and host:
        raise click.UsageError("--socket is a path on this machine: expected no --host with it")
    host = os.environ.get("PORT42_HOST") if host is None and not address else host
    if not host:
        return Daemon(address, os.environ, streams.notice)
    if command in LOCAL:
        raise click.UsageError(
            f"`port42 {command}` is about the machine that it runs on, and the host is {host}:"
            f" run it there, or with --host '' here"
        )
    # Imported here: of another machine's daemon this machine's commands need nothing.
    from port42_client.remote import RemoteDaemon

    return RemoteDaemon(host, os.environ, streams.notice)


def main() -> int:
    # What a terminal's encoding lacks is shown escaped: an answer must not end in a traceback.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if "_PORT42_COMPLETE" in os.environ:  # named by click; `shells` is not imported for other commands
        from port42_cli.completion import shells

        shells.prepare()
    if not sys.stdout.isatty():
        return _run()
    # Imported here: a piped command draws nothing and needs no termios.
    from port42_cli import terminal

    return terminal.main(_run)


def _run() -> int:
    try:
        return int(port42.main(prog_name="port42", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.ctx and _takes_text(error.ctx.command):
            path = error.ctx.command_path
            streams.banner(f"Arguments that begin with a dash go after --: {path} … -- '-text'")
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except CommandError as error:
        streams.failure(error)
        return error.exit_code
    except OSError as error:
        why = (error.strerror or error) if streams.can_be_written() else "stdout is closed"
        streams.banner(f"Error: cannot write the answer: {why}")
        # What is still in its buffer would fail once more while the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _takes_text(command: click.Command) -> bool:
    return any(param.nargs == -1 for param in command.params)
