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

import click

from port42_cli import streams
from port42_cli.completion import complete
from port42_client.daemon import Daemon
from port42_client.errors import INTERRUPTED, CommandError
from port42_protocol.version import __version__

COMMANDS = {
    "possess": "possess.possess",
    "resume": "possess.resume",
    "sessions": "sessions.sessions",
    "show": "show.show",
    "search": "search.search",
    "rename": "labels.rename",
    "tag": "labels.tag",
    "pin": "labels.pin",
    "unpin": "labels.unpin",
    "follow": "follow.follow",
    "fork": "forks.fork",
    "rewind": "forks.rewind",
    "tree": "forks.tree",
    "rm": "trash.rm",
    "restore": "trash.restore",
    "trash": "trash.trash",
    "prune": "trash.prune",
    "export": "export.export",
    "import": "imports.imports",
    "capture": "capture.capture",
    "agents": "agents.agents",
    "mcp": "mcp.mcp",
    "status": "status.status",
    "doctor": "doctor.doctor",
    "stats": "stats.stats",
    "du": "stats.du",
    "index": "index.index",
    "daemon": "daemon.daemon",
    "service": "service.service",
    "acp": "acp.acp",
    "rpc": "rpc.rpc",
    "dial-stdio": "dial_stdio.dial_stdio",
    "socket-path": "rpc.socket_path",
    "completion": "completion.completion",
}
"""For each command its module in `commands`, and its name there."""

LOCAL = frozenset({"daemon", "service", "socket-path"})
"""The commands that look after the daemon's process, its files or its socket, which is done where it runs."""


class CommandsOnDemand(click.Group):
    """A group that imports a command's module when it is typed, or when ``--help`` lists them all."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click asks so
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click asks so
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(".")
        command = getattr(import_module(f"port42_cli.commands.{module}"), name)
        assert isinstance(command, click.Command)  # noqa: S101 - tells mypy what the table promises
        return command


@click.group(
    cls=CommandsOnDemand,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Without a command: the agents, their last sessions, and what to type next.",
)
@click.option("--socket", metavar="PATH", help="Where the daemon listens; before PORT42_SOCKET.")
@click.option(
    "--host",
    metavar="HOST",
    shell_complete=complete.hosts,
    help="The machine whose daemon is meant, reached by ssh; before PORT42_HOST.",
)
@click.version_option(__version__, prog_name="port42", message="%(prog)s %(version)s")
@click.pass_context
def port42(ctx: click.Context, socket: str | None, host: str | None) -> None:
    """Sessions of AI agents, kept by a daemon: each agent has its own and can continue them at any time."""
    ctx.obj = _daemon(ctx.invoked_subcommand, socket, host)
    if ctx.invoked_subcommand is None:
        from port42_cli.commands.sessions import overview

        ctx.invoke(overview)


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
